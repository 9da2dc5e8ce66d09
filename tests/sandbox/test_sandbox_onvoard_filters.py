"""Every filter that the OnVoard document names for a list call: it lets a fitting record through, and no other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from service.sandbox import Sandbox

# Path -> filter -> a value that fits the record which `shop` makes there, and one that does not.
# `{name}` stands for something of `shop`; times are before and after the year 2024, in which all of it happens.
EARLY, LATE = "1704067199", "1735689601"
FILTERS: dict[str, dict[str, tuple[str, str]]] = {
    "contacts": {
        "id": ("{contact}", "ct_none"),
        "email": ("ann@example.com", "ann"),
        "keyword": ("ann", "bob"),
        "accepts_marketing_emails": ("true", "false"),
        "suppressed": ("false", "true"),
        "email_sendable": ("true", "false"),
        "email_unsubscribed": ("false", "true"),
        "email_marked_as_spam": ("false", "true"),
        "email_hard_bounced": ("false", "true"),
        "list_ids": ("{list},ctlist_none", "ctlist_none"),
        "tag_ids": ("{tag},cttag_none", "cttag_none"),
        "segment_ids": ("{segment},ctseg_none", "ctseg_none"),
        "created_before": (LATE, EARLY),
        "created_after": (EARLY, LATE),
    },
    "contact-property-types": {
        "id": ("{contact_property}", "none"),
        "keyword": ("spent", "earned"),
        "field_type": ("NUMBER", "TEXT"),
        "value_type": ("NUMBER", "STRING"),
        "definition_type": ("CUSTOM", "PREDEFINED"),
    },
    "contact-activities": {
        "id": ("{activity}", "ctact_none"),
        "contact_id": ("{contact}", "ct_none"),
        "contact_email": ("ann@example.com", "bob@example.com"),
        "keyword": ("w-1", "w-2"),
        "activity_types": ("email_opened,custom.wish", "email_opened"),
        "before": (LATE, EARLY),
        "after": (EARLY, LATE),
    },
    "contact-activity-types": {
        "id": ("{activity_type}", "catype_none"),
        "keyword": ("wish", "charge"),
        "resource_type": ("CUSTOM", "ONVOARD"),
        "accessor": ("custom.wish", "wish"),
    },
    "resources": {
        "id": ("{wish}", "resrc_none"),
        "keyword": ("wish", "charge"),
        "type": ("CUSTOM", "EXTERNAL"),
        "kind": ("ACTIVITY", "OBJECT"),
        "accessor": ("custom.wish", "wish"),
    },
    "resource-property-types": {
        "id": ("{resource_property}", "none"),
        "resource_id": ("{wish}", "{shelf}"),
        "resource_accessor": ("custom.wish", "custom.shelf"),
        "keyword": ("name", "price"),
        "field_type": ("TEXT", "EMAIL"),
        "value_type": ("STRING", "NUMBER"),
    },
    "resource-records": {
        "id": ("{record}", "rsrcd_none"),
        "resource_id": ("{shelf}", "{wish}"),
        "resource_accessor": ("custom.shelf", "custom.wish"),
        "keyword": ("toys", "books"),
        "context_id": ("s-1", "s-2"),
        "prop_key=name&prop_value": ("Toys", "toys"),
        "created_before": (LATE, EARLY),
        "created_after": (EARLY, LATE),
    },
    "reviews": {
        "id": ("{review}", "rvw_none"),
        "keyword": ("splendid", "dreadful"),
        "entity": ("PRODUCT", "SITE"),
        "status": ("PUBLISHED", "PENDING"),
        "product_id": ("{product}", "prd_none"),
        "product_external_id": ("63", "64"),
        "product_group_id": ("g1", "g2"),
        "reviewer_email": ("ann@example.com", "bob@example.com"),
        "created_before": (LATE, EARLY),
        "created_after": (EARLY, LATE),
    },
    "product-reviews-summaries": {
        "product_id": ("{product}", "prd_none"),
        "product_external_id": ("63", "64"),
        "product_group_id": ("g1", "g2"),
    },
    "webhooks": {
        "id": ("{webhook}", "wh_none"),
        "keyword": ("hook", "line"),
        "active": ("true", "false"),
        "event_types": ("contact.saved,review.created", "contact.created"),
    },
}
RECORD = {
    "contacts": "contact",
    "contact-property-types": "contact_property",
    "contact-activities": "activity",
    "contact-activity-types": "activity_type",
    "resources": "wish",
    "resource-property-types": "resource_property",
    "resource-records": "record",
    "reviews": "review",
    "product-reviews-summaries": "product",
    "webhooks": "webhook",
}


@pytest.fixture
def shop(sandbox: Sandbox, onvoard: httpx.Client) -> dict[str, str]:
    """One record of each kind, made in the summer of 2024: name -> id."""
    state = sandbox.onvoard
    sandbox.clock.set(datetime(2024, 7, 1, tzinfo=UTC))

    def post(path: str, **fields: Any) -> str:
        answer = onvoard.post(f"/v2/{path}", json=fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def resource(key: str, kind: str) -> tuple[str, str]:
        made = post("resources", key=key, name=key, kind=kind, icon_type="NATIVE", icon_class="add")
        fields = {"key": "name", "label": "Name", "value_type": "STRING", "field_type": "TEXT"}
        return made, post("resource-property-types", resource=made, **fields)

    found = {"list": state.add_list("News"), "product": state.add_product("63", "Wallet", "g1")}
    fields = {"accepts_marketing_emails": True, "lists": [found["list"]], "tags": ["Gold"]}
    found["contact"] = post("contacts", email="ann@example.com", name="Ann", **fields)
    shown = state.contact(found["contact"])
    found["tag"], found["segment"] = shown["tags"][0]["id"], shown["segments"][0]["id"]
    spent = {"key": "spent", "label": "Spent", "value_type": "NUMBER", "field_type": "NUMBER"}
    found["contact_property"] = post("contact-property-types", **spent)
    (found["wish"], found["resource_property"]), (found["shelf"], _) = (
        resource("wish", "ACTIVITY"),
        resource("shelf", "OBJECT"),
    )
    found["activity_type"] = post("contact-activity-types", resource=found["wish"])
    activity = {"contact_id": found["contact"], "type": "custom.wish", "record_data": {"name": "w-1"}}
    found["activity"] = post("contact-activities", **activity)
    found["record"] = post("resource-records", resource=found["shelf"], context_id="s-1", data={"name": "Toys"})
    review = {"content": "Splendid", "rating": 5, "entity": "PRODUCT", "status": "PUBLISHED"}
    who = {"reviewer_email": "ann@example.com", "reviewer_display_name": "Ann"}
    found["review"] = post("reviews", product_external_id="63", **review, **who)
    found["webhook"] = post("webhooks", url="https://example.com/hook", event_types=["contact.saved"], active=True)
    return found


@pytest.mark.parametrize("path", FILTERS)
def test_every_documented_filter_narrows_its_list(onvoard: httpx.Client, shop: dict[str, str], path: str) -> None:
    wanted = shop[RECORD[path]]

    def passes(name: str, value: str) -> bool:
        answer = onvoard.get(f"/v2/{path}?page_size=100&{name}={value.format(**shop)}")
        assert answer.status_code == 200, answer.text
        return wanted in {each.get("id") or each["product_id"] for each in answer.json()["results"]}

    assert [name for name, (fits, _) in FILTERS[path].items() if not passes(name, fits)] == []
    assert [name for name, (_, fits_not) in FILTERS[path].items() if passes(name, fits_not)] == []
