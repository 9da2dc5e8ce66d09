"""Property types, resources, activities and records of the emulated OnVoard."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.sandbox import Sandbox

RESERVED = {"activity_id", "activity_datetime", "contact_id", "contact_email"}


def post(client: httpx.Client, path: str, **fields: Any) -> dict[str, Any]:
    response = client.post(f"/v2/{path}", json=fields)
    assert response.status_code == 201, response.text
    shown: dict[str, Any] = response.json()
    return shown


def refused(client: httpx.Client, path: str, **fields: Any) -> bool:
    return client.post(f"/v2/{path}", json=fields).status_code == 400


@pytest.fixture
def charge(onvoard: httpx.Client) -> dict[str, Any]:
    """The tutorial's activity: a resource with an amount, and its activity type."""
    resource = post(
        onvoard, "resources", key="charge", name="Charge", kind="ACTIVITY", icon_type="NATIVE", icon_class="add"
    )
    post(onvoard, "resource-property-types", resource=resource["id"], key="amount", label="A", value_type="NUMBER")
    kind = post(onvoard, "contact-activity-types", resource=resource["id"], descriptor_template="{{ amount }}")
    return {"resource": resource, "type": kind}


def test_a_contact_property_gets_the_prefix_and_a_float(onvoard: httpx.Client) -> None:
    made = post(onvoard, "contact-property-types", key="spent", label="Spent", value_type="NUMBER")
    assert (made["key"], made["definition_type"], made["field_type"]) == ("custom_spent", "CUSTOM", "")
    contact = post(onvoard, "contacts", email="a@example.com", properties={"custom_spent": 1500})
    assert isinstance(contact["properties"]["custom_spent"], float)
    assert refused(onvoard, "contacts", email="b@example.com", properties={"spent": 1})
    path = f"/v2/contact-property-types/{made['id']}"
    assert onvoard.patch(path, json={"label": "Total"}).json()["label"] == "Total"
    assert onvoard.patch(path, json={"key": "other"}).status_code == 400
    assert onvoard.delete(path).json() == {}
    assert "custom_spent" not in onvoard.get(f"/v2/contacts/{contact['id']}").json()["properties"]


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "Bad-Key", "value_type": "STRING"},
        {"key": "a", "value_type": "OBJECT"},
        {"key": "a", "value_type": "TEXT"},
        {"key": "a", "value_type": "NUMBER", "field_type": "EMAIL"},
        {"key": "a", "value_type": "STRING", "label": ""},
    ],
)
def test_bad_property_types_are_refused(onvoard: httpx.Client, fields: dict[str, Any]) -> None:
    assert refused(onvoard, "contact-property-types", **{"label": "A", **fields})


def test_predefined_property_types_are_listed_and_stay(onvoard: httpx.Client) -> None:
    query: dict[str, Any] = {"definition_type": "PREDEFINED", "page_size": 100}
    found = {each["key"]: each for each in onvoard.get("/v2/contact-property-types", params=query).json()["results"]}
    assert {"first_name", "country", "timezone", "dob", "is_from_eu"} <= found.keys()
    assert found["country"]["field_type"] == "COUNTRY"
    path = f"/v2/contact-property-types/{found['city']['id']}"
    assert onvoard.delete(path).status_code == onvoard.patch(path, json={"label": "Town"}).status_code == 400
    assert onvoard.get("/v2/contact-property-types", params={"keyword": "postal"}).json()["results"][0]["key"]


@pytest.mark.parametrize(
    ("field_type", "sent", "stored"),
    [
        ("PHONE", "+1 (415) 555-0101", "+14155550101"),
        ("URL", "Example.com/A", "http://example.com/A"),
        ("CURRENCY", "EUR", "EUR"),
        ("PHONE", "x", None),
        ("URL", "no url", None),
        ("EMAIL", "nobody", None),
        ("CURRENCY", "EURO", None),
    ],
)
def test_field_types_validate_and_reformat(
    onvoard: httpx.Client, field_type: str, sent: str, stored: str | None
) -> None:
    post(onvoard, "contact-property-types", key="v", label="V", value_type="STRING", field_type=field_type)
    response = onvoard.post("/v2/contacts", json={"email": "a@example.com", "properties": {"custom_v": sent}})
    assert response.json().get("properties", {}).get("custom_v") == stored
    assert response.status_code == (400 if stored is None else 201)


