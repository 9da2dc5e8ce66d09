"""What a run has decided, a line in the log for each: who, which fields and why, and no value. At the level `debug`,
because a first sync decides about everybody."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import structlog

from service.store import ledger, outbox
from service.store.database import Connection, Database

_log = structlog.get_logger()
_level = logging.getLogger(__name__)

PAGE = 1_000
Row = dict[str, Any]


class Decisions:
    """Of one run. They are read when they are on record: one that was rolled back is told to nobody."""

    def __init__(self, db: Database, run_id: int) -> None:
        self._db, self._run_id = db, run_id
        self._pushes = self._conflicts = 0  # the last ones that were told

    async def tell(self) -> None:
        """Those that are new."""
        if not _level.isEnabledFor(logging.DEBUG):
            return
        self._pushes = await self._each(outbox.decided, self._pushes, _push)
        self._conflicts = await self._each(ledger.conflicts_of_run, self._conflicts, _conflict)

    async def _each(
        self, read: Callable[[Connection, int, int, int], list[Row]], after: int, tell: Callable[[Row], None]
    ) -> int:
        reached = after
        while rows := await self._db.run(lambda conn: read(conn, self._run_id, reached, PAGE)):  # noqa: B023 - at once
            for row in rows:
                tell(row)
            reached = rows[-1]["id"]
        return reached


def _push(row: Row) -> None:
    details = row["details"] or ()
    _log.debug(
        "decision", push_id=row["id"], person_id=row["person_id"], platform=row["platform"],
        operation=row["operation"], fields=[detail["field"] for detail in details],
        rules=sorted({detail["why"] for detail in details}), cause=row["cause"], status=row["status"],
    )  # fmt: skip


def _conflict(row: Row) -> None:
    _log.debug(
        "conflict", conflict_id=row["id"], person_id=row["person_id"], kind=row["kind"], field=row["field"],
        status=row["status"], kept=row["kept"],
    )  # fmt: skip
