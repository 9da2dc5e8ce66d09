"""Who is who (contract section 4, "Identity"): in order, and never a guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.identity import (
    Ambiguous,
    Apart,
    Contact,
    Index,
    MatchedBy,
    New,
    Same,
    could_be,
    who_is_digital_onboarding,
    who_is_onvoard,
)

C = Contact


def index(onvoard: list[Contact], digital: list[Contact]) -> Index:
    return Index({c.id: c for c in onvoard}, {c.id: c for c in digital})


def of_onvoard(onvoard: list[Contact], digital: list[Contact]):
    """Who the first of the OnVoard contacts is."""
    return who_is_onvoard(onvoard[0], index(onvoard, digital))


def of_digital(onvoard: list[Contact], digital: list[Contact]):
    return who_is_digital_onboarding(digital[0], index(onvoard, digital))


# The rules, in their order


def test_nobody_is_new():
    assert of_onvoard([C("ct_1", "a@x.de")], []) == New()
    assert of_digital([], [C("u1", "a@x.de")]) == New()
    assert of_onvoard([C("ct_1", "a@x.de")], [C("u1", "b@x.de")]) == New()


def test_by_the_link_property():
    assert of_onvoard([C("ct_1", "a@x.de", link_unique_id="u1")], [C("u1", "b@x.de")]) == Same("u1", MatchedBy.PROPERTY)


def test_by_email():
    assert of_onvoard([C("ct_1", "a@x.de")], [C("u1", "a@x.de")]) == Same("u1", MatchedBy.EMAIL)


@pytest.mark.parametrize("unique_id", ["a@x.de", "A@X.de", " a@x.DE "])
def test_by_a_unique_id_that_is_the_other_sides_email(unique_id):
    assert of_onvoard([C("ct_1", "a@x.de")], [C(unique_id)]) == Same(unique_id, MatchedBy.UNIQUE_ID)
    assert of_onvoard([C("ct_1", "a@x.de")], [C(unique_id, "b@x.de")]) == Same(unique_id, MatchedBy.UNIQUE_ID)


def test_no_guess_beyond_ascii():
    assert of_onvoard([C("ct_1", "é@x.de")], [C("É@x.de")]) == New()


def test_the_property_comes_before_the_email():
    digital = [C("u1", "b@x.de"), C("u2", "a@x.de")]
    assert of_onvoard([C("ct_1", "a@x.de", link_unique_id="u1")], digital) == Same("u1", MatchedBy.PROPERTY)


def test_the_email_comes_before_the_unique_id():
    digital = [C("a@x.de", "b@x.de"), C("u2", "a@x.de")]
    assert of_onvoard([C("ct_1", "a@x.de")], digital) == Same("u2", MatchedBy.EMAIL)


def test_a_property_that_names_nobody_known_leaves_it_to_the_address():
    assert of_onvoard([C("ct_1", "a@x.de", link_unique_id="u9")], [C("u1", "a@x.de")]) == Same("u1", MatchedBy.EMAIL)


def test_the_property_is_a_unique_id_and_no_address():
    """It was written by us, letter by letter."""
    assert of_onvoard([C("ct_1", "", link_unique_id="U1")], [C("u1", "")]) == New()


def test_blank_addresses_are_not_equal():
    assert of_onvoard([C("ct_1", ""), C("ct_2", "")], [C("u1", ""), C("", "")]) == New()
    assert of_digital([C("ct_1", "")], [C("u1", ""), C("u2", "")]) == New()


# Ambiguities


def test_two_contacts_there_with_one_email():
    verdict = of_onvoard([C("ct_1", "a@x.de")], [C("u1", "a@x.de"), C("u2", "a@x.de")])
    assert verdict == Ambiguous("several Digital Onboarding contacts have this e-mail", ("ct_1",), ("u1", "u2"))
    assert isinstance(of_digital([], [C("u1", "a@x.de"), C("u2", "a@x.de")]), Ambiguous)


def test_two_contacts_here_with_one_email():
    verdict = of_onvoard([C("ct_1", "a@x.de"), C("ct_2", "a@x.de")], [C("u1", "a@x.de")])
    assert verdict == Ambiguous("several OnVoard contacts have this e-mail", ("ct_1", "ct_2"), ("u1",))
    verdict = of_onvoard([C("ct_1", "a@x.de"), C("ct_2", "a@x.de")], [])
    assert verdict == Ambiguous("several OnVoard contacts have this e-mail", ("ct_1", "ct_2"))


def test_two_unique_ids_that_are_this_email_but_for_case():
    verdict = of_onvoard([C("ct_1", "a@x.de")], [C("a@x.de"), C("A@x.de")])
    assert isinstance(verdict, Ambiguous)
    assert verdict.digital_onboarding == ("a@x.de", "A@x.de")


def test_one_that_has_a_partner_is_not_taken_by_email():
    """That would merge two people. The linked one is not frozen for it."""
    onvoard = [C("ct_1", "a@x.de"), C("ct_2", "b@x.de", linked=True)]
    verdict = of_onvoard(onvoard, [C("u2", "a@x.de", linked=True)])
    assert isinstance(verdict, Ambiguous)
    assert (verdict.onvoard, verdict.digital_onboarding) == (("ct_1",), ())


def test_one_that_has_a_partner_is_not_taken_by_the_property():
    verdict = of_onvoard([C("ct_1", "a@x.de", link_unique_id="u1")], [C("u1", "b@x.de", linked=True)])
    assert isinstance(verdict, Ambiguous)
    assert (verdict.onvoard, verdict.digital_onboarding) == (("ct_1",), ())


def test_two_contacts_that_carry_one_link():
    onvoard = [C("ct_1", "a@x.de", link_unique_id="u1"), C("ct_2", "b@x.de", link_unique_id="u1")]
    for turned in (onvoard, onvoard[::-1]):
        verdict = of_onvoard(turned, [C("u1", "a@x.de")])
        assert isinstance(verdict, Ambiguous)
        assert (set(verdict.onvoard), verdict.digital_onboarding) == ({"ct_1", "ct_2"}, ("u1",))


def test_one_found_beside_a_double_that_is_linked():
    """Two people with one address, one of whom has a partner: not even the partner's address decides."""
    onvoard = [C("ct_1", "a@x.de"), C("ct_2", "a@x.de", linked=True)]
    verdict = of_onvoard(onvoard, [C("u1", "a@x.de")])
    assert isinstance(verdict, Ambiguous)
    assert (verdict.onvoard, verdict.digital_onboarding) == (("ct_1",), ("u1",))