def test_a_resource_of_kind_activity_brings_four_property_types(onvoard: httpx.Client, charge: dict[str, Any]) -> None:
    resource = charge["resource"]
    assert (resource["accessor"], resource["type"], resource["icon_media"]) == ("custom.charge", "CUSTOM", None)
    query = {"resource_accessor": "custom.charge"}
    keys = {each["key"] for each in onvoard.get("/v2/resource-property-types", params=query).json()["results"]}
    assert keys == RESERVED | {"amount"}


def test_rules_of_resources(onvoard: httpx.Client, charge: dict[str, Any]) -> None:
    base = {"key": "thing", "name": "Thing", "kind": "OBJECT", "icon_type": "NATIVE", "icon_class": "add"}
    assert refused(onvoard, "resources", **{**base, "icon_class": ""})
    assert refused(onvoard, "resources", **{**base, "icon_type": "UPLOADED"})
    assert refused(onvoard, "resources", **{**base, "key": "charge"})
    made = post(onvoard, "resources", **{**base, "icon_type": "UPLOADED", "icon_url": "https://example.com/i.png"})
    assert made["icon_media"]["id"].startswith("file_")
    path = f"/v2/resources/{made['id']}"
    assert onvoard.patch(path, json={"helper_text": "Help"}).json()["helper_text"] == "Help"
    assert onvoard.patch(path, json={"kind": "ACTIVITY"}).status_code == 400
    assert onvoard.delete(path).status_code == 405
    native = onvoard.get("/v2/resources", params={"accessor": "email_opened"}).json()["results"][0]
    assert (native["type"], native["namespace"]) == ("ONVOARD", "")
    assert onvoard.patch(f"/v2/resources/{native['id']}", json={"name": "x"}).status_code == 400
    assert refused(onvoard, "resource-property-types", resource=native["id"], key="x", label="X", value_type="STRING")
    kinds = onvoard.get("/v2/resources", params={"type": "CUSTOM", "kind": "OBJECT"}).json()["results"]
    assert [each["id"] for each in kinds] == [made["id"]]


def test_activity_types_are_one_to_one_and_filtered_by_resource_type(
    onvoard: httpx.Client, charge: dict[str, Any]
) -> None:
    assert refused(onvoard, "contact-activity-types", resource=charge["resource"]["id"])
    found = onvoard.get("/v2/contact-activity-types", params={"resource_type": "CUSTOM"}).json()["results"]
    assert [each["id"] for each in found] == [charge["type"]["id"]]
    native = onvoard.get("/v2/contact-activity-types", params={"accessor": "order_placed"}).json()["results"][0]
    assert onvoard.delete(f"/v2/contact-activity-types/{native['id']}").status_code == 400
    path = f"/v2/contact-activity-types/{charge['type']['id']}"
    assert onvoard.patch(path, json={"descriptor_template": ""}).json()["descriptor_template"] == ""


def test_an_activity_is_augmented_and_keeps_its_time(onvoard: httpx.Client, charge: dict[str, Any]) -> None:
    contact = post(onvoard, "contacts", email="a@example.com")
    made = post(
        onvoard,
        "contact-activities",
        contact_id=contact["id"],
        type="custom.charge",
        timestamp=1640982354,
        record_data={"amount": 79},
    )
    assert made["datetime"] == "2021-12-31T20:25:54Z"
    assert made["record_data"] == {
        "amount": 79.0,
        "contact_id": contact["id"],
        "activity_id": made["id"],
        "contact_email": "a@example.com",
        "activity_datetime": 1640982354,
    }
    assert onvoard.get(f"/v2/contact-activities/{made['id']}").json() == made
    assert onvoard.delete(f"/v2/contact-activities/{made['id']}").status_code == 405
    assert onvoard.delete(f"/v2/contact-activity/{made['id']}").json() == {}
    assert onvoard.get(f"/v2/contact-activities/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"record_data": {"contact_id": "x"}},
        {"record_data": {"amount": "79"}},
        {"record_data": {"colour": "red"}},
        {"type": "order_placed"},
        {"type": "catype_x"},
        {"timestamp": "2021-12-31"},
        {"contact_id": "ct_unknown"},
        {"contact_email": None},
    ],
)
def test_bad_activities_are_refused_and_add_no_contact(
    sandbox: Sandbox, onvoard: httpx.Client, charge: dict[str, Any], change: dict[str, Any]
) -> None:
    assert refused(
        onvoard, "contact-activities", **{"contact_email": "new@example.com", "type": "custom.charge", **change}
    )
    assert sandbox.onvoard.contact_list() == []


