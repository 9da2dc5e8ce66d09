"""A field that two writers keep turning back.

Pure: what was carried over -> whether one more carry would only go on turning. What counts is said once, in `turns`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.core.records import Native, Platform

LIMIT = 3
"""So many carries between the same two meanings are made; the next one waits for a person."""
MEMORY = timedelta(days=120)
"""Carries that are older do not count: a job that runs once a month is still seen, and no more has to be remembered."""


@dataclass(frozen=True, slots=True)
class Carry:
    """A value that was carried over at `at`: `new` from `source`, whose record was edited at `said_at`, over `old`.

    `source` is None where a person gave an old value back (`undo`).
    """

    source: Platform | None
    old: Native
    new: Native
    said_at: datetime | None
    at: datetime


def turns(history: Sequence[Carry], coming: Carry, key: Callable[[Native], str]) -> tuple[Carry, ...]:
    """The carries that `coming` would turn back once more, oldest first: of one field, `history` in order.

    The longest run of carries at the end of the history in which, up to and with `coming`, each comes from the other
    side than the one before it and puts back what that one replaced: A -> B, B -> A, A -> B. Values are compared by
    `key`, which is by meaning. So edits to ever new values never count, nor does one side that changes its mind, nor
    what an undo has given back.
    """
    run: list[Carry] = []
    later = coming
    for carry in reversed(history):
        if None in (carry.source, later.source) or carry.source is later.source:
            break
        if (key(carry.old), key(carry.new)) != (key(later.new), key(later.old)):
            break
        run.append(carry)
        later = carry
    return tuple(reversed(run))


def reason(run: Sequence[Carry], coming: Carry) -> str:
    """Who overwrites whom, since when. It names no value: those stand beside it, and are erased with the person."""
    last = {carry.source: carry.said_at or carry.at for carry in (*run, coming)}
    writers = " and ".join(f"{side} (last at {_second(last[side])})" for side in Platform if side in last)
    return f"{writers} keep overwriting each other: {len(run)} times since {_second(run[0].at)}"


def _second(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
