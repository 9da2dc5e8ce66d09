"""The emulated Digital Onboarding over HTTP: tokens, upserts, journeys, objectives, webhooks."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections import Counter
from typing import Any

import httpx
import pytest

from service.sandbox import Sandbox
from tests.sandbox.asking import fetch_token
from tests.sandbox.receiver import Receiver, receiving

SHAPE = """
    address address2 city country county email id inserted_at meta_public name_first name_last name_suffix
    name_title phone_home phone_mobile phone_work post_code state timezone unique_id unsubscribe_email
    unsubscribe_sms updated_at
"""


def upsert(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post("/v1/contacts", json=fields)
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


def batch(client: httpx.Client, *members: dict[str, Any]) -> httpx.Response:
    return client.post("/v1/contacts", json={"contacts": list(members)})


def test_a_token_comes_by_basic_auth_or_body(sandbox: Sandbox) -> None:
    body = {"grant_type": "client_credentials", "client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
    for answer in (
        fetch_token(sandbox),
        fetch_token(sandbox, auth=None, data=body),
        fetch_token(sandbox, auth=None, data=None, json=body),
    ):
        assert answer.status_code == 200
        assert set(answer.json()) == {"access_token", "expires_in", "token_type"}
    assert sandbox.journal.counts()["tokens"] == 3 and sandbox.journal.writes() == []
    assert sandbox.client_secret not in repr(sandbox.journal.entries())


def test_bad_credentials_and_grants(sandbox: Sandbox) -> None:
    assert fetch_token(sandbox, auth=("x", "y")).json() == {"error": "invalid_client"}
    wrong = fetch_token(sandbox, data={"grant_type": "password"})
    assert (wrong.status_code, wrong.json()) == (400, {"error": "unsupported_grant_type"})


def test_credentials_in_the_query_string_are_revoked(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    query = {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
    assert fetch_token(sandbox, params=query).status_code == 401
    assert fetch_token(sandbox).status_code == 401
    assert digital_onboarding.get("/v1/templates").status_code == 401
    sandbox.digital_onboarding.restore_credentials()
    assert fetch_token(sandbox).status_code == 200


def test_an_expired_or_unknown_token_is_invalid(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    assert digital_onboarding.get("/v1/templates").status_code == 200
    sandbox.clock.advance(7200)
    expired = digital_onboarding.get("/v1/templates")
    assert (expired.status_code, expired.json()) == (401, {"error": "invalid_token"})
    assert httpx.get(f"{sandbox.digital_onboarding_url}/v1/templates").json() == {"error": "invalid_token"}


def test_a_contact_has_the_documented_shape(digital_onboarding: httpx.Client) -> None:
    made = upsert(digital_onboarding, email="A@example.com", name_first="Ann")
    assert set(made) == set(SHAPE.split())
    assert made["unique_id"] == "A@example.com" and made["city"] is None
    assert uuid.UUID(made["id"]).version == 4 and made["inserted_at"] == made["updated_at"]


def test_unique_id_is_the_only_identity(digital_onboarding: httpx.Client) -> None:
    first = upsert(digital_onboarding, email="a@example.com")
    assert upsert(digital_onboarding, unique_id="a@example.com", city="Bonn")["id"] == first["id"]
    assert upsert(digital_onboarding, email="A@example.com")["id"] != first["id"]
    assert upsert(digital_onboarding, email="a@example.com", unique_id="C1")["id"] != first["id"]
    anonymous = [upsert(digital_onboarding, city="Bonn") for _ in range(2)]
    assert anonymous[0]["unique_id"] != anonymous[1]["unique_id"]


def test_left_out_fields_stay_and_blank_ones_are_cleared(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    upsert(digital_onboarding, unique_id="1", city="Bonn", state="NW", county="X", unsubscribe_email=True)
    shown = upsert(digital_onboarding, unique_id="1", city="", state=None)
    assert (shown["city"], shown["state"], shown["county"]) == (None, None, "X")
    assert shown["unsubscribe_email"] is True
    settings = sandbox.digital_onboarding.settings
    settings.on_empty, settings.on_null = "ignore", "reject"
    assert upsert(digital_onboarding, unique_id="1", county="")["county"] == "X"
    assert digital_onboarding.post("/v1/contacts", json={"unique_id": "1", "county": None}).status_code == 422
    settings.omitted = "clear"
    assert upsert(digital_onboarding, unique_id="1")["county"] is None


def test_a_probe_touches_only_by_setting(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    made = upsert(digital_onboarding, unique_id="1", city="Bonn")
    assert upsert(digital_onboarding, unique_id="1")["updated_at"] == made["updated_at"]
    assert upsert(digital_onboarding, unique_id="1", city="Bonn")["updated_at"] == made["updated_at"]
    assert upsert(digital_onboarding, unique_id="1", city="Rome")["updated_at"] > made["updated_at"]
    sandbox.digital_onboarding.settings.touch_on_probe = True
    before = sandbox.digital_onboarding.contact("1")["updated_at"]
    touched = upsert(digital_onboarding, unique_id="1")
    assert touched["updated_at"] > before and touched["inserted_at"] == made["inserted_at"]


def test_a_batch_tells_new_from_existing(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    upsert(digital_onboarding, unique_id="1")
    answer = batch(digital_onboarding, {"unique_id": "1"}, {"unique_id": "2"}, {"unique_id": "3"}).json()
    assert [each["unique_id"] for each in answer["existing_contacts"]] == ["1"]
    assert [each["unique_id"] for each in answer["new_contacts"]] == ["2", "3"]
    sandbox.digital_onboarding.settings.answer_order = "reversed"
    again = batch(digital_onboarding, {"unique_id": "2"}, {"unique_id": "3"}).json()
    assert [each["unique_id"] for each in again["existing_contacts"]] == ["3", "2"]
    twice = batch(digital_onboarding, {"unique_id": "4", "city": "A"}, {"unique_id": "4", "city": "B"}).json()
    assert [each["city"] for each in twice["new_contacts"]] == ["B"] and twice["existing_contacts"] == []
    assert batch(digital_onboarding).json() == {"new_contacts": [], "existing_contacts": []}


@pytest.mark.parametrize(
    "bad",
    [
        {"email": "nobody"},
        {"city": 7},
        {"unsubscribe_sms": "true"},
        {"meta_public": []},
        {"journey": {"template_id": "none"}},
    ],
)
def test_a_bad_member_fails_the_whole_batch(
    sandbox: Sandbox, digital_onboarding: httpx.Client, bad: dict[str, Any]
) -> None:
    assert batch(digital_onboarding, {"unique_id": "1"}, {"unique_id": "2", **bad}).status_code == 422
    assert sandbox.digital_onboarding.contact_list() == []


def test_a_batch_has_a_limit(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    sandbox.digital_onboarding.settings.max_batch = 1
    assert batch(digital_onboarding, {"unique_id": "1"}, {"unique_id": "2"}).status_code == 413
    assert batch(digital_onboarding, {"unique_id": "1"}).status_code == 200


def test_objective_keys_are_flat(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    state = sandbox.digital_onboarding
    state.add_objective("branch-visit", "Branch Visit")
    sent = {"online-banking": "2019-09-23T00:00:00+0000", "branch-visit": "Done", "estatements": "no", "zip": "1"}
    made = upsert(digital_onboarding, unique_id="1", id="x", **sent)
    assert made["id"] != "x" and "online-banking" not in made
    done = state.completions_of("1")
    assert done.keys() == {"online-banking", "branch-visit"}
    assert done["online-banking"] == "2019-09-23T00:00:00.000000Z"
    assert {key for _, key, _ in state.ignored_keys} == {"id", "estatements", "zip"}
    upsert(digital_onboarding, **{"unique_id": "1", "online-banking": "true"})
    assert state.completions_of("1") == done
    wrapped = digital_onboarding.get("/v1/objectives").json()["objectives"]
    teams = {each["key"]: each["team_id"] for each in wrapped}
    assert teams["direct-deposit"] is None and teams["branch-visit"] and len(teams) == 13


def test_journeys_start_by_field_once_and_by_call_each_time(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    template = sandbox.digital_onboarding.add_template("Welcome")
    assert digital_onboarding.get("/v1/templates").json() == {"templates": [{"id": template, "name": "Welcome"}]}
    for _ in range(2):
        upsert(digital_onboarding, unique_id="1", journey={"template_id": template})
    upsert(digital_onboarding, **{"unique_id": "1", "journey.template_id": template})
    assert len(sandbox.digital_onboarding.journeys_of("1")) == 1
    path = f"/v1/templates/{template}/journeys"
    made = digital_onboarding.post(path, json={"contact": {"unique_id": "1"}, "name": "Hello"})
    assert set(made.json()) == {"id", "slug", "web_client_url"}
    digital_onboarding.post(path, json={"contact": {"unique_id": "1"}})
    assert [each["name"] for each in sandbox.digital_onboarding.journeys_of("1")] == ["Welcome", "Hello", "Welcome"]
    assert digital_onboarding.post(path, json={}).status_code == 422
    assert digital_onboarding.post("/v1/templates/none/journeys", json={"contact": {}}).status_code == 404


def test_shapes_by_setting(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    state = sandbox.digital_onboarding
    template = state.add_template("Welcome")
    state.settings.unset_flag, state.settings.meta_public, state.settings.echo_journey = None, "merge", True
    state.settings.dotted_journey = False
    shown = upsert(digital_onboarding, **{"unique_id": "1", "journey.template_id": template, "meta_public": {"a": 1}})
    assert shown["unsubscribe_email"] is None and shown["journey"] is None
    shown = upsert(digital_onboarding, unique_id="1", journey={"template_id": template}, meta_public={"b": 2})
    assert shown["meta_public"] == {"a": 1, "b": 2} and shown["journey"] == {"template_id": template}
    state.settings.meta_public = "replace"
    assert upsert(digital_onboarding, unique_id="1", meta_public={"c": 3})["meta_public"] == {"c": 3}


def test_listing_is_off_until_switched_on(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    made = upsert(digital_onboarding, unique_id="1", city="Bonn")
    upsert(digital_onboarding, unique_id="2")
    assert digital_onboarding.get("/v1/contacts").status_code == 403
    assert digital_onboarding.get(f"/v1/contacts/{made['id']}").status_code == 403
    sandbox.digital_onboarding.settings.listing = True
    assert digital_onboarding.get(f"/v1/contacts/{made['id']}").json() == made
    assert digital_onboarding.get("/v1/contacts/none").status_code == 404
    listed = digital_onboarding.get("/v1/contacts", params={"limit": 1, "offset": 1}).json()
    assert [each["unique_id"] for each in listed] == ["2"]
    assert digital_onboarding.get("/v1/contacts", params={"search": "bonn"}).json() == [made]


def test_webhooks_are_thin_and_signed_twice(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    made = upsert(digital_onboarding, unique_id="1")
    with receiving(Receiver()) as receiver:
        sandbox.digital_onboarding.configure_webhook(receiver.url, "new", "old")
        upsert(digital_onboarding, unique_id="1", city="Bonn")
        upsert(digital_onboarding, unique_id="1", city="Bonn")
        sandbox.digital_onboarding.edit_contact("1", city="Rome")
        assert sandbox.wait_for_webhooks()
    assert receiver.events() == [{"contact_id": made["id"], "type": "contact.updated"}] * 2
    headers, body = receiver.got[0]
    parts = dict(part.split("=") for part in headers["x-signature"].split(","))
    signed = f"{parts['t']}.{body.decode()}".encode()
    for name, secret in (("s0", b"new"), ("s1", b"old")):
        assert parts[name] == hmac.new(secret, signed, hashlib.sha256).hexdigest().upper()


def test_a_user_s_changes_fire_a_webhook_that_an_admin_call_has_set(
    sandbox: Sandbox, digital_onboarding: httpx.Client
) -> None:
    def console(method: str, *args: Any, **kwargs: Any) -> httpx.Response:
        return digital_onboarding.post("/_sandbox/console", json={"method": method, "args": args, "kwargs": kwargs})

    sandbox.digital_onboarding.settings.webhook_retry_delay = 0.001
    with receiving(Receiver([500])) as receiver:
        for bad in (["ftp://example.com", "s"], [receiver.url, 7]):
            assert console("configure_webhook", *bad).status_code == 400
        assert console("configure_webhook", receiver.url, "new", "old").status_code == 200
        made = console("add_contact", unique_id="1", email="a@example.com").json()["result"]
        console("edit_contact", "1", city="Rome")
        console("unsubscribe", "1")
        console("complete_objective", "1", "estatements", at="2026-01-02T00:00:00Z")
        assert sandbox.wait_for_webhooks()
    types = Counter(each["type"] for each in receiver.events())
    assert types == {"contact.created": 2, "contact.updated": 3}  # the first one, refused, came again
    assert {each["contact_id"] for each in receiver.events()} == {made["id"]}
    assert all(re.fullmatch("t=[0-9]+,s0=[0-9A-F]{64},s1=[0-9A-F]{64}", h["x-signature"]) for h, _ in receiver.got)
    assert {headers["content-type"] for headers, _ in receiver.got} == {"application/octet-stream"}


def test_what_a_user_does_in_the_admin_interface(sandbox: Sandbox, digital_onboarding: httpx.Client) -> None:
    made = upsert(digital_onboarding, unique_id="1", email="a@example.com", city="Bonn")
    state = sandbox.digital_onboarding
    state.edit_contact("1", city=None, name_first="Ann")
    state.unsubscribe("1", sms=True)
    shown = upsert(digital_onboarding, unique_id="1")
    assert (shown["city"], shown["name_first"]) == (None, "Ann")
    assert shown["unsubscribe_email"] and shown["unsubscribe_sms"] and shown["updated_at"] > made["updated_at"]
    state.rename_contact("1", "one")
    assert upsert(digital_onboarding, unique_id="one")["id"] == made["id"]
    state.remove_contact("one")
    assert [each["unique_id"] for each in batch(digital_onboarding, {"unique_id": "one"}).json()["new_contacts"]]
