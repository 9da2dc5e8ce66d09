"""The pushes that wait: taken with their intent on record, and put back, or given up, when they did not get through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence, Set
from datetime import datetime
from typing import Any

from service.core.records import Platform
from service.errors import PlatformError, Rejected, RuleBroken, ServerFailed, TooLarge, Verdict
from service.store import mirror, outbox
from service.store.database import Connection, Database
from service.store.outbox import Lane

Row = dict[str, Any]
Send = Callable[[Sequence[Row]], Awaitable[dict[str, BaseException]]]
"""Sends rows of different targets side by side and settles them -> what is to be tried again, by target."""
MAX_ATTEMPTS = 5
"""After so many failed cycles a push that alone makes the platform fail becomes a dead letter (law 6)."""
LOOK = 500
"""So many rows at once are looked through for the few that may leave."""


class Queue:
    """The outbox as one run sees it. `only` these rows, where it is not None."""

    def __init__(self, db: Database, now: Callable[[], datetime]) -> None:
        self.db, self.now = db, now
        self.only: Set[int] | None = None

    def take(
        self, conn: Connection, most: int, after: int, without: Collection[str] = (), *, lane: Lane, platform: Platform
    ) -> list[Row]:
        """The next rows behind the row `after`, from here on taken for sent (law 5); none of these targets."""
        reached, rows = after, list[Row]()
        at_once = most if self.only is None else max(most, LOOK)
        while not rows and (found := outbox.waiting(conn, lane, platform, at_once, after=reached)):
            reached = found[-1]["id"]
            rows = [row for row in found if self._may_leave(row) and row["target"] not in without][:most]
        if lane in (Lane.CHANGE, Lane.ACTION) and platform is Platform.ONVOARD:
            # What a patch leaves out may fall back to its default (traps 4), also what the lane before has said.
            out = mirror.unsubscribed(conn, [row["target"] for row in rows])
            for row in rows:
                row["payload"] = row["payload"] | ({"email_unsubscribed": True} if row["target"] in out else {})
        for row in rows:
            if lane is Lane.CREATION and platform is Platform.DIGITAL_ONBOARDING and row["attempts"] > 0:
                # It may be there already, and its user may have given it another e-mail: a change fills that in.
                row["payload"] = {"unique_id": row["target"]}
        if rows:
            outbox.mark_sending(conn, [row["id"] for row in rows], self.now())
        return rows

    def _may_leave(self, row: Row) -> bool:
        return self.only is None or row["id"] in self.only

    async def in_order(self, rows: Sequence[Row], send: Send) -> tuple[int, BaseException | None]:
        """Taken rows, those of one target one after the other: what comes behind a failure waits with it.

        -> (how many were sent, the first failure that is to be tried again). Nothing follows one that `send` raises.
        """
        left, sent, failures = list(rows), 0, dict[str, BaseException]()
        try:
            while wave := _first_of_each(left, without=failures):
                ids = {row["id"] for row in wave}
                left = [row for row in left if row["id"] not in ids]
                sent += len(wave)
                failures |= await send(wave)
        finally:
            if left:
                await self.db.run(lambda conn: outbox.put_back(conn, [row["id"] for row in left], self.now()))
        return sent, next(iter(failures.values()), None)

    def failed(self, conn: Connection, rows: Sequence[Row], error: BaseException) -> dict[str, BaseException]:
        """Pushes that did not get through. -> the error, by target, where they are to be tried again"""
        ids, now = [row["id"] for row in rows], self.now()
        verdict = error.verdict if isinstance(error, PlatformError) else None
        # Nobody else is in this request, and it has failed time and again: it is not the platform.
        poison = isinstance(error, ServerFailed) and len(rows) == 1 and rows[0]["attempts"] >= MAX_ATTEMPTS
        # A 404 is not about a record that was to be made: the address is wrong, and a person has to look.
        if isinstance(error, RuleBroken | Rejected | TooLarge) or poison:
            outbox.mark(conn, ids, "dead", now, str(error))
            return {}
        outbox.mark(conn, ids, "unknown" if verdict is Verdict.LOOK else "pending", now, _reason(error))
        return dict.fromkeys((row["target"] for row in rows), error)


def _first_of_each(rows: Sequence[Row], *, without: Collection[str]) -> list[Row]:
    """The first row of each target, so that none stands twice in a batch (traps 53)."""
    first: dict[str, Row] = {}
    for row in rows:
        if row["target"] not in without:
            first.setdefault(row["target"], row)
    return list(first.values())


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, PlatformError) else type(error).__name__
