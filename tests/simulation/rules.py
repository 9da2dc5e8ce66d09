"""Rules and a loader of the operator's, in some of the worlds: for what people do on OnVoard, something is asked of
Digital Onboarding."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta

from service.core.loaders import Key, Loader, Missing, Target
from service.core.rules import (
    ActivityOf,
    CompleteObjective,
    ReviewWith,
    Rule,
    Ruleset,
    SetMetaPublic,
    StartJourney,
)
from service.core.windows import EPOCH
from tests.simulation.watch import OV, LawBroken, Watch

OBJECTIVE, CLICKED, OPENED = "direct-deposit", "email_link_clicked", "email_opened"
"""Nobody else completes this one."""
SECOND = timedelta(seconds=1)
FIGURES = Loader("figures", Target.META_PUBLIC, Key.PERSON_ID, missing=Missing.CLEAR, sql="""
SELECT person_id, COUNT(*) AS review_count FROM reviews WHERE deleted_at IS NULL GROUP BY person_id
""")


class Rules:
    """`dice` of their own: a world without rules is the same world."""

    def __init__(self, watch: Watch, dice: random.Random, rough: bool) -> None:
        self.watch, self.dice, self.most = watch, dice, 5 if rough else 2
        since = dice.choice([None, None, EPOCH])
        rules = (
            Rule("clicked", ActivityOf(frozenset({CLICKED})), CompleteObjective(OBJECTIVE), since),
            Rule("reviewed", ReviewWith(min_rating=3), StartJourney("Welcome"), since),
            Rule("opened", ActivityOf(frozenset({OPENED})), SetMetaPublic("opened", True), since),
        )
        self.ruleset = Ruleset(rules if rough or dice.random() < 0.5 else (), frozenset({"opened", "review_count"}))
        self.loaders = (FIGURES,) if rough or dice.random() < 0.5 else ()

    def happen(self) -> None:
        """Now and then somebody does what a rule waits for."""
        ov, dice = self.watch.ov, self.dice
        people = sorted(key for key, each in ov.contacts.items() if each.suppressed_at is None)
        happens_at_all = people and (self.ruleset.rules or self.loaders)
        for _ in range(dice.randrange(self.most + 1) if happens_at_all else 0):
            who, kind, rating = dice.choice(people[: dice.choice([2, 99])]), dice.randrange(4), dice.randrange(2, 6)
            email = ov.contact(who)["email"]
            happens = {
                0: lambda who=who: ov.add_activity(who, CLICKED),
                1: lambda who=who: ov.add_activity(who, OPENED),
            }.get(kind, lambda email=email, rating=rating: ov.add_review(email, rating, "fine", entity="SITE"))
            self.watch.edits((OV, who), happens)

    def check(self) -> None:
        """Law 5, at rest: nothing was started twice, a completion has a click's own time, nothing waits for ever."""
        # What somebody did who was deleted since is gone with them; what it led to is on record.
        told = [each["datetime"] for each in self.watch.ov.activity_list(type=CLICKED)]
        told += [row["happened_at"] for row in self.watch.rows("SELECT * FROM rule_firings WHERE rule = 'clicked'")]
        clicked = {datetime.fromisoformat(at) for at in told}
        for contact in self.watch.do.contact_list():
            unique_id = contact["unique_id"]
            started = Counter(each["template_id"] for each in self.watch.do.journeys_of(unique_id))
            if any(times > 1 for times in started.values()):
                raise LawBroken(5, f"{unique_id}: journeys that were started twice: {started}")
            done = self.watch.do.completions_of(unique_id).get(OBJECTIVE)
            if done is None or self.watch.restored:  # then what was on record of those who were deleted is lost
                continue
            if not any(abs(datetime.fromisoformat(done) - at) < SECOND for at in clicked):
                raise LawBroken(5, f"{unique_id}: completed at {done}, when nobody has clicked")
        twice = self.watch.rows("SELECT rule, person_id FROM rule_firings GROUP BY rule, person_id HAVING count(*) > 1")
        if twice:
            raise LawBroken(5, f"rules that fired twice for one person: {twice}")
        self._nothing_forgotten()
        self._figures_are_there()

    def _figures_are_there(self) -> None:
        """Where nothing stands in the way, Digital Onboarding shows what the SELECT says."""
        if not self.loaders:
            return
        said = {row["person_id"]: row["review_count"] for row in self.watch.rows(FIGURES.sql)}
        stopped = self.watch.rows("SELECT stopped FROM loader_states WHERE stopped IS NOT NULL")
        if stopped:
            raise LawBroken(8, f"the loader has stopped: {stopped}")
        for row in self.watch.rows("SELECT person_id, unique_id FROM people WHERE status = 'linked'"):
            if self.watch.do.find(row["unique_id"]) is None:
                continue  # removed over there, and nobody has asked
            shows = self.watch.do.contact(row["unique_id"])["meta_public"].get("review_count")
            if self.watch.restored and row["person_id"] not in said:
                continue  # a restored mirror may not know that it was the loader who set it
            if shows != said.get(row["person_id"]):
                raise LawBroken(2, f"{row['unique_id']}: review_count is {shows}, not {said.get(row['person_id'])}")

    def _nothing_forgotten(self) -> None:
        waiting = self.watch.rows(
            "SELECT f.id FROM rule_firings f JOIN people p ON p.person_id = f.person_id"
            " WHERE f.status IN ('due', 'staged') AND p.status = 'linked'"
        )
        if waiting:
            raise LawBroken(8, f"firings that wait for nobody: {waiting}")
        if not self.ruleset.rules:
            return
        unheard = self.watch.rows(
            "SELECT a.id, a.type FROM activities a JOIN people p ON p.person_id = a.person_id"
            " JOIN rule_states s ON s.name = CASE a.type WHEN 'email_opened' THEN 'opened' ELSE 'clicked' END"
            f" WHERE a.type IN ('{CLICKED}', '{OPENED}') AND p.status = 'linked' AND a.occurred_at > s.since"
            " AND NOT EXISTS (SELECT 1 FROM rule_firings f WHERE f.rule = s.name AND f.person_id = a.person_id)"
        )
        if unheard:
            raise LawBroken(2, f"happenings that no rule has looked at: {unheard}")
