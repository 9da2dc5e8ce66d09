"""OnVoard's answers as models, its paging, filters and webhook signature; pure. Requests' bodies are in `rules`."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from service.platforms.onvoard.arguments import broken, checked
from service.platforms.onvoard.kinds import Kind
from service.platforms.payload import Fields, Refused, epoch, identity, refusal

API_KEY_HEADER = "X-API-Key"
SIGNATURE_HEADER = "X-Hub-Signature"
PAGE_SIZES = range(1, 101)  # "Pagination"
DEFAULT_PAGE_SIZE = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. `page` and `page_size` are as the platform echoes them, else as asked for.

    `surprises`: what the document does not describe, by name, with counts. `server_time`: aware, the answer's Date.
    """

    items: list[T]
    page: int
    page_size: int
    surprises: dict[str, int]
    refused: list[Refused]
    server_time: datetime

    @property
    def returned(self) -> int:
        """How many records the platform sent, refused ones included."""
        return len(self.items) + len(self.refused)


def is_last(page: Page[Any], requested_size: int) -> bool:
    """Whether nothing follows. There is no total: a page shorter than its own size is the last ("Pagination").

    The echoed size counts, where it is smaller: a platform that caps the size sends full pages that look short.
    """
    return page.returned < min(requested_size, page.page_size)


def page_fault(data: object) -> str | None:
    """What is wrong with an answer that should be a page; None where nothing is."""
    results = data.get("results") if isinstance(data, dict) else None
    return None if isinstance(results, list) else "no list of results"


def nobody_fault(kind: Kind[Any]) -> Callable[[object], str | None]:
    """As `page_fault`; and a page of which no record has an id is no page of these records at all."""

    def fault(data: object) -> str | None:
        wrong = page_fault(data)
        if wrong or not isinstance(data, dict) or not data["results"]:
            return wrong
        known = any(identity(record, kind.id_key) for record in data["results"])
        return None if known else f"not one {kind.name} with {kind.id_key}"

    return fault


def record_fault(kind: Kind[Any]) -> Callable[[object], str | None]:
    """The same for an answer that should be one record of this kind."""
    return lambda data: None if identity(data, kind.id_key) else f"a {kind.name} without {kind.id_key}"


def parse_page(kind: Kind[T], data: dict[str, Any], page: int, page_size: int, server_time: datetime) -> Page[T]:
    """An answer that `page_fault` finds nothing wrong with. Only a record without an id is refused."""
    surprises: Counter[str] = Counter()
    items: list[T] = []
    refused: list[Refused] = []
    for position, record in enumerate(data["results"]):
        if isinstance(record, dict) and identity(record, kind.id_key):
            items.append(kind.parse(record, surprises))
        else:
            refused.append(refusal(kind.name, record, kind.id_key, position))
    envelope = Fields("page", data, surprises)
    echoed_page, echoed_size = envelope.integer("current_page"), envelope.integer("page_size")
    size = echoed_size if echoed_size and echoed_size > 0 else page_size
    return Page(items, echoed_page or page, size, dict(surprises), refused, server_time)


def empty_page(page: int, page_size: int, server_time: datetime) -> Page[Any]:
    return Page([], page, page_size, {}, [], server_time)


def page_params(page: int, page_size: int) -> dict[str, str]:
    """RuleBroken: pages start at 1, sizes run from 1 to 100 ("Pagination")."""
    if type(page) is not int or page < 1:
        raise broken("pages start at 1", "Pagination")
    if type(page_size) is not int or page_size not in PAGE_SIZES:
        raise broken("page_size must be from 1 to 100", "Pagination")
    return {"page": str(page), "page_size": str(page_size)}


def filters(**given: Any) -> dict[str, str]:
    """Query parameters of the filters that are not None.

    Booleans as `true`/`false`, lists comma-joined, aware datetimes as whole epoch seconds: `*before` rounded up,
    others down, so that rounding never loses a record. RuleBroken as `arguments.checked`; also for a naive datetime,
    for an empty filter, which would let everything through, and for a comma within a list's entry.
    """
    asked = {key: value for key, value in given.items() if value is not None}
    return {key: _parameter(key, value) for key, value in checked("List, Arguments", **asked).items()}


def _parameter(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        seconds = epoch(value, key)
        return str(seconds + 1 if value.microsecond and key.endswith("before") else seconds)
    parts = value if isinstance(value, list) else [value]
    if not parts or not all(part.strip() for part in parts):
        raise broken(f"an empty {key} filters nothing; leave it out", "List, Arguments")
    if isinstance(value, list) and any("," in part for part in parts):
        raise broken(f"{key} is comma-separated; no entry can hold a comma", "List, Arguments")
    return ",".join(parts)


def verify_signature(secret: str, body: bytes, header: str) -> bool:
    """Whether `X-Hub-Signature: sha1=<hex>` is this secret's HMAC-SHA1 of the raw body, compared in constant time.

    Nothing signed says when: replays are for the event's id to find ("Create Webhook", `secret`). An empty secret
    never matches.
    """
    expected = "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
    return bool(secret) and hmac.compare_digest(expected.encode(), header.strip().lower().encode())
