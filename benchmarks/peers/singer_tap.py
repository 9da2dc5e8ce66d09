"""A Singer tap of the three lists, on the singer-sdk, for a target to read from its standard output.

    python -m benchmarks.peers.singer_tap --config FILE        {"base_url": ..., "api_key": ...}
"""

from __future__ import annotations

from typing import Any

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import APIKeyAuthenticator
from singer_sdk.pagination import BasePageNumberPaginator

PAGE = 100
TEXT, FLAG, TIME, REAL, WHOLE = th.StringType(), th.BooleanType(), th.DateTimeType(), th.NumberType(), th.IntegerType()
OBJECT, OBJECTS = th.ObjectType(additional_properties=True), th.ArrayType(th.ObjectType(additional_properties=True))
LISTS: dict[str, tuple[str, dict[str, Any]]] = {
    "onvoard_contacts": ("contacts", {
        **dict.fromkeys(("id", "name", "email", "phone", "email_double_optin_status"), TEXT),
        **dict.fromkeys((
            "accepts_marketing_emails", "suppressed", "email_sendable", "email_unsubscribed", "email_marked_as_spam",
            "email_hard_bounced", "email_double_opted_in",
        ), FLAG),
        **dict.fromkeys(("created_datetime", "modified_datetime", "suppressed_datetime"), TIME),
        **dict.fromkeys(("lists", "tags", "segments"), OBJECTS), "properties": OBJECT,
    }),
    "onvoard_reviews": ("reviews", {
        **dict.fromkeys(("id", "title", "content", "entity", "status", "reply_html"), TEXT),
        "rating": REAL, "is_verified": FLAG, "num_upvotes": WHOLE, "product": OBJECT, "reviewer": OBJECT,
        "created_datetime": TIME, "reply_datetime": TIME, "assets": OBJECTS,
    }),
    "onvoard_activities": ("contact-activities", {
        "id": TEXT, "contact": OBJECT, "type": TEXT, "datetime": TIME, "record_data": OBJECT,
    }),
}  # fmt: skip


class Pages(BasePageNumberPaginator):
    def has_more(self, response: Any) -> bool:
        return len(response.json()["results"]) == PAGE


class Records(RESTStream[int]):
    primary_keys = ("id",)
    records_jsonpath = "$.results[*]"

    @property
    def url_base(self) -> str:
        return str(self.config["base_url"])

    @property
    def authenticator(self) -> Any:
        return APIKeyAuthenticator(key="X-API-Key", value=self.config["api_key"])

    def get_new_paginator(self) -> Pages:
        return Pages(1)

    def get_url_params(self, context: Any, next_page_token: int | None) -> dict[str, Any]:
        return {"page": next_page_token or 1, "page_size": PAGE}

    def parse_response(self, response: Any) -> Any:
        """Not through a JSON path, which costs more than the rest."""
        return response.json()["results"]


class OnVoard(Tap):
    name = "tap-onvoard"
    config_jsonschema = th.PropertiesList(
        th.Property("base_url", TEXT, required=True), th.Property("api_key", TEXT, required=True)
    ).to_dict()

    def discover_streams(self) -> list[Records]:
        return [
            Records(self, table, _schema(fields), f"/v2/{path}") for table, (path, fields) in LISTS.items()
        ]


def _schema(fields: dict[str, Any]) -> dict[str, Any]:
    return th.PropertiesList(*(th.Property(key, kind) for key, kind in fields.items())).to_dict()


if __name__ == "__main__":
    OnVoard.cli()
