"""Digital Onboarding's calls, rules and tolerance."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import errors
from service.platforms.digital_onboarding import wire
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.digital_onboarding.wire import JourneyForm
from service.platforms.transport import Limits

from .servers import Fake, reply

JANE = {"id": "8a", "unique_id": "u1", "email": "jane@example.com", "unsubscribe_sms": True}


@pytest.fixture
async def client(fake: Fake, quick: Limits) -> AsyncIterator[DigitalOnboarding]:
    fake.routes = {"/oauth2/token": reply({"access_token": "t", "expires_in": 60, "token_type": "bearer"})}
    async with DigitalOnboarding(fake.url, "id", "secret", limits=quick) as client:
        yield client


async def test_a_batch_says_who_is_new(fake: Fake, client: DigitalOnboarding) -> None:
    stranger = {"unique_id": "u9", "email": "x@example.com"}
    fake.answers(reply({"new_contacts": [JANE | {"online-banking": "true"}], "existing_contacts": [stranger]}))
    answer = await client.upsert_contacts([{"unique_id": "u1"}, {"unique_id": "u9", "unsubscribe_email": True}])
    assert [contact.unique_id for contact in answer.new] == ["u1"] and answer.existing == []
    assert answer.new[0].extras == {"online-banking": "true"} and answer.new[0].unsubscribe_sms is True
    assert answer.refused[0].raw == stranger and "x@example" not in repr(answer)
    assert answer.sent_at <= answer.received_at and answer.server_time.tzinfo is not None
    assert fake.to("/v1/contacts")[0].json == {
        "contacts": [{"unique_id": "u1"}, {"unique_id": "u9", "unsubscribe_email": True}]
    }


@pytest.mark.parametrize("answer", [{}, [], {"contacts": []}, {"new_contacts": 5}, "ok", None])
async def test_a_batch_answer_without_its_lists_is_garbled(
    fake: Fake, client: DigitalOnboarding, answer: object
) -> None:
    fake.answers(reply(answer))
    with pytest.raises(errors.Garbled):
        await client.upsert_contacts([{"unique_id": "u1"}])


@pytest.mark.parametrize(
    ("contacts", "rule"),
    [
        ([], "at least one"),
        ([{"unique_id": "u1"}, {"unique_id": "u1"}], "twice"),
        ([{"email": "jane@example.com"}], "unique_id"),
        ([{"unique_id": " "}], "unique_id"),
        ([{"unique_id": "u1", "id": "8a"}], "id cannot be written"),
        ([{"unique_id": "u1", "inserted_at": "2020-01-01"}], "cannot be written"),
        ([{"unique_id": "u1", "updated_at": "2020-01-01"}], "cannot be written"),
        ([{"unique_id": "u1", "city": 7}], "city"),
        ([{"unique_id": "u1", "unsubscribe_email": "yes"}], "unsubscribe_email"),
        ([{"unique_id": "u1", "meta_public": "{}"}], "meta_public"),
        ([{"unique_id": "u1", "journey": {}}], "template_id"),
        ([{"unique_id": "u1", "zip": "12345"}], "zip"),
        ([{"unique_id": "u1", "contacts": []}], "batch"),
        ([{"unique_id": "u1", "online-banking": datetime(2026, 1, 1)}], "time zone"),  # noqa: DTZ001
        ([{"unique_id": "u1", "meta_public": {"at": datetime(2026, 1, 1)}}], "time zone"),  # noqa: DTZ001
    ],
)
async def test_rules_are_enforced_before_anything_is_sent(
    fake: Fake, client: DigitalOnboarding, contacts: list[dict[str, Any]], rule: str
) -> None:
    with pytest.raises(errors.RuleBroken, match=rule) as caught:
        await client.upsert_contacts(contacts, objectives={"online-banking"})
    assert fake.seen == [] and "jane" not in str(caught.value)


@pytest.mark.parametrize(
    ("form", "sent"),
    [(JourneyForm.NESTED, {"journey": {"template_id": "tm"}}), (JourneyForm.DOTTED, {"journey.template_id": "tm"})],
)
def test_a_journey_in_a_contact_has_two_readings(form: JourneyForm, sent: dict[str, Any]) -> None:
    for asked in ({"journey": {"template_id": "tm"}}, {"journey.template_id": "tm"}):
        assert wire.contact_body({"unique_id": "u1", **asked}, form=form) == {"unique_id": "u1", **sent}


async def test_an_upsert_is_repeated_unless_it_starts_a_journey(fake: Fake, client: DigitalOnboarding) -> None:
    fake.answers(reply(status=500), reply({"new_contacts": [JANE]}))
    assert (await client.upsert_contacts([{"unique_id": "u1"}])).new[0].id == "8a"
    fake.answers(reply(status=500), reply({"new_contacts": [JANE]}))
    with pytest.raises(errors.ServerFailed) as caught:
        await client.upsert_contacts([{"unique_id": "u1", "journey": {"template_id": "tm"}}])
    assert caught.value.verdict is errors.Verdict.LOOK and len(fake.to("/v1/contacts")) == 1


async def test_a_single_upsert_reads_times_and_keeps_completions_in_iso(fake: Fake, client: DigitalOnboarding) -> None:
    fake.answers(reply(JANE | {"inserted_at": "2024-01-02T03:04:05+0200", "updated_at": "nonsense"}))
    done = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    contact = await client.upsert_contact({"unique_id": "u1", "online-banking": done})
    assert contact.inserted_at == datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC) and contact.updated_at is None
    assert fake.to("/v1/contacts")[0].json["online-banking"] == "2024-01-02T03:04:05Z"
    assert "jane" not in repr(contact)


async def test_a_journey_is_started_once(fake: Fake, client: DigitalOnboarding) -> None:
    fake.answers(reply({"id": 5, "slug": "s", "web_client_url": "https://w/s"}))
    journey = await client.create_journey("tm1", contact={"unique_id": "u1"}, name="Welcome")
    sent = fake.to("/v1/templates/tm1/journeys")[0].json
    assert sent == {"contact": {"unique_id": "u1"}, "name": "Welcome"} and journey.id == "5"
    fake.answers(reply(status=502))
    with pytest.raises(errors.ServerFailed):
        await client.create_journey("tm1", contact={"unique_id": "u1"})
    assert len(fake.to("/v1/templates/tm1/journeys")) == 1


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("another one", {"contact": {"unique_id": "u1", "journey": {"template_id": "tm"}}}),
        ("unique_id", {"contact": {"email": "jane@example.com"}}),
        ("zip", {"contact": {"unique_id": "u1", "zip": "12345"}}),
        ("name must be text", {"name": 5}),
        ("name must be text", {"name": " "}),
        ("owner_id must be text", {"owner_id": 5}),
        ("template_id: this is no id", {"template_id": ""}),
        ("template_id: this is no id", {"template_id": "tm/journeys"}),
    ],
)
async def test_a_journey_that_breaks_a_rule_is_never_sent(
    fake: Fake, client: DigitalOnboarding, rule: str, fields: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {"template_id": "tm1", "contact": {"unique_id": "u1"}, "objectives": {"online-banking"}}
    with pytest.raises(errors.RuleBroken, match=rule) as caught:
        await client.create_journey(**asked | fields)
    assert fake.seen == [] and "jane" not in str(caught.value)


async def test_listings_come_wrapped(fake: Fake, client: DigitalOnboarding) -> None:
    fake.answers(reply({"templates": [{"id": "tm1", "name": "Welcome"}, {"name": "no id"}]}))
    templates = await client.list_templates()
    assert [template.name for template in templates.items] == ["Welcome"] and len(templates.refused) == 1
    fake.answers(reply({"objectives": [{"id": 3, "key": "online-banking", "name": "Online", "team_id": None}]}))
    objectives = await client.list_objectives()
    assert objectives.items[0].key == "online-banking" and objectives.items[0].team_id is None
    fake.answers(reply({"error": "nothing"}))
    with pytest.raises(errors.Garbled):
        await client.list_objectives()


async def test_the_undocumented_list_of_contacts(fake: Fake, client: DigitalOnboarding) -> None:
    fake.answers(reply([JANE]))
    contacts = await client.list_contacts(limit=50, offset=100)
    assert contacts.items[0].email == "jane@example.com"
    assert fake.to("/v1/contacts")[0].query == {"limit": "50", "offset": "100"}
    with pytest.raises(errors.RuleBroken):
        await client.list_contacts(limit=0, offset=0)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(wire.DOCUMENTED)) | st.text(max_size=8), anything))
def test_any_json_in_any_field_is_read(payload: dict[str, Any]) -> None:
    good, refused, _ = wire.parse_many("contact", [payload | {"id": "8a"}], wire.read_contact)
    assert good[0].raw == payload | {"id": "8a"} and not refused
    payload.pop("id", None)
    good, refused, _ = wire.parse_many("contact", [payload], wire.read_contact)
    assert not good and refused[0].reason == "no id"


@given(st.lists(anything, max_size=4))
def test_any_json_as_a_record_is_read_or_refused(records: list[Any]) -> None:
    for kind, read in (("template", wire.read_template), ("objective", wire.read_objective)):
        good, refused, _ = wire.parse_many(kind, records, read)
        assert len(good) + len(refused) == len(records)


NOW = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = int(NOW.timestamp())


def signed(secret: str, body: bytes, stamp: int = STAMP) -> str:
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest().upper()


def test_webhook_signatures() -> None:
    body = b'{"type": "contact.updated", "t": "{t}"}'
    old, new = signed("old", body), signed("new", body)
    both = f"t={STAMP},s0={new},s1={old}"
    assert wire.verify_signature(["new"], body, both, now=NOW)
    assert wire.verify_signature(["x", "old"], body, both, now=NOW)
    assert wire.verify_signature(["new"], body, f"t={STAMP}, s0={new.lower()}", now=NOW)
    assert not wire.verify_signature(["other"], body, both, now=NOW)
    assert not wire.verify_signature([""], body, f"t={STAMP},s0={signed('', body)}", now=NOW)
    assert not wire.verify_signature(["new"], body + b" ", both, now=NOW)
    assert not wire.verify_signature(["new"], body, f"t={STAMP - 1},s0={new}", now=NOW)
    stale = f"t={STAMP - 301},s0={signed('new', body, STAMP - 301)}"
    assert not wire.verify_signature(["new"], body, stale, now=NOW)
    plain = hmac.new(b"new", body, hashlib.sha256).hexdigest()
    assert wire.verify_signature(["new"], body, f"t={STAMP},s0={plain}", "{body}", now=NOW)


@given(st.text())
def test_no_header_breaks_the_check(header: str) -> None:
    assert not wire.verify_signature(["secret"], b"{}", header, now=NOW)
    assert not wire.verify_signature(["secret"], b"{}", f"t={STAMP},s0={header}", now=NOW)
