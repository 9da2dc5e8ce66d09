"""Digital Onboarding's payloads, both ways; pure. Section names in docstrings are those of its API document."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from service.errors import RuleBroken
from service.platforms.digital_onboarding.models import Contact, Journey, Objective, Template
from service.platforms.payload import PLAIN, Columns, Fields, Refused, identity, iso, plain_key, refusal, sendable

T = TypeVar("T")

TEXT_FIELDS = (
    *("unique_id", "name_title", "name_first", "name_last", "name_suffix", "address", "address2", "city", "state"),
    *("county", "country", "post_code", "timezone", "email", "phone_home", "phone_mobile", "phone_work"),
)
_TEXTS = Columns(*TEXT_FIELDS)
FLAG_FIELDS = ("unsubscribe_email", "unsubscribe_sms")
READ_ONLY_FIELDS = ("id", "inserted_at", "updated_at")
JOURNEY_KEYS = ("journey", "journey.template_id")
DOCUMENTED = frozenset((*TEXT_FIELDS, *FLAG_FIELDS, *READ_ONLY_FIELDS, *JOURNEY_KEYS, "meta_public"))
_TYPES: dict[str, type] = {
    **dict.fromkeys(TEXT_FIELDS, str),
    **dict.fromkeys(FLAG_FIELDS, bool),
    **dict.fromkeys(("meta_public", "journey"), dict),
}


class JourneyForm(StrEnum):
    """How a contact names the template of its journey: the document writes `journey.template_id`, which has two
    readings."""

    NESTED = "nested"  # {"journey": {"template_id": ...}}
    DOTTED = "dotted"  # {"journey.template_id": ...}


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list answer: the good items, the refused ones, and the surprises by name with their counts."""

    items: list[T]
    refused: list[Refused]
    surprises: dict[str, int]
    server_time: datetime


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What a batch came to. `server_time` is the answer's Date; `sent_at` and `received_at` are by the local clock;
    all aware.

    Order and completeness are not stated by the document: match by `unique_id`.
    """

    new: list[Contact]
    existing: list[Contact]
    refused: list[Refused]
    surprises: dict[str, int]
    sent_at: datetime
    received_at: datetime
    server_time: datetime

    @property
    def asked_at(self) -> datetime:
        """When the platform got the request, by its own clock. `Date` knows whole seconds only: a smaller difference
        between the clocks cannot be seen, and is taken for none."""
        ahead = self.server_time - self.received_at
        return self.sent_at if abs(ahead) < timedelta(seconds=2) else self.sent_at + ahead


def read_contact(payload: dict[str, Any], surprises: Counter[str]) -> Contact:
    f = Fields("contact", payload, surprises)
    has_extras = not DOCUMENTED.issuperset(payload)
    (
        unique_id, name_title, name_first, name_last, name_suffix, address, address2, city, state, county, country,
        post_code, timezone, email, phone_home, phone_mobile, phone_work,
    ) = f.texts_under(_TEXTS)  # fmt: skip
    return Contact(
        id=identity(payload, "id") or "",
        unique_id=unique_id,
        name_title=name_title,
        name_first=name_first,
        name_last=name_last,
        name_suffix=name_suffix,
        address=address,
        address2=address2,
        city=city,
        state=state,
        county=county,
        country=country,
        post_code=post_code,
        timezone=timezone,
        email=email,
        phone_home=phone_home,
        phone_mobile=phone_mobile,
        phone_work=phone_work,
        unsubscribe_email=f.flag("unsubscribe_email"),
        unsubscribe_sms=f.flag("unsubscribe_sms"),
        meta_public=f.mapping("meta_public"),
        inserted_at=f.moment("inserted_at"),
        updated_at=f.moment("updated_at"),
        extras={key: value for key, value in payload.items() if key not in DOCUMENTED} if has_extras else {},
        raw=payload,
    )


def read_template(payload: dict[str, Any], surprises: Counter[str]) -> Template:
    fields = Fields("template", payload, surprises)
    return Template(id=identity(payload, "id") or "", name=fields.text("name"), raw=payload)


def read_objective(payload: dict[str, Any], surprises: Counter[str]) -> Objective:
    fields = Fields("objective", payload, surprises)
    return Objective(
        id=identity(payload, "id") or "",
        key=fields.text("key"),
        name=fields.text("name"),
        team_id=fields.text("team_id"),
        raw=payload,
    )


def read_journey(payload: dict[str, Any], surprises: Counter[str]) -> Journey:
    fields = Fields("journey", payload, surprises)
    return Journey(
        id=identity(payload, "id") or "",
        slug=fields.text("slug"),
        web_client_url=fields.text("web_client_url"),
        raw=payload,
    )


def parse_many(
    kind: str, records: Iterable[object], read: Callable[[dict[str, Any], Counter[str]], T]
) -> tuple[list[T], list[Refused], dict[str, int]]:
    """Records of one kind -> (good ones, refused ones, surprises). Only a record without an `id` is refused."""
    surprises: Counter[str] = Counter()
    good: list[T] = []
    refused: list[Refused] = []
    for position, record in enumerate(records):
        if isinstance(record, dict) and identity(record, "id"):
            good.append(read(record, surprises))
        else:
            refused.append(refusal(kind, record, "id", position))
    return good, refused, dict(surprises)


def record_fault(data: object) -> str | None:
    """What is wrong with an answer that should be one record; None where nothing is."""
    return None if identity(data, "id") else "an answer without an id"


def batch_fault(data: object) -> str | None:
    """What is wrong with a batch answer ("Create or Update a Batch"). One of its two lists may be left out, not
    both."""
    if not isinstance(data, dict) or not ("new_contacts" in data or "existing_contacts" in data):
        return "neither new_contacts nor existing_contacts"
    lists = (data.get("new_contacts"), data.get("existing_contacts"))
    return None if all(value is None or isinstance(value, list) for value in lists) else "contacts that are no list"


def listing_fault(key: str) -> Callable[[object], str | None]:
    """For an answer that should be `{key: [...]}`, or the bare list."""

    def fault(data: object) -> str | None:
        return None if isinstance(listed(data, key), list) else f"no list of {key}"

    return fault


def listed(data: object, key: str) -> Any:
    return data.get(key) if isinstance(data, dict) else data


def contact_body(
    contact: Mapping[str, Any], *, form: JourneyForm = JourneyForm.NESTED, objectives: Collection[str] | None = None
) -> dict[str, Any]:
    """One contact as it is sent: the fields that are given, and no others.

    Datetimes (of objective keys, or in `meta_public`) go as ISO 8601. `objectives`, where given, are the keys that
    may stand beside the documented fields: a misspelt field name would silently be taken for an objective ("Objective
    Completion").

    RuleBroken: a read-only field ("These fields are controlled by our system"), no `unique_id` ("Unique IDs": each
    such call may make another contact), an unknown key, a documented field of the wrong type, or `contacts`, which
    would make the body a batch.
    """
    body = {key: value if type(value) in PLAIN else _sendable(value, key) for key, value in contact.items()}
    read_only = [key for key in READ_ONLY_FIELDS if key in body]
    if read_only:
        raise RuleBroken(f"Digital Onboarding: {', '.join(read_only)} cannot be written")
    if not isinstance(body.get("unique_id"), str) or not body["unique_id"].strip():
        raise RuleBroken("Digital Onboarding: every contact is sent with its unique_id")
    if "contacts" in body:
        raise RuleBroken("Digital Onboarding: contacts makes a batch of a contact (Create or Update a Batch)")
    for key, value in body.items():
        if type(value) is not _TYPES.get(key):
            _check_type(key, value, objectives)
    return _with_journey(body, form)


def batch_body(
    contacts: Sequence[Mapping[str, Any]],
    *,
    form: JourneyForm = JourneyForm.NESTED,
    objectives: Collection[str] | None = None,
) -> dict[str, Any]:
    """`{"contacts": [...]}` ("Create or Update a Batch"). RuleBroken as `contact_body`; also for an empty batch, and
    for one that holds a `unique_id` twice, since the document does not say which of the two would win."""
    if not contacts:
        raise RuleBroken("Digital Onboarding: a batch needs at least one contact")
    bodies = [contact_body(contact, form=form, objectives=objectives) for contact in contacts]
    if len({body["unique_id"] for body in bodies}) < len(bodies):
        raise RuleBroken("Digital Onboarding: a batch must not hold the same unique_id twice")
    return {"contacts": bodies}


def journey_body(
    contact: Mapping[str, Any], name: str | None, owner_id: str | None, objectives: Collection[str] | None
) -> dict[str, Any]:
    """A journey for one contact ("Create a Journey from a Template"). None is not sent. RuleBroken as `contact_body`;
    also for a contact that would start another journey."""
    if starts_journey(contact):
        raise RuleBroken("Digital Onboarding: a contact inside a journey must not ask for another one")
    body: dict[str, Any] = {"contact": contact_body(contact, objectives=objectives)}
    texts: dict[str, object] = {"name": name, "owner_id": owner_id}
    for key, value in texts.items():
        if value is not None and not (isinstance(value, str) and value.strip()):
            raise RuleBroken(f"Digital Onboarding: {key} must be text, or left out (Journeys)")
    return body | {key: value for key, value in texts.items() if value is not None}


def starts_journey(contact: Mapping[str, Any]) -> bool:
    """Whether sending this contact has an effect each time it is sent."""
    nested, dotted = JOURNEY_KEYS
    return contact.get(nested) is not None or contact.get(dotted) is not None


def _sendable(value: Any, what: str) -> Any:
    if isinstance(value, datetime):
        return iso(value, what)
    if isinstance(value, Mapping):
        return {str(key): _sendable(inner, what) for key, inner in value.items()}
    return sendable(value, what)


def _check_type(key: str, value: object, objectives: Collection[str] | None) -> None:
    if key not in DOCUMENTED:
        if objectives is not None and key not in objectives:
            raise RuleBroken(f"Digital Onboarding: {plain_key(key)} is neither a contact field nor a known objective")
        return
    wanted = _TYPES.get(key)
    if wanted is not None and value is not None and not isinstance(value, wanted):
        raise RuleBroken(f"Digital Onboarding: {key} must be a {wanted.__name__} (Contacts)")


def _with_journey(body: dict[str, Any], form: JourneyForm) -> dict[str, Any]:
    if body.keys().isdisjoint(JOURNEY_KEYS):
        return body
    nested, dotted = (body.pop(key, None) for key in JOURNEY_KEYS)
    template_id = dotted if nested is None else nested.get("template_id")
    if nested is None and dotted is None:
        return body
    if not isinstance(template_id, str) or not template_id:
        raise RuleBroken("Digital Onboarding: a journey in a contact needs its template_id (Contacts)")
    if form is JourneyForm.DOTTED:
        return body | {"journey.template_id": template_id}
    return body | {"journey": {"template_id": template_id}}


def verify_signature(
    secrets: Sequence[str],
    body: bytes,
    header: str,
    signed_template: str = "{t}.{body}",
    *,
    now: datetime,
    max_age: float = 300,
) -> bool:
    """Whether `x-signature: t=<epoch seconds>,s0=<hex>,s1=<hex>` is one of the secrets' HMAC-SHA256, made within
    `max_age` seconds of `now`. What exactly is signed is not publicly known: `signed_template` says it."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    made_at = next((value for name, _, value in parts if name == "t"), "")
    given = [value.lower().encode() for name, _, value in parts if name[:1] == "s" and name[1:].isdecimal()]
    if not (made_at.isascii() and made_at.isdecimal() and len(made_at) <= 12):
        return False
    if abs(now.timestamp() - int(made_at)) > max_age:
        return False
    signed = signed_template.encode().replace(b"{t}", made_at.encode()).replace(b"{body}", body)
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode() for secret in secrets if secret]
    matches = [
        hmac.compare_digest(mine, theirs) for mine in expected for theirs in given
    ]  # no early end: constant time
    return any(matches)
