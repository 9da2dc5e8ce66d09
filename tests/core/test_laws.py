"""Laws 1, 2, 3 and 9 of the design on a little world: two records, whatever they say, and platforms that do as they
please with what they are told."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hypothesis import assume, event, given
from hypothesis import strategies as st

from service.core.mapping import Authority, ClearWith, FieldMap, Kind
from service.core.reconcile import reconcile
from service.core.records import Base, Bases, Decision, Native, Pair, Platform, Push, Snapshot
from tests.core.making import DO, MAPPING, NOON, OV, RULES, field_map

# Few values and several spellings of each, so that sides often agree, nearly agree and collide.
VALUES: dict[Kind, tuple[Native, ...]] = {
    Kind.TEXT: ("", "  ", "A", " A ", "A  B", "A B", "b"),
    Kind.NAME: (("", ""), (" ", ""), ("Ann", "Lee"), ("Ann Lee", ""), ("", "Ann Lee"), (" Ann", "v  Lee"), ("Bo", "")),
    Kind.PHONE: ("", "+1 (555) 010-0000", "5550100000", "(555) 010-0000", "+49 30 123456", "030 123456", "n/a", "12"),
    Kind.COUNTRY: ("", "US", "usa", "DE", "Germany", "Narnia"),
    Kind.TIMEZONE: ("", "America/New_York", "america/new york", "UTC", "Mars"),
    Kind.EMAIL: ("", " ", "a@x.de", "A@X.de", " a@x.de", "b@x.de", "é@x.de", "É@x.de", "nobody"),
}
KINDS = {"email": Kind.EMAIL} | {rule.name: rule.kind for rule in RULES}

Fields = dict[str, Native]


def fields() -> st.SearchStrategy[Fields]:
    """A record's fields; one that is missing is unknown."""
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(VALUES[kind]) for name, kind in KINDS.items()})


mappings = st.builds(
    lambda clear_with, words: field_map(clear_with, **words),
    st.sampled_from(ClearWith),
    st.fixed_dictionaries({}, optional={rule.name: st.sampled_from(Authority) for rule in RULES}),
)
times = st.none() | st.sampled_from([NOON + timedelta(hours=hours) for hours in range(3)])
flags = st.booleans()
bases = st.builds(lambda a, b: Bases(Base(a), Base(b)), fields(), fields())
same_bases = st.builds(lambda a: Bases(Base(a), Base(a)), fields())
pairs = st.builds(
    Pair,
    st.builds(Snapshot, st.just("ct_1"), fields(), flags, times),
    st.builds(Snapshot, st.just("u1"), fields(), flags, times),
    st.just(Bases()) | bases | same_bases,
)


@dataclass
class World:
    """Both platforms' records of one person, and what the bridge believes was agreed."""

    mapping: FieldMap
    now: dict[Platform, Fields]
    bases: dict[Platform, Fields]
    edited: dict[Platform, object] = field(default_factory=lambda: dict.fromkeys(Platform))

    @classmethod
    def of(cls, pair: Pair, mapping: FieldMap) -> World:
        return cls(
            mapping,
            {side: dict(pair.of(side).fields) for side in Platform},
            {side: dict(pair.bases.of(side).fields) for side in Platform},
            {side: pair.of(side).edited_at for side in Platform},
        )

    def look(self) -> Decision:
        """What is settled at once becomes the base at once, as the mirror does it."""
        snapshots = {side: Snapshot(side, dict(self.now[side]), False, self.edited[side]) for side in Platform}
        pair = Pair(snapshots[OV], snapshots[DO], Bases(*(Base(dict(self.bases[s]), False) for s in Platform)))
        decision = reconcile(pair, self.mapping)
        for side, settled in decision.settled.items():
            self.bases[side].update(settled)
        return decision

    def push(self, push: Push, made_of_it: Native) -> None:
        """The platform shows what it made of the value, and says so: settled like the load step does."""
        self.now[push.platform][push.field] = made_of_it
        self.bases[push.platform][push.field] = made_of_it
        self.bases[push.platform.other][push.field] = push.source


