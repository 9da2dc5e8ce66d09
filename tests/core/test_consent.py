"""Law 4: consent only falls. An opt-out on either side reaches the other and is never taken back by the bridge."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.consent import FLAG, FLAGS, ConsentRaised, check_payload, confirmed, decide, onvoard_opted_out
from service.core.reconcile import reconcile
from service.core.records import Base, Bases, OptIn, OptOut, Pair, Platform
from tests.core.making import DO, MAPPING, OV, pair

NOW = list(itertools.product([False, True], repeat=2))
BASES = list(itertools.product([None, False, True], repeat=2))


def consent(base: tuple[bool | None, bool | None], now: tuple[bool, bool]) -> Pair:
    return pair({}, {}, opted_out=now, opted_out_base=base)


@pytest.mark.parametrize("now", NOW)
@pytest.mark.parametrize("base", BASES)
def test_every_combination(base, now):
    """Written down from the contract, not from the code."""
    opt_outs, opt_ins, bases = decide(consent(base, now))
    was, out = dict(zip(Platform, base, strict=True)), dict(zip(Platform, now, strict=True))
    fell = {side for side in Platform if out[side] and not was[side]}
    rose = {side for side in Platform if was[side] and not out[side]}
    # An opt-out that is new on one side goes to the other, unless that one is opted out already.
    assert set(opt_outs) == {OptOut(side.other, began=side) for side in fell if not out[side.other]}
    # A later opt-in is a person's to decide, unless an even newer opt-out of the other side has settled the question,
    # or the other side shows no opt-out: then the two agree.
    overruled = {push.platform for push in opt_outs}
    assert set(opt_ins) == {OptIn(side) for side in rose - overruled if out[side.other]}
    for side, agreed in bases.items():
        assert agreed is out[side], "a base says what the side shows"
        assert agreed is False or out[side.other], "an opt-out is agreed on only when both sides show it"
    for push in opt_outs:
        assert push.began not in bases, "not agreed on before the other side has confirmed"
        assert push.platform not in bases
    for side in rose - overruled:
        assert bases[side] is False, "asked about once"


@pytest.mark.parametrize("now", NOW)
@pytest.mark.parametrize("base", BASES)
def test_after_every_combination_one_confirmation_is_enough(base, now):
    first = decide(consent(base, now))
    agreed = tuple(first[2].get(side, was) for side, was in zip(Platform, base, strict=True))
    shows = list(now)
    if first[0]:
        agreed, shows = (True, True), [True, True]
    assert decide(consent(agreed, tuple(shows))) == ((), (), {})


def test_an_unconfirmed_opt_out_is_pushed_again():
    one = consent((False, False), (True, False))
    assert decide(one)[0] == decide(one)[0] == (OptOut(DO, began=OV),)
    assert decide(one)[2] == {}


def test_at_first_link_an_opt_out_counts_on_whichever_side():
    assert decide(consent((None, None), (False, True)))[0] == (OptOut(OV, began=DO),)
    assert decide(consent((None, None), (True, False)))[0] == (OptOut(DO, began=OV),)
    assert decide(consent((None, None), (True, True))) == ((), (), {OV: True, DO: True})
    assert decide(consent((None, None), (False, False))) == ((), (), {OV: False, DO: False})


def test_a_later_opt_in_is_asked_about_once_and_pushes_nothing():
    assert decide(consent((True, True), (False, True))) == ((), (OptIn(OV),), {OV: False})
    assert decide(consent((False, True), (False, True))) == ((), (), {})


def test_an_opt_out_wins_against_an_opt_in_of_the_same_time():
    assert decide(consent((False, True), (True, False))) == ((OptOut(DO, began=OV),), (), {})


def test_one_who_opted_in_again_can_opt_out_again():
    assert decide(consent((False, False), (False, True)))[0] == (OptOut(OV, began=DO),)


def test_confirmed_leaves_the_fields():
    bases = confirmed(Bases(Base({"city": "Bonn"}, False), Base({"city": "Rome"}, None)))
    assert bases == Bases(Base({"city": "Bonn"}, True, 1), Base({"city": "Rome"}, True, 1))


def test_reconcile_carries_consent_beside_the_fields():
    decision = reconcile(pair({"city": "X"}, {"city": "Y"}, opted_out=(True, False)), MAPPING)
    assert decision.opt_outs == (OptOut(DO, began=OV),)
    assert len(decision.pushes) == 1


@pytest.mark.parametrize("flag", ["email_unsubscribed", "email_marked_as_spam", "email_hard_bounced"])
@pytest.mark.parametrize(("value", "out"), [(True, True), (False, False), (None, False)])
def test_spam_and_hard_bounces_are_opt_outs_of_the_email(flag, value, out):
    assert onvoard_opted_out({flag: value}) is out


@pytest.mark.parametrize("flag", ["email_sendable", "suppressed", "accepts_marketing_emails"])
def test_nothing_else_is(flag):
    assert not onvoard_opted_out({flag: False})
    assert not onvoard_opted_out({flag: True})


# The last look before every write

NOT_TRUE = [False, None, "", "true", "false", 0, 1, [], "CONFIRMED"]


@pytest.mark.parametrize(("platform", "flag"), [(p, flag) for p in Platform for flag in FLAGS[p]])
def test_a_flag_is_written_with_true_or_not_at_all(platform, flag):
    check_payload(platform, {"city": "Bonn", flag: True})
    check_payload(platform, {"city": "Bonn"})
    for value in NOT_TRUE:
        with pytest.raises(ConsentRaised, match=flag):
            check_payload(platform, {flag: value})


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("key", ["accepts_marketing_emails", "email_double_optin_status"])
def test_other_words_of_consent_are_never_written(platform, key):
    for value in (True, *NOT_TRUE):
        with pytest.raises(ConsentRaised, match=key):
            check_payload(platform, {key: value})


def test_the_flags_are_those_of_the_contract():
    assert FLAG == {OV: "email_unsubscribed", DO: "unsubscribe_email"}
    assert "unsubscribe_sms" in FLAGS[DO]


@given(
    st.sampled_from(Platform),
    st.dictionaries(
        st.sampled_from([*itertools.chain(*FLAGS.values()), "city", "accepts_marketing_emails"]),
        st.sampled_from([True, *NOT_TRUE[:-2], "X"]),
    ),
)
def test_no_body_that_raises_a_flag_gets_through(platform, body):
    try:
        check_payload(platform, body)
    except ConsentRaised:
        return
    assert all(body[flag] is True for flag in FLAGS[platform] if flag in body)
    assert "accepts_marketing_emails" not in body


# Any order of events


class Story:
    """One person on both platforms, with the bridge in between; and a witness who remembers what people did."""

    def __init__(self, now: tuple[bool, bool], base: tuple[bool | None, bool | None]) -> None:
        self.out = dict(zip(Platform, now, strict=True))
        self.base = Bases(Base({}, base[0]), Base({}, base[1]))
        self.waiting: list[OptOut] = []
        self.asked: list[OptIn] = []
        self.seen = dict.fromkeys(Platform, False)
        self.stands: set[Platform] = set()  # opt-outs by a user that the bridge saw, and that no user took back

    def user(self, side: Platform, out: bool) -> None:
        self.out[side] = out
        if not out:
            self.stands.clear()

    def look(self) -> None:
        """What was decided before and did not leave is decided anew."""
        before = dict(self.out)
        opt_outs, opt_ins, bases = decide(consent((self.base.onvoard.opted_out, self.base.digital_onboarding.opted_out),
                                                  (self.out[OV], self.out[DO])))  # fmt: skip
        assert self.out == before
        assert all(not self.out[push.platform] for push in opt_outs), "nobody is opted out twice"
        self.waiting = list(opt_outs)
        self.asked += opt_ins
        self.base = Bases(*(Base({}, bases.get(side, self.base.of(side).opted_out)) for side in Platform))
        for side in Platform:
            if self.out[side] and not self.seen[side]:
                self.stands.add(side)
            self.seen[side] = self.out[side]

    def send(self, outcome: str) -> None:
        for push in self.waiting:
            body = {FLAG[push.platform]: True}
            check_payload(push.platform, body)
            if outcome != "lost":
                self.out[push.platform] = body[FLAG[push.platform]]
            if outcome == "confirmed":
                self.base = confirmed(self.base)
                self.seen[push.platform] = True
        self.waiting = []


events = st.one_of(
    st.tuples(st.just("out"), st.sampled_from(Platform)),
    st.tuples(st.just("in"), st.sampled_from(Platform)),
    st.just(("look", None)),
    st.tuples(st.just("send"), st.sampled_from(["confirmed", "lost", "answer lost"])),
)
maybe = st.sampled_from([False, True])


@given(st.tuples(maybe, maybe), st.lists(events, max_size=14))
def test_law_4_in_any_order_of_events(now, happenings):
    story = Story(now, (None, None))
    for what, which in happenings:
        before = dict(story.out)
        match what:
            case "out" | "in":
                story.user(which, what == "out")
                continue
            case "look":
                story.look()
            case "send":
                story.send(which)
        assert all(story.out[side] for side in Platform if before[side]), "the bridge raised consent"
    for _ in range(2):
        story.look()
        stands, out = set(story.stands), dict(story.out)
        story.send("confirmed")
        assert all(story.out[side] for side in Platform if out[side])
        if stands:
            assert all(story.out.values()), "an opt-out that nobody took back is everywhere"
    asked = len(story.asked)
    story.look()
    assert not story.waiting, "law 1"
    assert len(story.asked) == asked, "nobody is asked twice"
