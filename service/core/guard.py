"""The brake: a look at all changes of a cycle together, before any of them leaves (contract section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    max_changed_share: float
    max_changed_count: int
    hold_opt_outs_for: timedelta


@dataclass(frozen=True, slots=True)
class Load:
    """What a cycle would do to one platform: `changed` already linked people out of `linked`."""

    linked: int
    changed: int
    opted_out: int


@dataclass(frozen=True, slots=True)
class Ruling:
    hold: bool
    release_opt_outs: bool = False
    reason: str = ""


def are_few(changed: int, limits: Limits) -> bool:
    """They pass, of however many linked people they are."""
    return changed <= limits.max_changed_count


def rule(load: Load, limits: Limits, *, held_since: datetime | None, now: datetime) -> Ruling:
    """Hold if more than the share *and* more than the count would change; exactly the limit passes.

    Opt-outs that have waited for `hold_opt_outs_for` go out all the same.
    """
    share = load.changed / load.linked if load.linked else 0.0
    if are_few(load.changed, limits) or share <= limits.max_changed_share:
        return Ruling(hold=False)
    opted_out = f", {load.opted_out} of them by an opt-out" if load.opted_out else ""
    reason = (
        f"{load.changed} of {load.linked} linked people would change{opted_out} "
        f"(limits: {limits.max_changed_count} people and {limits.max_changed_share:.0%})"
    )
    waited = held_since is not None and now - held_since >= limits.hold_opt_outs_for
    return Ruling(hold=True, release_opt_outs=waited, reason=reason)