def one_text(value: Native) -> str:
    return " ".join(" ".join(value).split()) if isinstance(value, tuple) else " ".join(value.split())


def split_again(value: Native) -> Native:
    if not isinstance(value, tuple):
        return value
    first, _, last = one_text(value).partition(" ")
    return first, last


def respelled(value: Native) -> Native:
    """As some platform likes it better: a phone without its country, a code in full, a name in one part."""
    if isinstance(value, tuple):
        return one_text(value), ""
    return {"+1 (555) 010-0000": "5550100000", "US": "usa", "DE": "Germany", "UTC": "utc"}.get(value, value.upper())


HABITS = {
    "keeps it": lambda push: push.value,
    "trims it": lambda push: tuple(map(str.strip, push.value)) if isinstance(push.value, tuple) else push.value.strip(),
    "splits it again": lambda push: split_again(push.value),
    "spells it its own way": lambda push: respelled(push.value),
    "drops it": lambda push: ("", "") if isinstance(push.value, tuple) else "",
    "does not listen": lambda push: push.old,
}


@given(pairs, mappings, st.data())
def test_law_1_and_3_after_one_round_nothing_is_left_to_write(pair, mapping, data):
    """Whatever both sides held, whatever was agreed, whatever the platforms make of what they are told."""
    world = World.of(pair, mapping)
    for _round in range(3):
        decision = world.look()
        for push in decision.pushes:
            habit = data.draw(st.sampled_from(sorted(HABITS)))
            event(habit)
            world.push(push, HABITS[habit](push))
        again = world.look()
        assert not again.pushes
        assert not again.losses
        assert not again.refusals, "what cannot be taken is reported once"
        assert not any(again.settled.values())
        for side in Platform:  # and people go on editing
            world.now[side].update(data.draw(fields()))
            world.edited[side] = data.draw(times)


@given(pairs, mappings, st.data())
def test_law_3_a_habit_of_the_platforms_is_never_taken_for_an_edit(pair, mapping, data):
    """After an edit of one field on one side, no other field moves and nothing moves back."""
    world = World.of(pair, mapping)
    for push in world.look().pushes:
        world.push(push, HABITS[data.draw(st.sampled_from(sorted(HABITS)))](push))
    known = [name for name in sorted(KINDS) if all(name in world.now[side] for side in Platform)]
    assume(known)
    name = data.draw(st.sampled_from(known))
    side = data.draw(st.sampled_from(Platform))
    world.now[side][name] = data.draw(st.sampled_from(VALUES[KINDS[name]]))
    for push in world.look().pushes:
        assert push.field == name
        authority = mapping.by_name[name].authority
        assert push.platform is side.other or authority.value == side.other.value


@given(pairs, mappings, st.data())
def test_law_1_and_3_pushes_that_are_lost_on_the_way_are_made_again_and_then_it_is_quiet(pair, mapping, data):
    """Lost before the platform acted, or afterwards: it shows the value, and nobody was told."""
    world = World.of(pair, mapping)
    for push in world.look().pushes:
        match data.draw(st.sampled_from(["arrives", "lost", "answer lost"])):
            case "arrives":
                world.push(push, push.value)
            case "answer lost":
                world.now[push.platform][push.field] = push.value
    decision = world.look()
    for push in decision.pushes:
        world.push(push, push.value)
    assert not world.look().pushes


def values_of(pair: Pair, name: str) -> dict[Platform, Native]:
    return {side: pair.of(side).fields[name] for side in Platform}


def key_of(pair: Pair, side: Platform, name: str, value: Native) -> str:
    """What two spellings have in common, in the terms of either side's country: independently, once more."""
    text, kind, formats = one_text(value), KINDS[name], MAPPING.formats
    if not text:
        return ""
    if kind is Kind.EMAIL:
        return "".join(c.lower() if c < "\x7f" else c for c in text)
    if kind is Kind.COUNTRY:
        return formats.country_code(text) or text
    if kind is Kind.TIMEZONE:
        return formats.zone_name(text) or text
    if kind is Kind.PHONE:
        countries = [formats.country_code(str(pair.of(s).fields.get("country", ""))) for s in (side, side.other)]
        return formats.phone_key(text, next((c for c in countries if c), ""))
    return text


