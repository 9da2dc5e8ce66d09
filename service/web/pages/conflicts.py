"""`/conflicts`: what the bridge does not decide by itself, with both sides, and one click to decide it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import explanation, relinking, resolving
from service.core.records import Platform
from service.decide.frame import AMBIGUOUS
from service.errors import NobodyFound
from service.store import ledger, reports
from service.store.database import Connection
from service.web.desk import Desk, Form, Refused, after, row_id

PAGE = 50
SHOWN = 20
"""People of one conflict."""


def routes(desk: Desk) -> list[Route]:
    async def listed(request: Request) -> Response:
        everything = request.query_params.get("all") == "1"

        def look(conn: Connection) -> dict[str, Any]:
            rows = reports.conflicts(conn, everything=everything, after=after(request), limit=PAGE + 1)
            return {"rows": rows[:PAGE], "more": len(rows) > PAGE, "open": reports.open_conflicts(conn)}

        told = await desk.read(look)
        return desk.render(request, "conflicts.html", everything=everything, identity=AMBIGUOUS, **told)

    async def one(request: Request) -> Response:
        def look(conn: Connection) -> dict[str, Any]:
            conflict = _conflict(conn, row_id(request))
            people = explanation.people_of_conflict(conn, conflict, desk.bridge.mapping)
            asks = conflict["kind"] == AMBIGUOUS and conflict["status"] == "open"
            pairs = relinking.possible_pairs(conn, _people(conn, conflict)) if asks else []
            return {"conflict": conflict, "people": people[:SHOWN], "left_out": len(people[SHOWN:]), "pairs": pairs}

        return desk.render(request, "conflict.html", identity=AMBIGUOUS, **await desk.read(look))

    async def resolve(request: Request, form: Form) -> Response:
        conflict_id, now = row_id(request), desk.bridge.now()
        if form.get("keep") not in [side.value for side in Platform]:
            raise Refused(400, "Keep one of the two sides.")
        keep, reason = Platform(form["keep"]), form.get("reason") or None
        mapping = desk.bridge.mapping
        what = await desk.decide(lambda conn: resolving.resolve(conn, mapping, conflict_id, keep, reason, now))
        told = f"Conflict {conflict_id}: kept {relinking.NAMES[keep]}. The next reconciliation: {what}."
        return desk.done(request, told, "/conflicts")

    async def relink(request: Request, form: Form) -> Response:
        conflict_id, now = row_id(request), desk.bridge.now()
        verb = {"link": relinking.link, "unlink": relinking.unlink}.get(form.get("verb", ""))
        pair = (form.get("onvoard", ""), form.get("digital_onboarding", ""))
        if verb is None:
            raise Refused(400, "Link the two, or tell them apart.")

        def decide(conn: Connection) -> str:
            if pair not in relinking.possible_pairs(conn, _people(conn, _conflict(conn, conflict_id))):
                raise Refused(409, "These two are no longer asked about: look at the conflict again.")
            return verb(conn, *pair, form.get("reason") or None, now)

        return desk.done(request, f"Conflict {conflict_id}: {await desk.decide(decide)}.", "/conflicts")

    return [
        desk.page("/conflicts", listed),
        desk.page("/conflicts/{id:int}", one),
        desk.action("/conflicts/{id:int}/resolve", resolve),
        desk.action("/conflicts/{id:int}/relink", relink),
    ]


def _conflict(conn: Connection, conflict_id: int) -> dict[str, Any]:
    found = reports.conflict(conn, conflict_id)
    if found is None:
        raise NobodyFound(f"there is no conflict {conflict_id}")
    return found


def _people(conn: Connection, conflict: dict[str, Any]) -> list[int]:
    return [conflict["person_id"], *ledger.members(conn, conflict["id"])]
