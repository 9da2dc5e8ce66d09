"""What the answers of one transaction come to: gathered, and put on record in a few statements at its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from service.core import consent
from service.core.identity import MatchedBy
from service.core.mapping import FieldMap
from service.core.records import Bases, Native, Platform, Refusal, native
from service.store import history, ledger, outbox, people
from service.store.database import Connection

Row = dict[str, Any]
NOTHING: Mapping[str, Native] = {}


class Settlement:
    """About pushes of these persons. Nothing is on record before `write`."""

    def __init__(
        self, conn: Connection, mapping: FieldMap, run_id: int, person_ids: Iterable[int], now: datetime
    ) -> None:
        self.conn, self.mapping, self.run_id, self.now = conn, mapping, run_id, now
        ids = set(person_ids)
        self._bases = dict.fromkeys(ids, Bases()) | ledger.bases_of(conn, ids)
        self._moved: dict[int, Bases] = {}
        self._links: dict[int, tuple[str, str, MatchedBy]] = {}
        self._refusals: dict[int, list[Refusal]] = {}
        self._done: list[Row] = []
        self._overtaking: list[Row] = []
        self._touched: set[int] = set()
        self._lines: list[history.Line] = []

    def write(self) -> None:
        people.link_alone(self.conn, self._links, self.now)
        ledger.put_all_bases(self.conn, self._moved, self.now)
        for person_id, refusals in self._refusals.items():
            ledger.record_refusals(self.conn, person_id, refusals, self.run_id, self.now)
        if self._done:
            outbox.mark(self.conn, [row["id"] for row in self._done], "done", self.now)
        if self._overtaking:
            outbox.bury(self.conn, self._overtaking, self.now)
        people.touch(self.conn, sorted(self._touched))
        history.record(self.conn, self._lines)

    def link(self, person_id: int, contact_id: str, unique_id: str, by: MatchedBy) -> None:
        """Two contacts neither of which is somebody else's."""
        self._links[person_id] = (contact_id, unique_id, by)

    def done(self, row: Row) -> None:
        self._done.append(row)

    def told(self, row: Row, fields: Mapping[str, Native] = NOTHING) -> None:
        """A push enters the history, with what its platform shows now."""
        named: dict[str, str] = {}
        for rule in self.mapping.rules:
            if rule.name in fields:
                named |= rule.by_column(Platform(row["platform"]), fields[rule.name])
        self._lines += history.lines(row, named, self.run_id, self.now)

    def agreed(self, row: Row, fields: Mapping[str, Native]) -> None:
        """A change has got through, and its platform shows these fields now."""
        platform, source = Platform(row["platform"]), native(row["basis"].get("fields") or {})
        # What an answer leaves out is taken for written as it was sent.
        answered = {name: fields.get(name, value) for name, value in source.items()}
        self._advance(row["person_id"], {platform: answered, platform.other: source})
        if unheard := self._unheard(row, platform, source, answered):
            self._refusals.setdefault(row["person_id"], []).extend(unheard)
        self._done.append(row)
        self._overtaking.append(row)
        self._touched.add(row["person_id"])

    def arrived(self, row: Row, shown: Mapping[str, Native]) -> bool:
        """The fields of a push that its platform shows as they were sent: on these the two sides have agreed.
        -> whether that is all of it"""
        platform, source = Platform(row["platform"]), native(row["basis"].get("fields") or {})
        key, region = self.mapping.key, self.mapping.region(shown)
        known = [rule for name, rule in self.mapping.by_name.items() if name in source and name in shown]
        same = {r.name for r in known if key(r, source[r.name], region) == key(r, shown[r.name], region)}
        sides = ((platform, shown), (platform.other, source))
        self._advance(row["person_id"], {side: {name: each[name] for name in same} for side, each in sides})
        return same == source.keys() != set()

    def opted_out(self, person_id: int) -> None:
        """Both sides show it."""
        self._moved[person_id] = consent.confirmed(self._agreed_by(person_id))

    def begin(self, person_id: int, bases: Bases) -> None:
        """The first that these two sides have agreed on."""
        self._moved[person_id] = bases

    def _advance(self, person_id: int, settled: Mapping[Platform, Mapping[str, Native]]) -> None:
        self._moved[person_id] = ledger.advance(self._agreed_by(person_id), settled)

    def _agreed_by(self, person_id: int) -> Bases:
        if person_id in self._moved:
            return self._moved[person_id]
        known = self._bases.get(person_id)  # of those whom a link has made one with another, nothing was asked before
        return ledger.get_bases(self.conn, person_id) if known is None else known

    def _unheard(
        self, row: Row, platform: Platform, source: Mapping[str, Native], answered: Mapping[str, Native]
    ) -> list[Refusal]:
        """The values that a platform accepted and did not take: its answer shows what was there before."""
        before = native({d["of"]: d["before"] for d in row["details"] if d.get("of") in source and "undoes" not in d})
        found = []
        for name, value in before.items():
            rule = self.mapping.by_name.get(name)
            if rule is None:
                continue
            sent, was, shows = (self.mapping.key(rule, each) for each in (source[name], value, answered[name]))
            if was == shows != sent:
                found.append(Refusal(name, platform, source[name], "accepted, but the answer shows what was there"))
        return found
