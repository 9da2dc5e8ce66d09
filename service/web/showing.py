"""How values look on a page. Text that came from a platform loses its control characters; the templates escape it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup

from service.text import clean, duration


def shown(value: Any) -> Any:
    """Whatever a template puts out passes through here, before it is escaped."""
    if isinstance(value, Markup) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, timedelta):
        return duration(value.total_seconds())
    if isinstance(value, dict | list):
        return clean(json.dumps(value, ensure_ascii=False, default=str))
    return clean(str(value))


def _time(value: datetime) -> Markup:
    at = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S UTC")
    )


def words(name: Any) -> str:
    """A name of the database as people say it."""
    return str(name).replace("_", " ")


def tally(counts: Any, of: str = "") -> str:
    """What a run has counted, without what was nothing: `12 pulled contacts, 1 new conflicts`."""
    if isinstance(counts, Mapping):
        told = (tally(value, f"{of} {words(name)}".strip()) for name, value in counts.items())
        return ", ".join(filter(None, told))
    return f"{counts} {of}" if counts else ""
