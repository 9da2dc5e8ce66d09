"""The script that one would otherwise write: httpx, page by page, the SQLAlchemy ORM. It knows no cursor, no retry and
no edit; it is the yardstick, so it takes the ORM's fast way (an upsert of a page at once, not `session.merge` per row).

    python -m benchmarks.plain <base URL> <database URL>
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import httpx
from sqlalchemy import JSON, DateTime, create_engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, datetime: DateTime(timezone=True)}  # noqa: RUF012


class Record:
    id: Mapped[str] = mapped_column(primary_key=True)
    raw: Mapped[dict[str, Any]]


class Contact(Record, Base):
    __tablename__ = "onvoard_contacts"
    email: Mapped[str | None] = mapped_column(index=True)
    name: Mapped[str | None]
    phone: Mapped[str | None]
    accepts_marketing_emails: Mapped[bool | None]
    suppressed: Mapped[bool | None]
    email_sendable: Mapped[bool | None]
    email_unsubscribed: Mapped[bool | None]
    email_marked_as_spam: Mapped[bool | None]
    email_hard_bounced: Mapped[bool | None]
    email_double_optin_status: Mapped[str | None]
    email_double_opted_in: Mapped[bool | None]
    created_at: Mapped[datetime | None] = mapped_column(index=True)
    modified_at: Mapped[datetime | None]
    suppressed_at: Mapped[datetime | None]
    lists: Mapped[list[Any] | None]
    tags: Mapped[list[Any] | None]
    segments: Mapped[list[Any] | None]
    properties: Mapped[dict[str, Any] | None]


class Review(Record, Base):
    __tablename__ = "onvoard_reviews"
    title: Mapped[str | None]
    content: Mapped[str | None]
    rating: Mapped[float | None]
    entity: Mapped[str | None]
    status: Mapped[str | None]
    is_verified: Mapped[bool | None]
    product_id: Mapped[str | None]
    product_name: Mapped[str | None]
    reviewer_contact_id: Mapped[str | None] = mapped_column(index=True)
    reviewer_email: Mapped[str | None]
    num_upvotes: Mapped[int | None]
    created_at: Mapped[datetime | None] = mapped_column(index=True)
    reply_at: Mapped[datetime | None]
    reply_html: Mapped[str | None]
    assets: Mapped[list[Any] | None]


class Activity(Record, Base):
    __tablename__ = "onvoard_activities"
    contact_id: Mapped[str | None] = mapped_column(index=True)
    contact_email: Mapped[str | None]
    type: Mapped[str | None]
    occurred_at: Mapped[datetime | None] = mapped_column(index=True)
    record_data: Mapped[dict[str, Any] | None]


TIMES = {"created_at": "created_datetime", "modified_at": "modified_datetime", "suppressed_at": "suppressed_datetime",
         "reply_at": "reply_datetime", "occurred_at": "datetime"}  # fmt: skip


def row(columns: list[str], record: dict[str, Any]) -> dict[str, Any]:
    """A record's fields by column; nested ones by the names of their levels."""
    contact = (record.get("reviewer") or record).get("contact") or {}
    flat = {**record, "raw": record, "contact_id": contact.get("id"), "contact_email": contact.get("email")}
    flat |= {"reviewer_contact_id": contact.get("id"), "reviewer_email": contact.get("email")}
    flat |= {f"product_{key}": value for key, value in (record.get("product") or {}).items()}
    for column, key in TIMES.items():
        flat[column] = datetime.fromisoformat(record[key]) if record.get(key) else None
    return {column: flat.get(column) for column in columns}


def pull(http: httpx.Client, session: Session, path: str, model: type[Record]) -> None:
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    upsert: Any = insert(model)
    columns: list[str] = model.__table__.c.keys()  # type: ignore[attr-defined]
    upsert = upsert.on_conflict_do_update(index_elements=["id"], set_={c: upsert.excluded[c] for c in columns})
    page = 1
    while True:
        answer = http.get(path, params={"page": page, "page_size": 100})
        answer.raise_for_status()
        results = answer.json()["results"]
        if results:
            session.execute(upsert, [row(columns, record) for record in results])
            session.commit()
        if len(results) < 100:
            return
        page += 1


def main(base_url: str, database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    Base.metadata.create_all(engine)
    with httpx.Client(base_url=base_url, headers={"X-API-Key": "benchmark"}) as http, Session(engine) as session:
        for path, model in (("contacts", Contact), ("reviews", Review), ("contact-activities", Activity)):
            pull(http, session, f"/v2/{path}", model)


if __name__ == "__main__":
    main(*sys.argv[1:])
