"""What all decisions of one run share."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime

from service.core.guard import Limits
from service.core.mapping import FieldMap
from service.core.records import Platform
from service.core.rules import NO_RULES, Ruleset
from service.store.restoration import Restoration

AMBIGUOUS = "ambiguous_identity"
"""The kind of conflict that asks who is who."""
EMAIL_TAKEN = "email_taken"
"""The kind that asks what an address means that somebody else has."""
LINK_EDITED = "link_edited"
"""The kind that asks whether a link is to be another, because its property on OnVoard was edited."""
REMOVED = "removed_on_digital_onboarding"
"""The kind that asks whether a contact that was gone over there is to be filled again."""
RESUBSCRIBED = "resubscribed"
"""The kind that asks what an opt-in on one side means while the other side's opt-out stands."""
ASKED_AGAIN = (EMAIL_TAKEN, LINK_EDITED)
"""Kinds about linked people who are looked at once more, to see whether the conflict has cleared."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`now` stands still while a run decides (law 9). `create_on` are the platforms on which people without a
    counterpart are created."""

    run_id: int
    now: datetime
    started_at: datetime
    mapping: FieldMap
    create_on: frozenset[Platform]
    ask_about_opt_ins: bool
    limits: Limits
    brake: bool
    activities_since: datetime
    asks: bool  # Digital Onboarding can be asked about a unique_id
    link_property: bool  # OnVoard knows the property; `setup` makes it
    opt_out_deleted: bool  # who is gone from one platform is opted out on the other
    rules: Ruleset = NO_RULES
    creations_sent: tuple[Set[int], Set[str]] = (frozenset(), frozenset())  # `outbox.creations_sent`
    restored: Restoration | None = None  # the mirror was, from a backup
    anew: bool = False  # this run is the first to decide since

    def doubts(self, run_id: int | None, happened_at: datetime | None = None) -> bool:
        """Whether what came up in that run, because of what happened then, may have been asked for before, by a mirror
        that was lost."""
        return self.restored is not None and self.restored.doubts(run_id, happened_at)

    def status(self, settled_at: datetime | None) -> str:
        """Changes of people whose sides had agreed before this run wait for the brake's ruling. What a link still has
        to carry over, because the run that made it was killed, does not."""
        return "held" if settled_at is not None and settled_at < self.started_at else "pending"
