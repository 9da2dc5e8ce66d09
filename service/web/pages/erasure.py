"""`/erasure`: the right to erasure, asked for by typing the name twice, and its certificate."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import forgetting
from service.errors import BridgeError, NobodyFound
from service.forgetting import Certificate, Found
from service.store import traces
from service.web.desk import PATIENCE, Desk, Form, Refused


def routes(desk: Desk) -> list[Route]:
    async def ask(request: Request) -> Response:
        number = request.query_params.get("person", "")
        who = forgetting.NUMBERED + number if number.isascii() and number.isdecimal() else ""
        return desk.render(request, "erasure.html", who=who, found=None)

    async def find(request: Request, form: Form) -> Response:
        who = form.get("who", "").strip()
        return desk.render(request, "erasure.html", who=who, found=await _meant(desk, who))

    async def erase(request: Request, form: Form) -> Response:
        who = form.get("who", "").strip()
        if form.get("typed", "").strip() != who:
            raise Refused(400, "What was typed is not the name that was looked for: nobody was erased.")
        found, certificates = await _meant(desk, who), list[Certificate]()
        failure: BridgeError | None = None
        async with desk.work.writing(PATIENCE):
            try:
                await forgetting.forget(desk.bridge, found, who, certificates)
            except BridgeError as error:
                failure = error
        due = await desk.read(traces.is_due)
        status = 200 if failure is None else 502
        return desk.render(request, "erased.html", status, certificates=certificates, due=due, failure=failure)

    return [
        desk.page("/erasure", ask),
        desk.action("/erasure/find", find),
        desk.action("/erasure/erase", erase),
    ]


async def _meant(desk: Desk, who: str) -> list[Found]:
    """Everybody who has an address, or the one who has an id. NobodyFound, or Refused where an id means several."""
    found = await forgetting.find(desk.bridge, who) if who else []
    if not found:
        raise NobodyFound("nobody is called this, neither in the mirror nor, if it is an e-mail, on OnVoard")
    if len(found) > 1 and "@" not in who:
        numbers = ", ".join(f"{forgetting.NUMBERED}{each.person_id}" for each in found)
        raise Refused(409, f"Several people are called this; nothing was done. Name one of them: {numbers}")
    return found
