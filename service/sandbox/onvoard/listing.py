"""Paging and filters of OnVoard's list calls (API document: Introduction, Pagination, and each "List all")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from service.sandbox.exchange import Refusal, Reply
from service.sandbox.onvoard.settings import OnVoardSettings

T = TypeVar("T")


def page(
    records: Iterable[T], query: Mapping[str, str], settings: OnVoardSettings, render: Callable[[T], Any]
) -> Reply:
    """One page of sorted records: `{"current_page", "page_size", "results"}`. Refuses a page size outside 1 to 100."""
    number = whole(query, "page", 1)
    size = whole(query, "page_size", 10)
    if number < 1:
        raise Refusal(400, "page must be 1 or more.")
    if not 1 <= size <= 100:
        raise Refusal(400, "page_size must be from 1 to 100.")
    everything = list(records)
    chosen = everything[(number - 1) * size : number * size]
    if not chosen and number > 1 and settings.past_end == "404":
        raise Refusal(404, "Invalid page.")
    return Reply(200, {"current_page": number, "page_size": size, "results": [render(each) for each in chosen]})


def whole(query: Mapping[str, str], name: str, default: int) -> int:
    """An integer parameter, or a 400."""
    try:
        return int(query.get(name, default))
    except ValueError:
        raise Refusal(400, f"{name} must be an integer.") from None


def boolean(query: Mapping[str, str], name: str) -> bool | None:
    """A boolean parameter: `true` or `false`; None where it is absent."""
    text = query.get(name)
    if text is None:
        return None
    if text not in ("true", "false"):
        raise Refusal(400, f"{name} must be true or false.")
    return text == "true"


def names(query: Mapping[str, str], name: str) -> set[str] | None:
    """A comma-separated parameter; None where it is absent or empty."""
    found = {part.strip() for part in query.get(name, "").split(",") if part.strip()}
    return found or None


def choice(query: Mapping[str, str], name: str, allowed: Iterable[str]) -> str | None:
    """An enum parameter, or a 400."""
    text = query.get(name)
    if text is not None and text not in allowed:
        raise Refusal(400, f"{name} must be one of {', '.join(allowed)}.")
    return text


def within(query: Mapping[str, str], settings: OnVoardSettings, before: str, after: str) -> Callable[[datetime], bool]:
    """A test for the time range given by two parameters in whole epoch seconds; see the setting `boundary`."""
    upper = _moment(query, before)
    lower = _moment(query, after)

    def inside(moment: datetime) -> bool:
        if settings.boundary == "inclusive":
            return (upper is None or moment <= upper) and (lower is None or moment >= lower)
        if settings.boundary == "truncated":
            moment = moment.replace(microsecond=0)
        return (upper is None or moment < upper) and (lower is None or moment > lower)

    return inside


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    try:
        return datetime.fromtimestamp(whole(query, name, 0), UTC)
    except (OverflowError, ValueError, OSError):
        raise Refusal(400, f"{name} is out of range.") from None


def contains(query: Mapping[str, str], *texts: str) -> bool:
    """Whether the parameter `keyword`, where given, is part of one of the texts, whatever its case."""
    keyword = query.get("keyword", "").lower()
    return not keyword or any(keyword in text.lower() for text in texts)


def equal(query: Mapping[str, str], **values: str | None) -> bool:
    """Whether each parameter named here, where given, equals the record's value."""
    return all(name not in query or query[name] == value for name, value in values.items())
