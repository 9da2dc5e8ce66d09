"""Two sides and what they last agreed on -> what is to be written where, field by field.

Three-way and per side: a side has changed a field if it no longer shows what it showed at the last agreement, compared
by what the value means and not by how it is spelled. Pure: the same input gives the same decision (law 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core import consent
from service.core.mapping import Authority, CannotTake, FieldMap, FieldRule, Kind, one_line
from service.core.records import (
    BOTH_SIDES,
    Decision,
    Loss,
    Native,
    Pair,
    Platform,
    Push,
    Refusal,
)

_DO = Platform.DIGITAL_ONBOARDING
_OV = Platform.ONVOARD


@dataclass(slots=True)
class _Draft:
    pushes: list[Push] = field(default_factory=list)
    settled: dict[Platform, dict[str, Native]] = field(default_factory=lambda: {side: {} for side in BOTH_SIDES})
    losses: list[Loss] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


def reconcile(pair: Pair, mapping: FieldMap) -> Decision:
    """Pair -> Decision. Fields that one side does not know are left for the day on which it does."""
    draft, regions = _Draft(), _regions(pair, mapping)
    for rule in mapping.rules:
        known = rule.name in pair.onvoard.fields and rule.name in pair.digital_onboarding.fields
        if known and not _as_agreed(rule.name, pair):
            _Field(rule, pair, mapping, regions, draft).decide()
    opt_outs, opt_ins, consent_bases = consent.decide(pair)
    return Decision(
        pushes=tuple(draft.pushes),
        settled=draft.settled,
        losses=tuple(draft.losses),
        refusals=tuple(draft.refusals),
        opt_outs=opt_outs,
        opt_ins=opt_ins,
        consent=consent_bases,
    )


def _regions(pair: Pair, mapping: FieldMap) -> dict[Platform, str]:
    """National phone numbers are read in the terms of the side's own country, or of the only one that is known."""
    own = {side: mapping.region(pair.of(side).fields) for side in BOTH_SIDES}
    return {side: own[side] or own[side.other] for side in BOTH_SIDES}


def _as_agreed(name: str, pair: Pair) -> bool:
    """Whether both sides show a field as they last agreed on it: most of them, and there is nothing to decide."""
    return all(pair.of(side).fields[name] == pair.bases.of(side).fields.get(name) for side in BOTH_SIDES)


def newer(pair: Pair) -> tuple[Platform, str]:
    """The side whose record was edited last, and the rule's name; Digital Onboarding on a tie."""
    onvoard, digital = pair.onvoard.edited_at, pair.digital_onboarding.edited_at
    if onvoard is not None and (digital is None or onvoard > digital):
        return _OV, "newer record"
    return _DO, "tie" if onvoard == digital else "newer record"


class _Field:
    """One field of one pair."""

    def __init__(
        self, rule: FieldRule, pair: Pair, mapping: FieldMap, regions: Mapping[Platform, str], draft: _Draft
    ) -> None:
        self.rule, self.pair, self.mapping, self.regions, self.draft = rule, pair, mapping, regions, draft
        self.now = {side: pair.of(side).fields[rule.name] for side in BOTH_SIDES}
        self.keys = {side: self._key(side, self.now[side]) for side in BOTH_SIDES}
        self.same = self.keys[_OV] == self.keys[_DO] or len({mapping.key(rule, now) for now in self.now.values()}) == 1

    def _key(self, side: Platform, value: Native) -> str:
        return self.mapping.key(self.rule, value, self.regions[side])

    def decide(self) -> None:
        bases = {side: self.pair.bases.of(side).fields.get(self.rule.name) for side in BOTH_SIDES}
        if None in bases.values():
            self._first_link()
            return
        changed = [side for side in BOTH_SIDES if self._key(side, bases[side] or "") != self.keys[side]]
        if not changed:
            if bases != self.now:  # a spelling that is no edit today is none tomorrow, when the country may be another
                self._settle(*BOTH_SIDES)
        elif self.same:
            self._settle(*BOTH_SIDES)
        elif len(changed) == 2:
            self._clash()
        elif self.rule.authority in (Authority.BOTH, changed[0].value):
            self._send(changed[0], f"changed on {changed[0]}")
        else:
            self._send(changed[0].other, f"authority of {self.rule.authority}", lost=True)

    def _first_link(self) -> None:
        empty = [side for side in BOTH_SIDES if not self.keys[side]]
        if self.same:
            self._settle(*BOTH_SIDES)
        elif empty:
            self._send(empty[0].other, "fills a blank")
        elif (fuller := self._fuller()) is not None and self.rule.authority is Authority.BOTH:
            self._send(fuller, "fills a blank", lost=True)
        else:
            self._clash()

    def _fuller(self) -> Platform | None:
        """The side whose name says all that the other's says, and has a half more."""
        for side in BOTH_SIDES:
            ours, theirs = self.now[side], self.now[side.other]
            if isinstance(ours, tuple) and isinstance(theirs, tuple):
                halves = zip(map(one_line, ours), map(one_line, theirs), strict=True)
                if all(their in ("", our) for our, their in halves):
                    return side
        return None

    def _clash(self) -> None:
        winner, why = newer(self.pair)
        if self.rule.authority is not Authority.BOTH:
            winner, why = Platform(self.rule.authority.value), f"authority of {self.rule.authority}"
        elif self.rule.kind is Kind.EMAIL and not self.keys[winner]:
            winner, why = winner.other, "a cleared e-mail does not travel"
        self._send(winner, why, lost=True)

    def _send(self, source: Platform, why: str, *, lost: bool = False) -> None:
        """The value of `source` goes to the other side, or stays where it is if that side cannot take it."""
        value, target = self.now[source], source.other
        try:
            translated = self.mapping.translate(self.rule, value, target, self.now[target])
        except CannotTake as refusal:
            self.draft.refusals.append(Refusal(self.rule.name, target, value, str(refusal)))
            self._settle(*BOTH_SIDES)
            return
        if lost:
            self.draft.losses.append(Loss(self.rule.name, source, self.now[_OV], self.now[_DO], why))
        said_at = self.pair.of(source).edited_at
        self.draft.pushes.append(
            Push(target, self.rule.name, translated, self.now[target], value, why, said_at=said_at, lost=lost)
        )

    def _settle(self, *sides: Platform) -> None:
        for side in sides:
            self.draft.settled[side][self.rule.name] = self.now[side]