def test_one_with_this_email_that_another_ones_property_names():
    """It is about to be the other's. A second contact with its address must not be created beside it."""
    onvoard = [C("ct_1", "a@x.de"), C("ct_2", "b@x.de", link_unique_id="u1")]
    assert of_onvoard(onvoard[::-1], [C("u1", "a@x.de")]) == Same("u1", MatchedBy.PROPERTY)
    verdict = of_onvoard(onvoard, [C("u1", "a@x.de")])
    assert isinstance(verdict, Ambiguous)
    assert (verdict.onvoard, verdict.digital_onboarding) == (("ct_1",), ())


def test_the_onvoard_contact_with_its_email_has_a_partner_already():
    verdict = of_digital([C("ct_1", "a@x.de", linked=True)], [C("u1", "a@x.de"), C("u2", "b@x.de", linked=True)])
    assert isinstance(verdict, Ambiguous)
    assert (verdict.onvoard, verdict.digital_onboarding) == ((), ("u1",))


def test_one_of_two_with_its_email_has_a_partner_already():
    verdict = of_digital([], [C("u1", "a@x.de"), C("u2", "a@x.de", linked=True)])
    assert isinstance(verdict, Ambiguous)
    assert verdict.digital_onboarding == ("u1",)


@pytest.mark.parametrize("linked", [False, True])
def test_one_whose_unique_id_an_onvoard_contact_carries_is_not_created_there(linked):
    """Whoever carries it is somebody else's partner, or not alone in carrying it. A link that exists is not frozen."""
    verdict = of_digital([C("ct_1", "b@x.de", linked, link_unique_id="u1")], [C("u1", "a@x.de")])
    assert isinstance(verdict, Ambiguous)
    assert (verdict.onvoard, verdict.digital_onboarding) == (() if linked else ("ct_1",), ("u1",))


# Addresses that were freed, and unique_ids that outlived them


