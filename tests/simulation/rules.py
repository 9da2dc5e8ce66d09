"""What rules will ask of Digital Onboarding: now and then a journey, or a completion, of somebody who is linked."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta

from service.core.records import Platform
from service.store import outbox
from service.store.outbox import Lane, Operation
from tests.simulation.watch import LawBroken, Watch

OBJECTIVE = "direct-deposit"
"""Nobody else completes this one."""


class Rules:
    """`dice` of their own: a world without rules is the same world."""

    def __init__(self, watch: Watch, dice: random.Random, template_id: str, rough: bool) -> None:
        self.watch, self.dice, self.template_id = watch, dice, template_id
        self.often = dice.choice([0, 0, 0.5]) if not rough else 0.9
        self.completed_at: dict[str, datetime] = {}  # by unique_id

    def ask(self) -> None:
        """For one person, once each, as the outbox remembers."""
        linked = self.watch.rows("SELECT person_id, unique_id FROM people WHERE status = 'linked' ORDER BY person_id")
        if not linked or self.dice.random() >= self.often:
            return
        who = self.dice.choice(linked)
        unique_id, now = who["unique_id"], self.watch.clock.now()
        at = now.replace(microsecond=0) - timedelta(hours=self.dice.randrange(1, 100))
        asked: tuple[Operation, dict[str, str]] = self.dice.choice([
            (Operation.START_JOURNEY, {"template_id": self.template_id}),
            (Operation.COMPLETE_OBJECTIVE, {OBJECTIVE: at.isoformat()}),
        ])
        with self.watch.db.begin() as conn:
            staged = outbox.stage(
                conn, person_id=who["person_id"], platform=Platform.DIGITAL_ONBOARDING, operation=asked[0],
                lane=Lane.ACTION, target=unique_id, payload={"unique_id": unique_id, **asked[1]}, details=[], run_id=1,
                now=now, sync_id=f"{asked[0]} {unique_id}",
            )  # fmt: skip
        if staged and asked[0] is Operation.COMPLETE_OBJECTIVE:
            self.completed_at[unique_id] = at

    def check(self) -> None:
        """Law 5: once per person and template; a completion has the time that it was asked for with."""
        for contact in self.watch.do.contact_list():
            unique_id = contact["unique_id"]
            started = Counter(each["template_id"] for each in self.watch.do.journeys_of(unique_id))
            if any(times > 1 for times in started.values()):
                raise LawBroken(5, f"{unique_id}: journeys that were started twice: {started}")
            done = self.watch.do.completions_of(unique_id).get(OBJECTIVE)
            if done is not None and datetime.fromisoformat(done) != self.completed_at.get(unique_id):
                raise LawBroken(5, f"{unique_id}: completed at {done}, not at {self.completed_at.get(unique_id)}")
