"""Contacts of the emulated OnVoard, over HTTP."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from service.sandbox import Sandbox

SHAPE = """
    accepts_marketing_emails created_datetime email email_double_opted_in email_double_optin_status
    email_hard_bounced email_marked_as_spam email_sendable email_soft_bounced_count email_unsubscribed id lists
    modified_datetime name phone properties segments suppressed suppressed_datetime tags
"""


def create(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post("/v2/contacts", json=fields)
    assert response.status_code == 201, response.text
    shown: dict[str, Any] = response.json()
    return shown


def patch(client: httpx.Client, contact: dict[str, Any], **fields: Any) -> httpx.Response:
    return client.patch(f"/v2/contacts/{contact['id']}", json=fields)


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}])
def test_a_missing_or_wrong_key_is_a_401_with_a_body(sandbox: Sandbox, headers: dict[str, str]) -> None:
    response = httpx.get(f"{sandbox.onvoard_url}/v2/contacts", headers=headers)
    assert response.status_code == 401
    assert response.json()["detail"]


def test_a_new_contact_has_every_documented_field(onvoard: httpx.Client) -> None:
    shown = create(onvoard, email="jane@example.com", name="Jane  van Doe", tags=["Premium"])
    assert set(shown) == set(SHAPE.split())
    assert shown["properties"] == {"first_name": "Jane", "last_name": "van Doe"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", shown["created_datetime"])
    assert shown["id"].startswith("ct_") and shown["tags"][0]["id"].startswith("cttag_")
    assert [each["name"] for each in shown["segments"]] == ["Not from EU"]
    assert onvoard.get(f"/v2/contacts/{shown['id']}").json() == shown


def test_the_date_header_follows_the_clock(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    before = onvoard.get("/v2/contacts").headers["Date"]
    sandbox.clock.advance(86400)
    assert onvoard.get("/v2/contacts").headers["Date"][:16] != before[:16]


def test_an_email_is_unique_whatever_its_case(onvoard: httpx.Client) -> None:
    first = create(onvoard, email="Jane@Example.com")
    second = create(onvoard, email="john@example.com")
    assert onvoard.post("/v2/contacts", json={"email": "jane@example.COM"}).status_code == 400
    assert patch(onvoard, second, email="JANE@example.com").status_code == 400
    assert patch(onvoard, first, email="jane@new.example").json()["email"] == "jane@new.example"
    assert create(onvoard, email="jane@example.com")["id"] != first["id"]


@pytest.mark.parametrize("email", [None, "", "nobody", 7])
def test_a_bad_email_is_refused(onvoard: httpx.Client, email: object) -> None:
    assert onvoard.post("/v2/contacts", json={"email": email}).status_code == 400


def test_create_or_update_goes_by_email_and_touches_only_what_is_named(onvoard: httpx.Client) -> None:
    made = onvoard.post("/v2/contacts/create-or-update", json={"email": "a@example.com", "name": "Ann Lee"})
    again = onvoard.post("/v2/contacts/create-or-update", json={"email": "A@example.com", "phone": "555"})
    assert (made.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == made.json()["id"]
    assert (again.json()["name"], again.json()["email"], again.json()["phone"]) == ("Ann Lee", "a@example.com", "555")


def test_modified_moves_only_when_something_changes(onvoard: httpx.Client) -> None:
    made = create(onvoard, email="a@example.com", name="Ann")
    same = patch(onvoard, made, name="Ann").json()
    other = patch(onvoard, made, name="Anna").json()
    assert same["modified_datetime"] == made["modified_datetime"] < other["modified_datetime"]
    assert other["created_datetime"] == made["created_datetime"]


def test_a_phone_is_reformatted_where_it_is_one(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    made = create(onvoard, email="a@example.com", phone="+1 (415) 555-0101")
    assert made["phone"] == "+14155550101"
    assert patch(onvoard, made, phone="ask Bob").json()["phone"] == "ask Bob"
    sandbox.onvoard.settings.reformat_phone = False
    assert patch(onvoard, made, phone="+1 415").json()["phone"] == "+1 415"


def test_null_clears_properties_and_nothing_else(onvoard: httpx.Client) -> None:
    made = create(onvoard, email="a@example.com", properties={"city": "Bonn", "region": "NW"})
    cleared = patch(onvoard, made, properties={"city": None}).json()
    assert "city" not in cleared["properties"] and cleared["properties"]["region"] == "NW"
    assert patch(onvoard, made, name=None).status_code == 400
    assert patch(onvoard, made, phone=None).status_code == 400
    assert patch(onvoard, made, email_unsubscribed=None).status_code == 400
    assert patch(onvoard, made, name="").json()["name"] == ""


@pytest.mark.parametrize(
    "bad", [{"favourite_colour": "red"}, {"country": "USA"}, {"timezone": "Mars/Base"}, {"city": 7}, {"country": ""}]
)
def test_unknown_keys_and_bad_values_are_refused_whole(onvoard: httpx.Client, bad: dict[str, Any]) -> None:
    made = create(onvoard, email="a@example.com")
    assert patch(onvoard, made, name="Ann", properties=bad).status_code == 400
    assert onvoard.get(f"/v2/contacts/{made['id']}").json()["name"] == ""


def test_parts_of_the_name_are_read_only(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    made = create(onvoard, email="a@example.com", name="Ann Lee")
    assert patch(onvoard, made, properties={"first_name": "Zoe"}).json()["properties"]["first_name"] == "Ann"
    sandbox.onvoard.settings.readonly_properties = "reject"
    assert patch(onvoard, made, properties={"first_name": "Zoe"}).status_code == 400


def test_country_decides_eu_and_segment(onvoard: httpx.Client) -> None:
    made = create(onvoard, email="a@example.com", properties={"country": "FR", "dob": 0})
    assert made["properties"]["is_from_eu"] is True and made["segments"] == []
    assert made["properties"]["age"] > 50 and isinstance(made["properties"]["dob"], int)


def test_lists_are_written_as_ids_and_replace(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    news, vip = sandbox.onvoard.add_list("Newsletter"), sandbox.onvoard.add_list("VIP")
    made = create(onvoard, email="a@example.com", lists=[news], tags=["x"])
    assert patch(onvoard, made, lists=[vip], tags=["y"]).json()["lists"] == [{"id": vip, "name": "VIP"}]
    assert patch(onvoard, made, lists=["Newsletter"]).status_code == 400
    sandbox.onvoard.settings.tags_write = "append"
    assert [tag["name"] for tag in patch(onvoard, made, tags=["z"]).json()["tags"]] == ["y", "z"]


def test_optin_confirmation_blocks_other_mail(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    made = create(onvoard, email="a@example.com", send_email_optin_confirmation=True)
    assert (made["email_double_optin_status"], made["email_sendable"]) == ("NOT_CONFIRMED", False)
    assert sandbox.onvoard.optin_mails == ["a@example.com"]
    confirmed = patch(onvoard, made, email_double_optin_status="CONFIRMED").json()
    assert confirmed["email_double_opted_in"] and confirmed["email_sendable"]


def test_left_out_flags_stay_or_fall_back_by_setting(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    made = create(onvoard, email="a@example.com", email_unsubscribed=True)
    assert patch(onvoard, made, name="Ann").json()["email_unsubscribed"] is True
    sandbox.onvoard.settings.defaults_on_update = True
    assert patch(onvoard, made, name="Bob").json()["email_unsubscribed"] is False


def test_suppression_erases_freezes_and_lists(onvoard: httpx.Client) -> None:
    made = create(onvoard, email="a@example.com", name="Ann", tags=["x"], properties={"city": "Bonn"})
    shown = onvoard.post(f"/v2/contacts/{made['id']}/suppress").json()
    assert shown["suppressed"] and shown["suppressed_datetime"] and not shown["email_sendable"]
    assert (shown["name"], shown["tags"], shown["segments"]) == ("", [], [])
    assert shown["properties"] == {"first_name": "", "last_name": ""}
    assert patch(onvoard, made, name="Ann").status_code == 400
    assert onvoard.delete(f"/v2/contacts/{made['id']}").status_code == 400
    assert onvoard.post("/v2/contacts/create-or-update", json={"email": "a@example.com"}).status_code == 400
    assert [each["id"] for each in onvoard.get("/v2/contacts").json()["results"]] == [made["id"]]
    back = onvoard.post(f"/v2/contacts/{made['id']}/unsuppress").json()
    assert (back["suppressed"], back["suppressed_datetime"]) == (False, None)
    assert patch(onvoard, made, name="Ann").status_code == 200


def test_suppression_may_go_on_showing_data(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    sandbox.onvoard.settings.suppressed_data = "keep"
    made = create(onvoard, email="a@example.com", name="Ann Lee", tags=["x"])
    shown = onvoard.post(f"/v2/contacts/{made['id']}/suppress").json()
    assert (shown["name"], shown["tags"]) == ("Ann Lee", [])


def test_delete_answers_an_empty_object_and_frees_the_email(onvoard: httpx.Client) -> None:
    made = create(onvoard, email="a@example.com")
    gone = onvoard.delete(f"/v2/contacts/{made['id']}")
    assert (gone.status_code, gone.json()) == (200, {})
    assert onvoard.get(f"/v2/contacts/{made['id']}").status_code == 404
    assert patch(onvoard, made, name="x").status_code == 404
    assert create(onvoard, email="a@example.com")["id"] != made["id"]


def test_unknown_paths_and_methods(onvoard: httpx.Client) -> None:
    assert onvoard.get("/v2/lists").status_code == 404
    assert onvoard.put("/v2/contacts", json={}).status_code == 405
    assert onvoard.post("/v2/contacts", content=b"{oops").status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"email": "a@example.com", "properties": {"dob": 99999999999999}}',
        b'{"email": "a@example.com", "properties": {"dob": -99999999999999}}',
        b'{"email": "a@example.com", "properties": {"dob": 1e400}}',
        b'{"email": "a@example.com", "properties": {"age": NaN}}',
        b'{"email": "a@example.com", "name": "\\ud800"}',
    ],
)
def test_what_no_answer_could_show_is_refused(onvoard: httpx.Client, body: bytes) -> None:
    assert onvoard.post("/v2/contacts", content=body).status_code == 400
    assert onvoard.get("/v2/contacts").json()["results"] == []


@pytest.mark.parametrize(("today", "age", "days"), [("06-29", 24, 1), ("06-30", 25, 0), ("07-01", 25, 364)])
def test_birthdays(sandbox: Sandbox, onvoard: httpx.Client, today: str, age: int, days: int) -> None:
    sandbox.clock.set(datetime.fromisoformat(f"2025-{today}T12:00:00+00:00"))
    born = int(datetime(2000, 6, 30, tzinfo=UTC).timestamp())
    shown = create(onvoard, email="a@example.com", properties={"dob": born})["properties"]
    assert (shown["age"], shown["days_until_next_birthday"]) == (age, days)
