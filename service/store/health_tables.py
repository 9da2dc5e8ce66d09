"""When each stream last succeeded, and what whoever is on call was told."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text

from service.store.schema import metadata
from service.store.types import Id, Json, UtcDateTime

streams = Table(
    "streams",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("succeeded_at", UtcDateTime),
    Column("failing_since", UtcDateTime),  # the first failure since then
    Column("failure", Text),  # `denied` or `failed`
)

alerts = Table(
    "alerts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    Column("problem", Json, nullable=False),
    Column("told_at", UtcDateTime),  # None: not for long enough yet
    Column("ended_at", UtcDateTime),  # gone, but perhaps not for long
)

alert_messages = Table(
    "alert_messages",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("channel", Text, nullable=False),  # `url` or `command`
    Column("body", Json, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)
