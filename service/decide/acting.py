"""Rules, the second half: what a rule has fired for is asked of Digital Onboarding, like any other push.

A firing waits until its person is linked and free, and ends where there is nothing to be done for them.
"""

from __future__ import annotations

from typing import Any

from service.core import targets
from service.core.consent import opted_out_anywhere
from service.core.records import Platform, same
from service.core.rules import CompleteObjective, Rule, SetMetaPublic, StartJourney
from service.decide.frame import Frame
from service.decide.happenings import sync_id
from service.store import firings, goals, outbox, restoration
from service.store.database import Connection
from service.store.outbox import Lane, Operation
from service.store.types import iso

Row = dict[str, Any]
BATCH = 500
OPTED_OUT = "opted out of e-mail: no journey is started"


def act(conn: Connection, frame: Frame, after: str) -> str | None:
    """The next firings that are due. -> where to go on, None at the end"""
    if after == "":
        firings.take_stock(conn, frame.now)
    rows = firings.due(conn, int(after or 0), BATCH)
    if not rows:
        return None
    _Batch(conn, frame, rows).act()
    return str(rows[-1]["id"])


class _Batch:
    def __init__(self, conn: Connection, frame: Frame, rows: list[Row]) -> None:
        self.conn, self.frame, self.rows = conn, frame, rows
        unique_ids = {row["unique_id"] for row in rows} - {None}
        self.journeys, self.completed = goals.started(conn, unique_ids), goals.completed(conn, unique_ids)
        self.templates, self.objectives = goals.templates(conn), goals.objectives(conn)
        self.staged = outbox.Staged(conn, {row["person_id"] for row in rows})
        self.outcomes: list[Row] = []

    def act(self) -> None:
        for row in self.rows:
            rule = self.frame.rules.named(row["rule"])
            if rule is None:
                self._ends(row, "skipped", "the rule is no longer in the rules file")
            elif row["state"] != "active":
                self._ends(row, "skipped", "the person is suppressed or erased")
            elif row["onvoard_contact_id"] is None:
                self._ends(row, "skipped", "the contact was deleted on OnVoard")
            elif why := _waits(row, rule):
                self._waits(row, why)
            elif isinstance(rule.then, StartJourney):
                self._start(row, rule, rule.then)
            elif isinstance(rule.then, CompleteObjective):
                self._complete(row, rule, rule.then)
            else:
                self._set(row, rule, rule.then)
        self.staged.write(self.conn)
        firings.settle(self.conn, self.outcomes, self.frame.now)

    def _ends(self, row: Row, status: str, why: str | None, once: str | None = None) -> None:
        self.outcomes.append({"firing": row["id"], "to": status, "why": why, "once": once})

    def _waits(self, row: Row, why: str) -> None:
        if why != row["reason"]:
            self._ends(row, "due", why)

    def _start(self, row: Row, rule: Rule, then: StartJourney) -> None:
        if opted_out_anywhere(row):
            return self._ends(row, "skipped", OPTED_OUT)
        template_id, refused = targets.meant(targets.template_id, then.template, self.templates)
        if rule.again_after is None and (row["unique_id"], template_id) in self.journeys:
            return self._ends(row, "skipped", "a journey from this template was started before")
        doubted = self.frame.doubts(row["run_id"], None if rule.lasts else row["happened_at"])
        if doubted and goals.began_since(self.conn, row["unique_id"], template_id, row["happened_at"]):
            return self._ends(row, "done", restoration.FOUND)
        self.journeys.add((row["unique_id"], template_id))
        detail = {"field": "journey.template_id", "old": None, "new": template_id}
        self._stage(row, rule, Operation.START_JOURNEY, {"template_id": template_id}, detail, refused, doubted)

    def _complete(self, row: Row, rule: Rule, then: CompleteObjective) -> None:
        key, refused = targets.meant(targets.objective_key, then.objective, self.objectives)
        if (row["unique_id"], key) in self.completed:
            return self._ends(row, "done", "completed already")
        self.completed.add((row["unique_id"], key))
        doubted = rule.lasts and self.frame.doubts(row["run_id"])  # its time is no longer what it was
        at = iso(row["happened_at"])
        detail = {"field": key, "old": None, "new": at}
        self._stage(row, rule, Operation.COMPLETE_OBJECTIVE, {key: at}, detail, refused, doubted)

    def _set(self, row: Row, rule: Rule, then: SetMetaPublic) -> None:
        known = row["meta_public"] or {}
        if then.key in known and same(known[then.key], then.value):
            return self._ends(row, "done", "it stands there already")
        detail = {"field": f"meta_public.{then.key}", "old": known.get(then.key), "new": then.value}
        self._stage(row, rule, Operation.SET_META, {"meta_public": {then.key: then.value}}, detail)

    def _stage(
        self, row: Row, rule: Rule, operation: Operation, payload: Row, detail: Row, refused: str | None = None,
        doubted: bool = False,
    ) -> None:  # fmt: skip
        refused = refused or (restoration.MAYBE if doubted else None)
        once = sync_id("rule", rule.name, row["unique_id"], row["happening"])
        cause = f"rule {rule.name}"
        staged = outbox.stage(
            self.conn, person_id=row["person_id"], platform=Platform.DIGITAL_ONBOARDING, operation=operation,
            lane=Lane.ACTION, target=row["unique_id"], payload={"unique_id": row["unique_id"], **payload},
            details=[detail | {"why": cause}], run_id=self.frame.run_id, now=self.frame.now,
            status=self.frame.status(row["settled_at"]), sync_id=once, cause=cause, refused=refused, doubted=doubted,
            among=self.staged,
        )  # fmt: skip
        if staged:
            self._ends(row, "dead" if refused else "staged", refused, once)
        else:
            self._ends(row, "dead", "it was refused before")


def _waits(row: Row, rule: Rule) -> str | None:
    """Why nothing can be asked for this person yet; None where nothing is in the way."""
    if not rule.enabled:
        return "the rule is switched off"
    if row["conflict_id"] is not None:
        return f"conflict {row['conflict_id']} is open"
    if row["unique_id"] is None:
        return "not on Digital Onboarding yet"
    if row["removed_at"] is not None:
        return "removed on Digital Onboarding"
    if isinstance(rule.then, SetMetaPublic) and row["meta_public"] is None and row["refreshed_at"] is None:
        return "what its meta_public holds is not known yet"
    return None
