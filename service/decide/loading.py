"""What the loaders found becomes pushes: of each row whatever of it is new, to whom it is about.

A row waits as long as its person is in a conflict, unknown or not linked; it is skipped where nothing may be pushed.
What can be said only once is, by a `sync_id` that follows from what it is (law 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.core.loaders import Key, Loader, Survey, Target
from service.core.mapping import normal_email
from service.decide.feeding import DEAD, DONE, DUE, SKIPPED, STAGED, Knowledge, Outcome, Push, feed
from service.decide.frame import Frame
from service.decide.happenings import sync_id
from service.store import loaded, mirror, outbox
from service.store.database import Connection
from service.store.types import canonical

Row = dict[str, Any]
BATCH = 500
TOO_LATE = "it has been said already, and cannot be said otherwise"
GIVEN_UP = "the same was refused before: contact-bridge outbox list --all"


def stage(loader: Loader, conn: Connection, frame: Frame, after: str) -> str | None:
    """The next rows of a loader that are not settled. -> where to go on, None at the end"""
    if not loader.enabled:
        loaded.withdraw_all(conn, loader, frame.now)
        return None
    batch = _next(loader, conn, frame, after)
    if batch is None:
        return None
    batch.carry_out()
    return batch.last


def about_to_be_set(loader: Loader, conn: Connection, frame: Frame, after: str) -> tuple[list[str], str | None]:
    """unique_ids whose meta_public the next rows would set. -> (these, where to go on)"""
    batch = _next(loader, conn, frame, after) if loader.enabled and loader.target is Target.META_PUBLIC else None
    return ([push.target for push in batch.foreseen()], batch.last) if batch else ([], None)


def _next(loader: Loader, conn: Connection, frame: Frame, after: str) -> _Batch | None:
    """None at the end, and where nothing of the loader may be staged: its result was not read to the end."""
    state, known = loaded.state(conn, loader.name), loaded.survey(conn, loader)
    if state is None or known is None or state["stopped"]:
        return None
    rows = loaded.open_rows(conn, loader, after, BATCH)
    return _Batch(conn, frame, loader, known, rows) if rows else None


@dataclass(slots=True)
class _Batch:
    conn: Connection
    frame: Frame
    loader: Loader
    survey: Survey
    rows: list[Row]
    settled: list[Row] = field(default_factory=list)
    over: list[str] = field(default_factory=list)

    @property
    def last(self) -> str:
        key: str = self.rows[-1]["key"]
        return key

    def carry_out(self) -> None:
        pushes, due = self._due()
        overtaken = [push["id"] for row in due if (push := pushes.get(row["sync_id"])) and self._may_go(push)]
        loaded.withdraw(self.conn, overtaken, self.frame.now)
        self._stage(self._decide(pushes, due))
        loaded.settle(self.conn, self.loader, self.settled)
        loaded.drop(self.conn, self.loader, self.over)

    def foreseen(self) -> list[Push]:
        """What `carry_out` would stage; nothing is put on record."""
        return [push for _, push in self._decide(*self._due())]

    def _due(self) -> tuple[dict[str, Row], list[Row]]:
        """-> (the last push of each row, by sync_id; rows of which there is something to stage)"""
        pushes = loaded.pushes(self.conn, (row["sync_id"] for row in self.rows))
        return pushes, [row for row in self.rows if self._is_due(row, pushes.get(row["sync_id"]))]

    def _decide(self, pushes: Mapping[str, Row], due: Sequence[Row]) -> list[tuple[Row, Push]]:
        knowledge = self._knowledge(due)
        decided = []
        for row in due:
            outcome = self._decided(row, pushes.get(row["sync_id"]), knowledge)
            if isinstance(outcome, Push):
                decided.append((row, outcome))
            else:
                self._settle(row, outcome)
        return decided

    def _is_due(self, row: Row, push: Row | None) -> bool:
        """Whether there is something to stage; what came of a row that was staged is put on record."""
        if row["status"] == DUE or push is None or self._is_called_back(push):
            return True
        if push["status"] not in outbox.OPEN:
            status = {"done": DONE, "dead": DEAD}.get(push["status"], SKIPPED)
            self._settle(row, Outcome(status, None if status == DONE else push["last_error"]))
        return False

    def _is_called_back(self, push: Row) -> bool:
        """By a conflict, an unlinking, or because it was to be decided anew; not by whoever has discarded it."""
        if push["status"] != "cancelled":
            return False
        discarded = (push["last_error"] or "").startswith(outbox.DISCARDED)
        return push["attempts"] == 0 or (self.loader.target.clears and not discarded)

    def _may_go(self, push: Row) -> bool:
        """What was never tried may be taken back, and what is only set anew."""
        waits = push["status"] in ("pending", "held")
        if self.loader.target.clears:
            return waits
        return push["attempts"] == 0 and (waits or push["status"] == "cancelled")

    def _settle(self, row: Row, outcome: Outcome, **values: Any) -> None:
        if outcome.status == DONE:
            values["sent"] = row["found"]
            if row["found"] is None:  # all of it has been taken back
                self.over.append(row["key"])
                return
        news = {"status": outcome.status, "reason": outcome.reason, **values}
        if outcome.person_id is not None:
            news["person_id"] = outcome.person_id
        if any(row[name] != value for name, value in news.items()):
            self.settled.append(row | news | {"run_id": self.frame.run_id, "updated_at": self.frame.now})

    def _knowledge(self, due: Sequence[Row]) -> Knowledge:
        people = loaded.people_by(self.conn, self.loader.key, (_key_of(self.loader, row) for row in due))
        return Knowledge(self.conn, self.frame, self.loader, self.survey, people)

    def _decided(self, row: Row, push: Row | None, knowledge: Knowledge) -> Push | Outcome:
        """`push`: the last one of this row."""
        stands = push is not None and push["status"] != "cancelled" and not self._may_go(push)
        if push is not None and stands and not self.loader.target.clears:
            return Outcome(STAGED if push["status"] in outbox.OPEN else DONE, TOO_LATE)
        in_flight = push is not None and push["status"] in outbox.OPEN and (stands or push["attempts"] > 0)
        return feed(knowledge, row, _key_of(self.loader, row), in_flight=in_flight)

    def _stage(self, decided: Sequence[tuple[Row, Push]]) -> None:
        by_id = {self._sync_id(row, push): (row, push) for row, push in decided}
        there = loaded.pushes(self.conn, by_id)
        if self.loader.target is Target.ACTIVITIES:
            for once in mirror.sync_ids_known(self.conn, by_id) - there.keys():
                self._settle(by_id.pop(once)[0], Outcome(DONE, TOO_LATE))
        staged = outbox.Staged(self.conn, {push.person_id for _, push in by_id.values()})
        for once, (row, push) in by_id.items():
            sent = {**(row["sent"] or {}), **{k: v for k, v in (row["found"] or {}).items() if v is not None}}
            if once not in there and not self._put(once, push, staged):
                self._settle(row, Outcome(DEAD, GIVEN_UP, push.person_id), sent=sent)
                continue
            status = DEAD if push.refused else STAGED
            self._settle(row, Outcome(status, push.refused, push.person_id), sent=sent, sync_id=once)
        staged.write(self.conn)

    def _put(self, once: str, push: Push, staged: outbox.Staged) -> bool:
        frame = self.frame
        return outbox.stage(
            self.conn, person_id=push.person_id, platform=self.loader.target.platform, operation=push.operation,
            lane=push.lane, target=push.target, payload=push.payload, sync_id=once, cause=self.loader.cause,
            details=[{**detail, "why": self.loader.cause} for detail in push.details], run_id=frame.run_id,
            now=frame.now, status=frame.status(push.settled_at) if push.counts else "pending", refused=push.refused,
            doubted=push.doubted, among=staged,
        )  # fmt: skip

    def _sync_id(self, row: Row, push: Push) -> str:
        """Of what is said once, what it is; of a value, also when it is said: it may come back."""
        if push.once is not None:
            return push.once
        told = (canonical(push.payload).decode(), row["sync_id"] or "", str(self.frame.run_id))
        return sync_id(self.loader.cause, row["key"], *told)


def _key_of(loader: Loader, row: Row) -> str:
    text = str((row["found"] or row["sent"])[loader.key])
    return normal_email(text) if loader.key is Key.EMAIL else text
