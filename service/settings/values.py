"""How one written value becomes a typed one. Each function raises ValueError with a sentence for the operator,
which never contains the value: whoever reports it knows whether the value may be shown."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import IPv4Address, ip_address, ip_network
from string import Formatter
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])"
_WHOLE = re.compile(rf"(?:{_PART})+", re.IGNORECASE)
_LOOPBACK = ip_network("127.0.0.0/8")


def duration(value: object) -> timedelta:
    """`90`, `90.5` and `"90"` are seconds; `120s`, `5m`, `24h`, `7d`, `1h30m` say their unit."""
    if isinstance(value, timedelta):
        return value
    text = "" if isinstance(value, bool) else str(value).strip().replace(" ", "")
    try:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            return timedelta(seconds=float(text))
        if _WHOLE.fullmatch(text):
            return timedelta(seconds=sum(float(n) * _UNITS[unit.lower()] for n, unit in re.findall(_PART, text, re.I)))
    except OverflowError:
        pass
    raise ValueError("must be a duration such as 90 (seconds), 120s, 5m, 24h or 7d")


def positive(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise ValueError("must be at least 1s")
    return value


def kept(least: timedelta) -> BeforeValidator:
    """A duration of at least `least`; `never`, which is None, for what stays for good."""

    def term(value: object) -> timedelta | None:
        if value is None or (isinstance(value, str) and value.strip().lower() == "never"):
            return None
        try:
            found = duration(value)
        except ValueError as error:
            raise ValueError(f"{error}, or never") from None
        if found < least:
            raise ValueError(f"must be at least {least.days}d, or never")
        return found

    return BeforeValidator(term)


def moment(value: object) -> datetime:
    """A date or a date and time, as TOML's own or as ISO 8601 text; UTC unless it says otherwise."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a date (2026-01-31) or an ISO 8601 time (2026-01-31T12:00:00Z)")


def no_boolean(value: object) -> object:
    """TOML's `true` would pass as the number 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def is_loopback(host: str) -> bool:
    """`localhost`, 127.0.0.0/8 and ::1; nothing is looked up."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address in _LOOPBACK if isinstance(address, IPv4Address) else str(address) == "::1"


def address(value: object) -> str:
    """An http or https address without a trailing slash, user, query or fragment."""
    text = value.strip().rstrip("/") if isinstance(value, str) else ""
    if not text.isascii() or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise ValueError("must be an address without spaces, backslashes or control characters")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be an address such as https://api.example.com") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("must be an address such as https://api.example.com")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must not carry a user, a password, a query or a fragment")
    return text


def public_address(value: object) -> str:
    """`address` of the daemon itself: what platforms post to is said relative to it."""
    text = address(value)
    if found := re.search(r"/webhooks/(onvoard|digital-onboarding)$", text):
        raise ValueError(f"must end before {found[0]}, which is added to it: write the address of the daemon alone")
    return text


def base_address(value: object) -> str:
    """`address`, and plain http only to this machine: credentials and personal data travel there."""
    text = address(value)
    parts = urlsplit(text)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("plain http:// is refused for any host but this machine (loopback): write https://")
    return text


def hook_address(value: object) -> object:
    """Where alerts are posted to. It may carry a token in its path or query, so that it is a secret itself."""
    if not isinstance(value, str | SecretStr):
        raise ValueError("must be text in quotes")
    text = (value.get_secret_value() if isinstance(value, SecretStr) else value).strip()
    base_address(text.partition("?")[0])
    if not text.isascii() or re.search(r"[\s\x00-\x1f\x7f\\#]", text):
        raise ValueError("must be an address without spaces, backslashes, fragments or control characters")
    return text


def command(value: object) -> object:
    """A program and its arguments; in the environment as a JSON list, or as words quoted like in a shell."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else shlex.split(value)
        except ValueError:
            raise ValueError('must be a list such as ["/usr/local/bin/page", "bridge"]') from None
    words = value if isinstance(value, list | tuple) else ()
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0].strip():
        raise ValueError('must be a list such as ["/usr/local/bin/page", "bridge"]')
    return tuple(words)


def secret(value: object) -> object:
    """Surrounding white space is a slip of the editor; what is left has to fit into an HTTP header."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        raise ValueError("must be text in quotes")
    value = value.strip()
    if not value:
        raise ValueError("must not be empty")
    if not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII on a single line")
    return value


def database(value: object) -> object:
    """`sqlite:///file.db` or `postgresql://…`, as SQLAlchemy reads them; `postgres://` is the same."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    text = text.strip() if isinstance(text, str) else ""
    if text.startswith("postgres://"):
        text = "postgresql://" + text.removeprefix("postgres://")
    if not re.match(r"(sqlite(\+pysqlite)?:///?|postgresql(\+psycopg)?://)", text) or not text.isprintable():
        raise ValueError("must begin with sqlite:/// or postgresql://")
    return text


def signed(value: str) -> str:
    """What Digital Onboarding signs: text with `{body}` and perhaps `{t}`."""
    try:
        names = {name for _, name, _, _ in Formatter().parse(value) if name is not None}
    except ValueError:
        names = set()
    if "body" not in names or not names <= {"t", "body"}:
        raise ValueError("must contain {body}, may contain {t}, and no other braces")
    return value


Duration = Annotated[timedelta, BeforeValidator(duration)]
Moment = Annotated[datetime, BeforeValidator(moment)]
Secret = Annotated[SecretStr, BeforeValidator(secret)]
HookAddress = Annotated[SecretStr, BeforeValidator(hook_address)]
Command = Annotated[tuple[str, ...], BeforeValidator(command)]
PublicAddress = Annotated[str, BeforeValidator(public_address)]
BaseAddress = Annotated[str, BeforeValidator(base_address)]
