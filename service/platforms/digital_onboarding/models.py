"""What Digital Onboarding's answers say, as values. Fields are named as the platform names them; times are aware, in
UTC.

None is null, missing or of an unusable type; `raw`, the untouched payload, tells these apart. `repr` shows the id
alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.platforms.payload import model


class _Quiet:
    """A repr without personal data."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'id', '')}>"


@model
class Contact(_Quiet):
    """`extras` holds the top-level keys that are no documented field, such as objective keys with their completion
    times."""

    id: str
    unique_id: str | None
    name_title: str | None
    name_first: str | None
    name_last: str | None
    name_suffix: str | None
    address: str | None
    address2: str | None
    city: str | None
    state: str | None
    county: str | None
    country: str | None
    post_code: str | None
    timezone: str | None
    email: str | None
    phone_home: str | None
    phone_mobile: str | None
    phone_work: str | None
    unsubscribe_email: bool | None
    unsubscribe_sms: bool | None
    meta_public: dict[str, Any] | None
    inserted_at: datetime | None
    updated_at: datetime | None
    extras: dict[str, Any]
    raw: dict[str, Any]


@model
class Template(_Quiet):
    id: str
    name: str | None
    raw: dict[str, Any]


@model
class Objective(_Quiet):
    """`key` is what completes it in a contact; `team_id` is None for a global one."""

    id: str
    key: str | None
    name: str | None
    team_id: str | None
    raw: dict[str, Any]


@model
class Journey(_Quiet):
    """`web_client_url` opens the contact's journey without a login: as personal as the contact."""

    id: str
    slug: str | None
    web_client_url: str | None
    raw: dict[str, Any]