def test_an_unknown_email_adds_a_contact_and_a_suppressed_one_is_refused(
    sandbox: Sandbox, onvoard: httpx.Client, charge: dict[str, Any]
) -> None:
    made = post(onvoard, "contact-activities", contact_email="New@example.com", type="custom.charge")
    assert sandbox.onvoard.contact("new@example.com")["id"] == made["contact"]["id"]
    sandbox.onvoard.suppress("new@example.com")
    assert sandbox.onvoard.activity_list() == []
    assert refused(onvoard, "contact-activities", contact_email="new@example.com", type="custom.charge")
    assert refused(onvoard, "contact-activities", contact_id=made["contact"]["id"], type="custom.charge")


def test_activities_are_filtered_and_natives_stay(
    sandbox: Sandbox, onvoard: httpx.Client, charge: dict[str, Any]
) -> None:
    for email in ("a@example.com", "b@example.com"):
        sandbox.onvoard.add_contact(email)
        for timestamp in (1000, 2000):
            post(onvoard, "contact-activities", contact_email=email, type="custom.charge", timestamp=timestamp)
    native = sandbox.onvoard.add_activity("a@example.com", "email_opened", email_id="em_1")

    def times(**query: Any) -> list[int]:
        results = onvoard.get("/v2/contact-activities", params=query).json()["results"]
        return [each["record_data"]["activity_datetime"] for each in results]

    assert times(activity_types="custom.charge", contact_email="B@example.com") == [2000, 1000]
    assert times(before=2000) == [1000, 1000] and times(after=1000, before=3000) == [2000, 2000]
    assert times(keyword="em_1") == times(activity_types="email_opened,order_placed") != []
    assert len(times(contact_id=native["contact"]["id"])) == 3
    assert onvoard.delete(f"/v2/contact-activity/{native['id']}").status_code == 400


def test_deleting_an_activity_type_purges_its_activities(
    sandbox: Sandbox, onvoard: httpx.Client, charge: dict[str, Any]
) -> None:
    post(onvoard, "contact-activities", contact_email="a@example.com", type="custom.charge")
    assert onvoard.delete(f"/v2/contact-activity-types/{charge['type']['id']}").json() == {}
    assert sandbox.onvoard.activity_list() == []
    assert refused(onvoard, "contact-activities", contact_email="a@example.com", type="custom.charge")


def test_records_only_for_custom_objects(onvoard: httpx.Client, charge: dict[str, Any]) -> None:
    assert refused(onvoard, "resource-records", resource=charge["resource"]["id"], context_id="1")
    wish = post(onvoard, "resources", key="wish", name="Wish", kind="OBJECT", icon_type="NATIVE", icon_class="add")
    for key in ("name", "shop"):
        post(onvoard, "resource-property-types", resource=wish["id"], key=key, label=key, value_type="STRING")
    made = post(onvoard, "resource-records", resource=wish["id"], context_id="wl_1", data={"name": "Toys", "shop": "A"})
    assert made["resource_accessor"] == "custom.wish"
    assert refused(onvoard, "resource-records", resource=wish["id"], context_id="wl_1")
    assert refused(onvoard, "resource-records", resource=wish["id"], context_id="wl_2", data={"size": "1"})
    path = f"/v2/resource-records/{made['id']}"
    assert onvoard.patch(path, json={"data": {"name": "Games"}}).json()["data"] == {"name": "Games", "shop": "A"}

    def found(**query: Any) -> int:
        return len(onvoard.get("/v2/resource-records", params=query).json()["results"])

    assert found(prop_key="shop", prop_value="A") == found(context_id="wl_1") == 1
    assert found(prop_key="shop", prop_value="B") == found(resource_accessor="custom.charge") == 0
    assert onvoard.get("/v2/resource-records", params={"prop_key": "shop"}).status_code == 400
    assert onvoard.delete(path).json() == {} and onvoard.get(path).status_code == 404


def test_records_are_found_by_numbers_and_flags(onvoard: httpx.Client) -> None:
    wish = post(onvoard, "resources", key="wish", name="Wish", kind="OBJECT", icon_type="NATIVE", icon_class="add")
    for key, value_type in (("price", "NUMBER"), ("sold", "BOOLEAN"), ("note", "STRING")):
        post(onvoard, "resource-property-types", resource=wish["id"], key=key, label=key, value_type=value_type)
    post(onvoard, "resource-records", resource=wish["id"], context_id="1", data={"price": 79, "sold": False})

    def found(key: str, value: str) -> int:
        query = {"prop_key": key, "prop_value": value}
        return len(onvoard.get("/v2/resource-records", params=query).json()["results"])

    assert found("price", "79") == found("price", "79.0") == found("sold", "false") == 1
    assert found("price", "7") == found("sold", "true") == found("note", "None") == 0
