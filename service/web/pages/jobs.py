"""`/jobs`: what the daemon does when. `/streams`: how far each stream is read, how fresh it is, and how fast."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import state
from service.store import reports
from service.store.database import Connection
from service.web import charts
from service.web.desk import Desk

RUNS = 10_000
"""Runs that are looked at for a chart."""
PULLS = ("contacts", "reviews", "activities", "resources", "summaries", "templates", "objectives")


def routes(desk: Desk) -> list[Route]:
    def last(conn: Connection) -> dict[str, Any]:
        runs = {run["kind"]: run for run in reports.last_runs(conn)}
        return {"runs": runs, "successes": reports.last_successes(conn)}

    async def jobs(request: Request) -> Response:
        told = await desk.read(last)
        turns = [
            {**turn, "last": told["runs"].pop(turn["name"], None), "success": told["successes"].get(turn["name"])}
            for turn in desk.work.turns()
        ]
        others = [{"last": run, "success": told["successes"].get(kind)} for kind, run in sorted(told["runs"].items())]
        return desk.render(request, "jobs.html", turns=turns, others=others, is_running=desk.work.is_running)

    def flow(conn: Connection) -> dict[str, Any]:
        now = desk.bridge.now()
        runs = reports.runs_since(conn, now - timedelta(hours=charts.HOURS), RUNS)
        return {
            "cursors": reports.cursors(conn, now),
            "freshness": state.freshness_of(conn, now, desk.settings),
            "verifications": reports.verifications(conn),
            "charts": charts.hourly(runs, PULLS, now),
        }

    async def streams(request: Request) -> Response:
        return desk.render(request, "streams.html", **await desk.read(flow))

    return [desk.page("/jobs", jobs), desk.page("/streams", streams)]
