"""Records that nothing identifies, from either platform."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from service.core.records import Platform
from service.platforms.payload import Refused
from service.store import oddities
from service.store.database import Connection, Database

_log = structlog.get_logger()


async def refuse(
    db: Database, platform: Platform, stream: str, refused: Sequence[Refused], run_id: int, now: datetime
) -> None:
    """Each becomes a dead letter that names it, before anything is said of the page that held it."""
    if not refused:
        return

    def keep(conn: Connection) -> list[Refused]:
        return [each for each in refused if oddities.refuse(conn, platform, stream, _why(each), each.raw, run_id, now)]

    for each in await db.run(keep):
        _log.warning("record refused", platform=platform.value, stream=stream, reason=each.reason, keys=each.raw_keys)


def _why(refused: Refused) -> str:
    fields = f" (it has {', '.join(refused.raw_keys)})" if refused.raw_keys else ""
    return f"{refused.kind} {refused.position + 1} of its page: {refused.reason}{fields}"