def test_a_freed_address_is_free():
    """ct_2 is linked, and about to take on its partner's new address: a@x.de is somebody else's now."""
    leaving = C("ct_2", "a@x.de", linked=True, moves_to="n@x.de")
    assert of_onvoard([C("ct_1", "a@x.de"), leaving], [C("u1", "a@x.de")]) == Same("u1", MatchedBy.EMAIL)
    assert of_onvoard([C("ct_1", "a@x.de")], [C("u2", "a@x.de", linked=True, moves_to="n@x.de")]) == New()
    assert of_digital([leaving], [C("u1", "a@x.de"), C("u2", "b@x.de", linked=True)]) == New()
    assert of_digital([], [C("u1", "a@x.de"), C("u2", "a@x.de", linked=True, moves_to="n@x.de")]) == New()


def test_a_unique_id_that_belongs_to_a_linked_person_is_not_meant():
    """Its address was freed and taken by somebody else: a fresh unique_id will be made."""
    assert of_onvoard([C("ct_1", "a@x.de")], [C("a@x.de", "b@x.de", linked=True)]) == New()


def test_a_unique_id_whose_contact_is_somebody_else_by_its_own_email():
    onvoard = [C("ct_1", "a@x.de"), C("ct_2", "b@x.de")]
    digital = [C("a@x.de", "b@x.de")]
    assert of_onvoard(onvoard, digital) == New()
    assert of_onvoard(onvoard[::-1], digital) == Same("a@x.de", MatchedBy.EMAIL)


def test_a_unique_id_that_another_ones_property_names():
    onvoard = [C("ct_1", "a@x.de"), C("ct_2", "c@x.de", link_unique_id="a@x.de")]
    assert of_onvoard(onvoard, [C("a@x.de", "")]) == New()
    assert of_onvoard(onvoard[::-1], [C("a@x.de", "")]) == Same("a@x.de", MatchedBy.PROPERTY)


# Whom a person has told apart


def apart(onvoard: list[Contact], digital: list[Contact], *pairs: tuple[str, str]) -> Index:
    return Index({c.id: c for c in onvoard}, {c.id: c for c in digital}, frozenset(pairs))


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (C("ct_1", "a@x.de", link_unique_id="u1"), C("u1", "b@x.de")),
        (C("ct_1", "a@x.de"), C("u1", "a@x.de")),
        (C("ct_1", "a@x.de"), C("a@x.de")),
    ],
)
def test_no_rule_links_them_and_neither_gets_a_counterpart(here, there):
    assert isinstance(who_is_onvoard(here, index([here], [there])), Same)
    told = apart([here], [there], (here.id, there.id))
    assert who_is_onvoard(here, told) == Apart() == who_is_digital_onboarding(there, told)


def test_who_is_not_the_one_is_the_other():
    onvoard, digital = [C("ct_1", "a@x.de")], [C("u1", "a@x.de"), C("u2", "a@x.de")]
    assert who_is_onvoard(onvoard[0], apart(onvoard, digital, ("ct_1", "u1"))) == Same("u2", MatchedBy.EMAIL)
    none = apart(onvoard, digital, ("ct_1", "u1"), ("ct_1", "u2"))
    assert who_is_onvoard(onvoard[0], none) == Apart() == who_is_digital_onboarding(digital[1], none)


def test_who_was_told_apart_stands_in_nobody_elses_way():
    onvoard, digital = [C("ct_1", "a@x.de", link_unique_id="u1"), C("ct_2", "a@x.de")], [C("u1", "a@x.de")]
    assert isinstance(who_is_onvoard(onvoard[1], index(onvoard, digital)), Ambiguous)
    assert who_is_onvoard(onvoard[1], apart(onvoard, digital, ("ct_1", "u1"))) == Same("u1", MatchedBy.EMAIL)


def test_two_told_apart_from_somebody_may_still_both_be_a_third():
    onvoard, digital = [C("ct_1", "a@x.de"), C("ct_2", "a@x.de")], [C("a@x.de")]
    told = apart(onvoard, digital, ("ct_1", "u1"), ("ct_2", "u1"))
    for contact in onvoard:
        verdict = who_is_onvoard(contact, told)
        assert isinstance(verdict, Ambiguous)
        assert set(verdict.onvoard) == {"ct_1", "ct_2"}
        assert verdict.digital_onboarding == ("a@x.de",)
    told = apart(onvoard, digital, ("ct_1", "u1"), ("ct_2", "a@x.de"))
    assert [who_is_onvoard(c, told) for c in onvoard] == [Same("a@x.de", MatchedBy.UNIQUE_ID), Apart()]


