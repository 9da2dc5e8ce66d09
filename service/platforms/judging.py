"""A call, and what an answer to it means: pure, without httpx. The error of a failed call carries the verdict for
that call."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import orjson

from service.errors import (
    Denied,
    Garbled,
    NotFound,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Rejected,
    RuleBroken,
    ServerFailed,
    TooLarge,
    Verdict,
)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NOT_IN_A_SEGMENT = re.compile(r"[\x00-\x1f\x7f/\\\ud800-\udfff]")
_LONGEST_INTEGER = 4000  # digits; Python itself refuses those above 4300
_SHAPE = bytes.maketrans(b"123456789" + b",[- \t\r\n", b"0" * 9 + b":" * 7)
_LONG_SHAPE = b":" + b"0" * 19  # the shortest integers above 64 bits have 19 digits
_LONG_INTEGER = re.compile(rb"(?:^|[:,\[\s])-?\d{19,}+(?:[,\]}\s]|$)")


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `route` is the pattern that errors may show, `path` the filled-in one; `safe`: repeating it is
    harmless."""

    method: str
    route: str
    path: str
    safe: bool

    @classmethod
    def of(cls, method: str, route: str, *ids: str, safe: bool) -> Call:
        """Fills the `:names` of `route` with `ids`, in order. RuleBroken for an id that is empty or would change the
        path."""
        rest = iter(ids)
        parts = [_segment(next(rest), part) if part.startswith(":") else part for part in route.split("/")]
        return cls(method, route, "/".join(parts), safe)

    @property
    def name(self) -> str:
        return f"{self.method} {self.route}"


def unreadable(platform: str, call: Call, status: int | None, detail: str) -> PlatformError:
    """A success that cannot be read: a write that must not be repeated may well have taken effect."""
    kind = Garbled if call.safe else OutcomeUnknown
    return judged(kind(platform, call.name, detail, status=status), call)


def failure(platform: str, call: Call, status: int, retry_after: float | None) -> PlatformError:
    """The error for an answer that is no success; `retry_after` in seconds."""
    if status == 429:
        return RateLimited(platform, call.name, "too many requests", retry_after=retry_after)
    if status >= 500 or status in (408, 425):
        failed = ServerFailed(platform, call.name, "the platform failed", status=status, retry_after=retry_after)
        return judged(failed, call)
    if status < 400:
        hint = "the base URL is probably wrong (http for https, or another host)"
        moved = Garbled(platform, call.name, "redirected, which is not followed", status=status, hint=hint)
        moved.verdict = Verdict.ASK  # another try would only be redirected again
        return moved
    kind, detail = _REFUSALS.get(status, (Rejected, "refused"))
    return kind(platform, call.name, detail, status=status)


_REFUSALS: dict[int, tuple[type[PlatformError], str]] = {
    401: (Denied, "the credentials are not accepted"),
    403: (Denied, "the credentials lack the right"),
    404: (NotFound, "not found"),
    410: (NotFound, "gone"),
    413: (TooLarge, "the request is too large"),
}


def judged(error: PlatformError, call: Call) -> PlatformError:
    """The verdict depends on the call: where it may have taken effect, repeating it is only right if that is
    harmless."""
    error.verdict = Verdict.RETRY if call.safe else Verdict.LOOK
    return error


def decode(content: bytes) -> Any:
    """JSON, strictly: ValueError for anything else. What no database stores (NUL, half a surrogate pair, an infinite
    number) becomes U+FFFD or None."""
    if not _has_long_integer(content):
        try:
            data = orjson.loads(content)
        except orjson.JSONDecodeError:  # or what it alone refuses: half a pair, an infinite number, a byte order mark
            pass
        else:
            return _storable(data) if b"\\u0000" in content else data
    return _storable(_read(content))


def _has_long_integer(content: bytes) -> bool:
    """Whether orjson would round a number: it makes a float of an integer above 64 bits. Most often one quick search
    tells; digits within a text are told from a number by what stands around them."""
    return _LONG_SHAPE in b":" + content.translate(_SHAPE) and _LONG_INTEGER.search(content) is not None


def _read(content: bytes) -> Any:
    """Every number exactly, or None where it is too large to be kept: as a float, or at all."""
    return json.loads(content, parse_constant=_no_constant, parse_float=_finite, parse_int=_integer)


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) < _LONGEST_INTEGER else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _segment(identifier: object, name: str) -> str:
    """Refused is also what a server might decode before it looks for the route: a slash."""
    is_text = isinstance(identifier, str) and identifier.strip() not in ("", ".", "..")
    if not is_text or _NOT_IN_A_SEGMENT.search(str(identifier)):
        raise RuleBroken(f"{name[1:]}: this is no id")
    return quote(str(identifier), safe="")


def http_date(header: str | None, otherwise: datetime) -> datetime:
    return _moment(header or "") or otherwise


@lru_cache(4)  # all answers of a second have the same one
def _moment(header: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def retry_after(header: str | None, server_time: datetime) -> float | None:
    """Seconds, from either form of the header (RFC 9110, 10.2.3). A date is measured by the server's own clock."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    at = http_date(text, datetime.min.replace(tzinfo=UTC))
    return None if at.year == 1 else max(0.0, (at - server_time).total_seconds())
