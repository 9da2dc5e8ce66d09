"""Column types that mean the same on SQLite and on Postgres."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, String
from sqlalchemy.types import TypeDecorator, TypeEngine

_NO_OFFSET = len("2026-01-31T09:30:00.000000")
Id = BigInteger().with_variant(Integer, "sqlite")


class JsonDocument(TypeDecorator[Any]):
    """JSONB where there is one. (A variant would import Postgres' dialect with the tables.)"""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB(none_as_null=True))


Json = JsonDocument(none_as_null=True)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC. SQLite keeps it as ISO 8601 text with microseconds and `Z`, which sorts as time does."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String(27) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return iso(value) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


def iso(value: datetime) -> str:
    """2026-01-31T09:30:00.000000Z"""
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat(timespec="microseconds")[:_NO_OFFSET] + "Z"


def moment(value: datetime) -> str:
    """ISO 8601 with its offset, as Postgres reads it; in a third of the time."""
    return orjson.dumps(value).decode()[1:-1]


def document(value: Any) -> str:
    """JSON, times in ISO 8601. What orjson does not take (an integer above 64 bits) is written all the same."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return json.dumps(value, default=datetime.isoformat)


def canonical(value: Any) -> bytes:
    """The same JSON for the same content."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return json.dumps(value, sort_keys=True).encode()
