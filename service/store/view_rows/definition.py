"""Which changes people's rows show, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.store.view_tables import people_rows

_NAMES = ", ".join(people_rows.c.keys())
RENEWED = f"INSERT INTO people_rows ({_NAMES})\nSELECT {_NAMES} FROM people_source WHERE person_id"
"""Is followed by whose."""

# A contact that was deleted and came back under a new id: what the old one wrote is still that person's.
OWNERS = """SELECT p.onvoard_contact_id, p.id FROM persons p WHERE p.onvoard_contact_id {among}
UNION ALL
SELECT f.former_onvoard_contact_id, MIN(f.id) FROM persons f WHERE f.former_onvoard_contact_id {among}
AND NOT EXISTS (SELECT 1 FROM persons p WHERE p.onvoard_contact_id = f.former_onvoard_contact_id)
GROUP BY f.former_onvoard_contact_id"""


@dataclass(frozen=True, slots=True)
class Source:
    """A table whose `shown` columns are seen in people's rows: in those of persons with its `key` in one of `whose`."""

    table: str
    key: str
    whose: Sequence[str]
    shown: Sequence[str]

    def of(self, *keys: str, persons: str = "") -> str:
        return " OR ".join(f"{persons}{column} IN ({', '.join(keys)})" for column in self.whose)

    def columns(self) -> str:
        """For UPDATE OF: an update of others alone is nobody's concern here."""
        return ", ".join(dict.fromkeys(column.split()[0] for column in (self.key, *self.shown)))

    def changes(self, differs: str) -> str:
        return any_of((self.key, *self.shown), differs)


CONTACTS = ("onvoard_contact_id", "former_onvoard_contact_id")
PERSONS = Source(
    "persons", "id", ("id",), (*CONTACTS, "unique_id", "matched_by", "linked_at", "state", "conflict_id")
)
OTHERS = (
    Source(
        "onvoard_contacts", "id", ("onvoard_contact_id",),
        (
            "email", "phone", "properties ->> 'first_name'", "properties ->> 'last_name'", "suppressed",
            "email_unsubscribed", "email_marked_as_spam", "email_hard_bounced", "deleted_at",
        ),
    ),
    Source(
        "digital_onboarding_contacts", "unique_id", ("unique_id",),
        ("id", "email", "name_first", "name_last", "phone_mobile", "unsubscribe_email", "unsubscribe_sms"),
    ),
    Source("onvoard_reviews", "reviewer_contact_id", CONTACTS, ("status", "rating", "deleted_at")),
    Source("tombstones", "person_id", ("id",), ("onvoard_contact_id", "digital_onboarding_id", "unique_id")),
)  # fmt: skip
ACTIVITIES = Source("onvoard_activities", "contact_id", CONTACTS, ("occurred_at",))
"""Most records are activities, and a new one moves a single column that has no index."""


def each(row: str) -> str:
    """The contacts of `OLD` or `NEW`."""
    return ", ".join(f"{row}.{column}" for column in CONTACTS)


def moved(differs: str) -> str:
    return any_of(CONTACTS, differs)


def any_of(columns: Sequence[str], differs: str) -> str:
    return " OR ".join(f"OLD.{column} {differs} NEW.{column}" for column in columns)


def had_any() -> str:
    return " OR ".join(f"OLD.{column} IS NOT NULL" for column in CONTACTS)
