"""What both platforms answer: the calls that a bridge makes of them, and a refusal of any other. The sandbox is the
emulation that obeys every rule; this one is fast, and only strict enough that a wrong client notices."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson

from benchmarks import records
from benchmarks.world import List

API_KEY = "benchmark"
CLIENT = ("benchmark", "benchmark")
TOKEN = "benchmark-token"

PAGE_SIZE, LARGEST_PAGE = 10, 100
SHORT = frozenset(
    f"/v2/{name}"
    for name in (
        *("contact-property-types", "resources", "resource-property-types", "contact-activity-types", "webhooks"),
        *("resource-records", "product-reviews-summaries"),
    )
)
"""Lists that are empty in this world."""
TEXTS = (
    *("name_title", "name_first", "name_last", "name_suffix", "address", "address2", "city", "state", "county"),
    *("country", "post_code", "timezone", "email", "phone_home", "phone_mobile", "phone_work"),
)
_BLANK = dict.fromkeys(TEXTS) | {"unsubscribe_email": False, "unsubscribe_sms": False, "meta_public": {}}
_FIELDS = _BLANK.keys() | {"unique_id"}
_PERSON = re.compile(r"person\.(\d+)@example\.com")


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    authorization: str
    api_key: str
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            said = orjson.loads(self.body)
        except ValueError:
            raise Refused(400, "this is no JSON") from None
        if not isinstance(said, dict):
            raise Refused(400, "not an object")
        return said


@dataclass(slots=True)
class Answer:
    """`read` and `written`: how many records it showed, and how many it took."""

    status: int
    body: bytes
    read: int = 0
    written: int = 0


class Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.answer = Answer(status, orjson.dumps({"error": why}))


def query_of(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True))


class OnVoard:
    def __init__(self, world: Path) -> None:
        self.contacts, reviews, activities = (List(world / name) for name in ("contacts", "reviews", "activities"))
        self._rendered = len(self.contacts)
        self._lists = {
            "/v2/contacts": (self.contacts, "created_before", "created_after"),
            "/v2/reviews": (reviews, "created_before", "created_after"),
            "/v2/contact-activities": (activities, "before", "after"),
        }
        self.reset()

    def reset(self) -> None:
        for list_, *_ in self._lists.values():
            list_.reset()
        self._made: dict[str, int] = {}  # lower-case e-mail -> number, of the contacts that were created or readdressed

    def edit(self, number: int) -> None:
        """Somebody gives so many contacts, evenly spread, another phone."""
        for place in range(number):
            self._change(place * self._rendered // number, {"phone": f"+1646555{place % 10_000:04d}"})

    def answer(self, asked: Request) -> Answer:
        if asked.api_key != API_KEY:
            raise Refused(401, "Invalid API key.")
        if asked.method == "GET" and asked.path in self._lists:
            return self._page(asked)
        if asked.method == "GET" and asked.path in SHORT:
            return Answer(200, _envelope(*_page_of(asked.query), b""))
        if asked.method == "POST" and asked.path in ("/v2/contacts", "/v2/contacts/create-or-update"):
            return self._create(asked)
        if asked.path.startswith("/v2/contacts/"):
            number = self._number(asked.path.removeprefix("/v2/contacts/"))
            if asked.method == "GET":
                return Answer(200, self.contacts[number], read=1)
            if asked.method == "PATCH":
                return Answer(200, self._change(number, asked.json()), written=1)
        raise Refused(404, "Not found.")

    def _page(self, asked: Request) -> Answer:
        list_, before, after = self._lists[asked.path]
        number, size = _page_of(asked.query)
        if "email" in asked.query and asked.path == "/v2/contacts":
            found = self._having(asked.query["email"])
            shown = [] if found is None or number > 1 else [self.contacts[found]]
            return Answer(200, _envelope(number, size, b",".join(shown)), read=len(shown))
        if unknown := asked.query.keys() - {"page", "page_size", before, after}:
            raise Refused(400, f"Unknown parameter: {', '.join(sorted(unknown))}.")
        read, results = list_.page(number, size, _whole(asked.query, before), _whole(asked.query, after))
        return Answer(200, _envelope(number, size, results), read=read)

    def _number(self, contact_id: str) -> int:
        digits = contact_id.removeprefix("ct_")
        if len(digits) != 15 or not digits.isdecimal() or int(digits) >= len(self.contacts):
            raise Refused(404, "Not found.")
        return int(digits)

    def _having(self, email: str) -> int | None:
        address = email.strip().lower()
        if address in self._made:
            return self._made[address]
        found = _PERSON.fullmatch(address)
        return int(found[1]) if found and int(found[1]) < self._rendered else None

    def _create(self, asked: Request) -> Answer:
        said = asked.json()
        if not isinstance(said.get("email"), str):
            raise Refused(400, "email is required.")
        found = self._having(said["email"])
        if found is not None:
            if not asked.path.endswith("update"):
                raise Refused(400, "email is taken.")
            return Answer(200, self._change(found, said), written=1)
        number, now = len(self.contacts), datetime.now(UTC)
        blank = orjson.loads(self.contacts[0]) if self._rendered else {}
        times = {"created_datetime": records.iso(now), "modified_datetime": records.iso(now)}
        record = blank | {"id": records.contact_id(number), "name": "", "phone": "", "properties": {}} | times
        self.contacts.put_on_top(now, b"")
        self.contacts[number] = _changed(record, said)
        self._made[said["email"].strip().lower()] = number
        return Answer(200, self.contacts[number], written=1)

    def _change(self, number: int, said: dict[str, Any]) -> bytes:
        if read_only := said.keys() & {"id", "suppressed", "segments", "created_datetime", "modified_datetime"}:
            raise Refused(400, f"Read-only: {', '.join(sorted(read_only))}.")
        changed = _changed(orjson.loads(self.contacts[number]), said)
        self.contacts[number] = changed
        if "email" in said:
            self._made[said["email"].strip().lower()] = number
        return changed


def _changed(record: dict[str, Any], said: dict[str, Any]) -> bytes:
    properties = record["properties"] | said.get("properties", {})
    properties = {key: value for key, value in properties.items() if value is not None}
    return orjson.dumps(record | said | {"properties": properties, "modified_datetime": records.iso(datetime.now(UTC))})


def _page_of(query: dict[str, str]) -> tuple[int, int]:
    number, size = _whole(query, "page") or 1, _whole(query, "page_size") or PAGE_SIZE
    if number < 1 or not 1 <= size <= LARGEST_PAGE:
        raise Refused(400, "page must be 1 or more, page_size from 1 to 100.")
    return number, size


def _whole(query: dict[str, str], name: str) -> int | None:
    try:
        return int(query[name]) if name in query else None
    except ValueError:
        raise Refused(400, f"{name} must be an integer.") from None


def _envelope(number: int, size: int, results: bytes) -> bytes:
    return b'{"current_page":%d,"page_size":%d,"results":[%b]}' % (number, size, results)


class DigitalOnboarding:
    def __init__(self) -> None:
        self._basic = "Basic " + base64.b64encode(":".join(CLIENT).encode()).decode()
        self._calls: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("POST", "/v1/contacts"): self._upsert,
            ("GET", "/v1/templates"): lambda _: Answer(200, b'{"templates":[]}'),
            ("GET", "/v1/objectives"): lambda _: Answer(200, b'{"objectives":[]}'),
        }
        self.reset()

    def reset(self) -> None:
        self.contacts: dict[str, dict[str, Any]] = {}

    def answer(self, asked: Request) -> Answer:
        if (asked.method, asked.path) == ("POST", "/oauth2/token"):
            return self._grant(asked)
        if asked.authorization != f"Bearer {TOKEN}":
            raise Refused(401, "invalid_token")
        call = self._calls.get((asked.method, asked.path))
        if call is None:
            raise Refused(404, "not_found")
        return call(asked)

    def _grant(self, asked: Request) -> Answer:
        if asked.authorization != self._basic or asked.query:
            raise Refused(401, "invalid_client")
        if query_of(asked.body.decode()).get("grant_type") != "client_credentials":
            raise Refused(400, "unsupported_grant_type")
        return Answer(200, orjson.dumps({"access_token": TOKEN, "token_type": "bearer", "expires_in": 86_400}))

    def _upsert(self, asked: Request) -> Answer:
        said = asked.json()
        now = records.iso(datetime.now(UTC))
        if "contacts" not in said:
            shown, _ = self._one(said, now)
            return Answer(200, orjson.dumps(shown), written=1)
        new: list[dict[str, Any]] = []
        existing: list[dict[str, Any]] = []
        for each in said["contacts"]:
            shown, is_new = self._one(each, now)
            (new if is_new else existing).append(shown)
        body = orjson.dumps({"new_contacts": new, "existing_contacts": existing})
        return Answer(200, body, written=len(new) + len(existing))

    def _one(self, said: dict[str, Any], now: str) -> tuple[dict[str, Any], bool]:
        unique_id = said.get("unique_id")
        if not unique_id or not said.keys() <= _FIELDS:
            raise Refused(422, "no unique_id, or an unknown field")
        before = self.contacts.get(unique_id)
        if before is None:
            number = len(self.contacts)
            named = {"id": f"{number:08x}-0000-4000-8000-{number:012x}", "inserted_at": now, "updated_at": now}
            contact = self.contacts[unique_id] = _BLANK | said | named
            return contact, True
        contact = before | said
        if contact != before:
            contact["updated_at"] = now
            self.contacts[unique_id] = contact
        return contact, False
