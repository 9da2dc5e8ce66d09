"""`/people`: one person as both platforms and the bridge know them. Nobody is named in an address."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import explanation
from service.errors import NobodyFound
from service.store import timeline
from service.store.database import Connection
from service.web.desk import Desk, Form, row_id, to

CHANGES = 100
MATCHES = 50


def routes(desk: Desk) -> list[Route]:
    async def search(request: Request) -> Response:
        return desk.render(request, "people.html", who="", found=None)

    async def find(request: Request, form: Form) -> Response:
        who = form.get("who", "").strip()
        found = await desk.read(lambda conn: explanation.explain(conn, who, desk.bridge.mapping)) if who else []
        if len(found) != 1:
            return desk.render(request, "people.html", who=who, found=found[:MATCHES])
        person_id = found[0]["person"]["person_id"]
        if person_id is None:  # no cycle has looked at this contact yet
            return desk.render(request, "person.html", **_page(found[0], []))
        return to(f"/people/{person_id}")

    async def one(request: Request) -> Response:
        person_id = row_id(request)

        def look(conn: Connection) -> dict[str, Any]:
            found = explanation.explain_person(conn, person_id, desk.bridge.mapping)
            if found is None:
                raise NobodyFound(f"there is no person {person_id}")
            return _page(found, _timeline(conn, found["person"]))

        return desk.render(request, "person.html", **await desk.read(look))

    return [desk.page("/people", search), desk.question("/people", find), desk.page("/people/{id:int}", one)]


def _timeline(conn: Connection, person: dict[str, Any]) -> list[dict[str, Any]]:
    """Of somebody erased nothing but the bridge's own history is told."""
    if "erased_at" in person:
        return []
    ids = {person["onvoard_contact_id"], person["deleted_onvoard_contact_id"]} - {None}
    return timeline.of_person(conn, ids, person["unique_id"])


def _page(found: dict[str, Any], happened: list[dict[str, Any]]) -> dict[str, Any]:
    lost = [{"field": each["field"], **value} for each in found["fields"] for value in each["losing_values"]]
    changes = [{**row, "kind": "change"} for row in found["history"][:CHANGES]]
    fired = [{**row, "at": row.get("happened_at"), "kind": "rule"} for row in found["rules"][:CHANGES]]
    rows = sorted([*happened, *changes, *fired], key=lambda row: row["at"].timestamp() if row["at"] else 0.0)
    return {"found": found, "lost": lost, "timeline": rows[::-1], "left_out": len(found["history"][CHANGES:])}