def test_from_somebody_out_of_sight():
    """The other one may share nothing with it, and not be in the index."""
    assert who_is_onvoard(C("ct_1", "a@x.de"), apart([C("ct_1", "a@x.de")], [], ("ct_1", "u9"))) == Apart()


# In general

emails = st.sampled_from(["", "a@x.de", "b@x.de"])
unique_ids = st.sampled_from(["u1", "u2", "a@x.de", "A@x.de", "b@x.de"])
onvoard_contacts = st.lists(st.tuples(emails, st.booleans(), st.just("") | unique_ids), min_size=1, max_size=3).map(
    lambda drawn: [C(f"ct_{n}", *contact) for n, contact in enumerate(drawn)]
)
digital_contacts = st.dictionaries(unique_ids, st.tuples(emails, st.booleans()), max_size=4).map(
    lambda drawn: [C(unique_id, *contact) for unique_id, contact in drawn.items()]
)


@given(onvoard_contacts, digital_contacts)
def test_nobody_is_given_to_two(onvoard, digital):
    """Of all who are asked about together, no two get the same partner, nor one who has a partner."""
    of = index(onvoard, digital)
    found = [v.id for c in onvoard if not c.linked and isinstance(v := who_is_onvoard(c, of), Same)]
    assert len(found) == len(set(found))
    assert not any(of.digital_onboarding[partner].linked for partner in found)


@given(onvoard_contacts, digital_contacts)
def test_no_address_is_created_twice(onvoard, digital):
    """Who is new has an e-mail that nobody on the other side has."""
    of = index(onvoard, digital)
    for contact in onvoard:
        if not contact.linked and contact.email and who_is_onvoard(contact, of) == New():
            assert contact.email not in {c.email for c in digital}
    for contact in digital:
        if not contact.linked and contact.email and who_is_digital_onboarding(contact, of) == New():
            assert contact.email not in {c.email for c in onvoard}


@given(onvoard_contacts, digital_contacts, st.randoms(use_true_random=False))
def test_the_order_of_the_records_decides_nothing(onvoard, digital, random):
    before = index(onvoard, digital)
    random.shuffle(onvoard)
    random.shuffle(digital)
    after = index(onvoard, digital)
    for contact in onvoard:
        assert simple(who_is_onvoard(contact, before)) == simple(who_is_onvoard(contact, after))
    for contact in digital:
        assert simple(who_is_digital_onboarding(contact, before)) == simple(who_is_digital_onboarding(contact, after))


def simple(verdict):
    if isinstance(verdict, Ambiguous):
        return verdict.reason, set(verdict.onvoard), set(verdict.digital_onboarding)
    return verdict


@given(onvoard_contacts, digital_contacts)
def test_nobody_who_has_a_partner_is_frozen(onvoard, digital):
    of = index(onvoard, digital)
    verdicts = [who_is_onvoard(c, of) for c in onvoard if not c.linked]
    verdicts += [who_is_digital_onboarding(c, of) for c in digital if not c.linked]
    for verdict in verdicts:
        if isinstance(verdict, Ambiguous):
            assert verdict.reason
            assert not any(of.onvoard[i].linked for i in verdict.onvoard)
            assert not any(of.digital_onboarding[i].linked for i in verdict.digital_onboarding)


separations = st.frozensets(st.tuples(st.sampled_from(["ct_0", "ct_1", "ct_2"]), unique_ids), max_size=4)


@given(onvoard_contacts, digital_contacts, separations)
def test_nobody_is_linked_or_created_against_a_persons_word(onvoard, digital, pairs):
    of = apart(onvoard, digital, *pairs)
    found = {c.id: who_is_onvoard(c, of) for c in onvoard if not c.linked}
    made = {c.id: who_is_digital_onboarding(c, of) for c in digital if not c.linked}
    for contact_id, verdict in found.items():
        assert not (isinstance(verdict, Same) and (contact_id, verdict.id) in pairs)
    for contact_id, unique_id in pairs:
        assert found.get(contact_id) != New() and made.get(unique_id) != New()
    partners = [v.id for v in found.values() if isinstance(v, Same)]
    assert len(partners) == len(set(partners))


@given(onvoard_contacts, digital_contacts)
def test_nobody_is_linked_for_whom_no_rule_speaks(onvoard, digital):
    of = index(onvoard, digital)
    for contact in onvoard:
        if not contact.linked and isinstance(verdict := who_is_onvoard(contact, of), Same):
            assert could_be(contact, of.digital_onboarding[verdict.id])
