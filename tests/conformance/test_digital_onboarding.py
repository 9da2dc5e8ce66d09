"""The document of Digital Onboarding. Two contacts are made for the whole run, because they cannot be removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from service.errors import Denied, NotFound, Rejected
from service.metrics import Requests
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.digital_onboarding.models import Contact
from tests.conformance.asking import digits, refused
from tests.conformance.target import Target

Person = Callable[[], Awaitable[Contact]]
OPTED_OUT = {"unsubscribe_email": True, "unsubscribe_sms": True}  # whatever is tried, nobody is written to
TEXTS = {
    "name_title": "Dr.", "name_first": "Conny", "name_last": "Formance", "name_suffix": "Jr.",
    "address": "1 Main Street", "address2": "Suite 2", "city": "Springfield", "state": "MA", "county": "Hampden",
    "country": "US", "post_code": "01103", "timezone": "America/New_York",
}  # fmt: skip
PHONES = {"phone_home": "+14155550121", "phone_mobile": "+14155550122", "phone_work": "+14155550123"}


@pytest.fixture
def person(target: Target, digital: DigitalOnboarding) -> Person:
    async def first() -> Contact:
        target.needs("contacts")
        if "person" not in target.shared:
            unique_id = target.lasting("Digital Onboarding: contact")
            email = f"{unique_id}@example.com"
            ids = {"unique_id": unique_id, "email": email}
            rest = {**TEXTS, **PHONES, **OPTED_OUT, "meta_public": {"run": target.run}}
            target.shared["person"] = await digital.upsert_contact(ids | rest)
            assert (target.shared["person"].unique_id, target.shared["person"].email) == (unique_id, email)
        return target.shared["person"]

    return first


async def test_one_token_serves_every_call_and_the_next_process(target: Target, tmp_path: Path) -> None:
    meter = Requests()
    do = target.settings.digital_onboarding
    for _ in range(2):
        async with DigitalOnboarding(
            do.base_url, do.client_id, do.client_secret.get_secret_value(), state_dir=tmp_path,
            meter=meter,
        ) as digital:  # fmt: skip
            await digital.list_templates()
            await digital.list_objectives()
    assert sum(number for (call, _), number in meter.attempts.items() if "/oauth2/token" in call) == 1


async def test_a_wrong_client_gets_no_token(target: Target) -> None:
    base_url = target.settings.digital_onboarding.base_url
    async with DigitalOnboarding(base_url, "cb-conformance-nobody", "no-secret") as stranger:
        with pytest.raises(Denied):
            await stranger.list_templates()


async def test_templates_have_an_id_and_a_name(digital: DigitalOnboarding) -> None:
    listing = await digital.list_templates()
    assert listing.refused == [] and all(template.id and template.name for template in listing.items)


async def test_objectives_have_a_key(digital: DigitalOnboarding) -> None:
    listing = await digital.list_objectives()
    assert listing.refused == [] and all(objective.id and objective.key for objective in listing.items)
    assert len({objective.key for objective in listing.items}) == len(listing.items)


async def test_contacts_are_listed_where_the_token_may(target: Target, digital: DigitalOnboarding) -> None:
    """Not documented: a server may know nothing of it."""
    try:
        first, second = [await digital.list_contacts(limit=1, offset=offset) for offset in (0, 1)]
    except (Denied, NotFound, Rejected):
        target.lacks("this token may not list contacts; nothing documented says that it may")
    assert first.refused == second.refused == []
    assert len(first.items) <= 1 and (not second.items or first.items != second.items)


async def test_a_contact_comes_back_as_it_was_sent(target: Target, person: Person) -> None:
    made = await person()
    assert {name: getattr(made, name) for name in TEXTS} == TEXTS
    assert all(digits(getattr(made, name)) == digits(number) for name, number in PHONES.items())
    assert (made.unsubscribe_email, made.unsubscribe_sms) == (True, True)
    assert made.meta_public == {"run": target.run}
    assert made.id and made.inserted_at and made.updated_at


async def test_the_same_unique_id_is_the_same_contact(digital: DigitalOnboarding, person: Person) -> None:
    made = await person()
    again = await digital.upsert_contact({"unique_id": made.unique_id, "name_first": "Cornelia", **OPTED_OUT})
    assert (again.id, again.unique_id, again.name_first) == (made.id, made.unique_id, "Cornelia")
    assert again.inserted_at == made.inserted_at


async def test_a_batch_says_who_is_new(target: Target, digital: DigitalOnboarding, person: Person) -> None:
    made, newcomer = await person(), target.lasting("Digital Onboarding: contact of a batch")
    both = [{"unique_id": unique_id, "city": "Boston", **OPTED_OUT} for unique_id in (made.unique_id, newcomer)]
    answer = await digital.upsert_contacts(both)
    assert [(each.unique_id, each.city) for each in answer.new] == [(newcomer, "Boston")]
    assert [(each.unique_id, each.id, each.city) for each in answer.existing] == [(made.unique_id, made.id, "Boston")]
    assert answer.refused == []
    assert all(each.unsubscribe_email and each.unsubscribe_sms for each in (*answer.new, *answer.existing))


async def test_an_objective_is_completed_by_its_key(target: Target, digital: DigitalOnboarding, person: Person) -> None:
    made = await person()
    keys = [objective.key for objective in (await digital.list_objectives()).items]
    if not keys:
        target.lacks("no objective here")
    contact: dict[str, Any] = {"unique_id": made.unique_id, keys[0]: "true", **OPTED_OUT}
    assert (await digital.upsert_contact(contact, objectives=keys)).id == made.id
    assert [each.id for each in (await digital.upsert_contacts([contact], objectives=keys)).existing] == [made.id]


async def test_a_journey_is_made_from_a_template(target: Target, digital: DigitalOnboarding, person: Person) -> None:
    target.needs("contacts", "journeys")
    made, templates = await person(), (await digital.list_templates()).items
    if not templates:
        target.lacks("no template here")
    contact = {"unique_id": made.unique_id, **OPTED_OUT}
    name = target.lasting("Digital Onboarding: journey")
    journey = await digital.create_journey(templates[0].id, contact=contact, name=name)
    assert journey.id and journey.slug and (journey.web_client_url or "").startswith("http")
    with refused():
        await digital.create_journey("00000000-0000-4000-8000-000000000000", contact=contact)


async def test_an_upsert_starts_a_journey(target: Target, digital: DigitalOnboarding, person: Person) -> None:
    target.needs("contacts", "journeys")
    made, templates = await person(), (await digital.list_templates()).items
    if not templates:
        target.lacks("no template here")
    target.left["Digital Onboarding: journey by an upsert, of"] = made.unique_id or ""
    contact = {"unique_id": made.unique_id, "journey": {"template_id": templates[0].id}, **OPTED_OUT}
    assert (await digital.upsert_contact(contact)).id == made.id