@given(pairs, mappings)
def test_law_2_every_value_comes_from_the_other_side(pair, mapping):
    for push in reconcile(pair, mapping).pushes:
        values = values_of(pair, push.field)
        source = values[push.platform.other]
        assert push.source == source
        assert push.old == values[push.platform]
        kind, formats = KINDS[push.field], MAPPING.formats
        if kind is Kind.COUNTRY:
            assert push.value == (formats.country_code(one_text(source)) or "")
        elif kind is Kind.TIMEZONE:
            assert push.value == (formats.zone_name(one_text(source)) or "")
        else:
            assert one_text(push.value) == one_text(source)
            assert type(push.value) is type(source)
        assert kind is not Kind.EMAIL or push.value, "a cleared e-mail does not travel"


@given(pairs, mappings)
def test_law_2_what_is_overwritten_and_was_not_agreed_on_is_on_record(pair, mapping):
    decision = reconcile(pair, mapping)
    losses = {loss.field: loss for loss in decision.losses}
    assert len(losses) == len(decision.losses)
    for push in decision.pushes:
        values = values_of(pair, push.field)
        base = {side: pair.bases.of(side).fields.get(push.field) for side in Platform}
        old = key_of(pair, push.platform, push.field, push.old)
        agreed = None not in base.values() and old == key_of(pair, push.platform, push.field, base[push.platform])
        if old and not agreed:
            loss = losses[push.field]
            assert (loss.onvoard, loss.digital_onboarding) == (values[OV], values[DO])
            assert loss.kept is push.platform.other
    assert set(losses) <= {push.field for push in decision.pushes}, "nothing is lost that is not overwritten"


@given(pairs, mappings)
def test_law_2_no_edit_is_passed_over(pair, mapping):
    """An edit, or a difference at first link, is pushed, agreed on, or reported; and never two of these. A new spelling
    of what was agreed is agreed on too, and nothing else comes of it."""
    decision = reconcile(pair, mapping)
    pushed = [push.field for push in decision.pushes]
    settled = [name for name in decision.settled[OV] if name in decision.settled[DO]]
    assert set(decision.settled[OV]) == set(decision.settled[DO])
    assert len(pushed) == len(set(pushed))
    assert not set(pushed) & set(settled)
    assert {refusal.field for refusal in decision.refusals} <= set(settled)
    for name in KINDS:
        if not all(name in pair.of(side).fields for side in Platform):
            assert name not in (*pushed, *settled)
            continue
        values = values_of(pair, name)
        base = {side: pair.bases.of(side).fields.get(name) for side in Platform}
        assert (name in (*pushed, *settled)) == (None in base.values() or values != base)
        if name in pushed and None not in base.values():
            assert any(
                key_of(pair, side, name, values[side]) != key_of(pair, side, name, base[side]) for side in Platform
            )


def shuffled(fields: Fields, seed: int) -> Fields:
    items = list(fields.items())
    random.Random(seed).shuffle(items)
    return dict(items)


def reordered(pair: Pair, seed: int) -> Pair:
    def turned(of):
        return replace(of, fields=shuffled(dict(of.fields), seed))

    bases = Bases(turned(pair.bases.onvoard), turned(pair.bases.digital_onboarding))
    return Pair(turned(pair.onvoard), turned(pair.digital_onboarding), bases)


@given(pairs, mappings, st.integers(0, 99))
def test_law_9_the_same_input_gives_the_same_decision(pair, mapping, seed):
    decision = reconcile(pair, mapping)
    assert reconcile(pair, mapping) == decision
    turned = reconcile(reordered(pair, seed), FieldMap(mapping.rules[1:], mapping.formats, mapping.clear_with))
    assert turned == decision
    assert repr(turned) == repr(decision), "also in what order things are done"
