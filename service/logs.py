"""Logs go to standard error and never say who: e-mail addresses are masked, secrets hidden, control characters
removed, in structlog's events and in those of every library that logs through `logging`."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "***"

# Their info is about themselves, and httpx's would name people in URLs.
_QUIET = (
    "aiohttp", "alembic", "apscheduler", "asyncio", "httpcore", "httpx", "opentelemetry", "sentry_sdk", "sqlalchemy",
    "stamina", "urllib3", "uvicorn",
)  # fmt: skip

_LOCAL = r"[\w.+\-!#$%^~]"  # no asterisk: what is masked stays as it is
_EMAIL = re.compile(
    rf"""(?:(?<!{_LOCAL})({_LOCAL})(?:{_LOCAL}|'){{0,320}}?|(")[^"\n]{{0,64}}")
         (?:@|%40)
         ([\w\-]+(?:\.[\w\-]+)*|\[[^\]\s]{{1,45}}\])""",
    re.VERBOSE,
)
_USERINFO = re.compile(r"://[^/\s@]+@")
_SECRET_KEY = re.compile(
    r"secret|passw(or)?d|api_?key|authorization|cookie|credential|signature|(^|_)token$|database_url|dsn", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"""\b(client_secret|api_?key|access_token|password|authorization)(["']?\s*[=:]\s*["']?)((?:basic|bearer)\s+)?"""
    r"""[^\s"'&,;]+|\b(bearer\s+)[\w.~+/=\-]{8,}""",
    re.IGNORECASE,
)
# C0, DEL, C1, and the marks that break or reverse a line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MULTILINE = frozenset({"exception", "stack"})
_DEPTH = 6


def mask_email(text: str) -> str:
    """`jane@example.com` anywhere in the text becomes `j***@example.com`, also where `@` is written `%40`."""
    if "@" not in text and "%40" not in text:
        return text
    return _EMAIL.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}@{found[3]}", text)


def clean(text: str) -> str:
    """Without control characters; line breaks and tabs become spaces, so that nobody can forge a line."""
    return _CONTROL.sub("", re.sub(r"[\t\r\n]+", " ", text))


class Scrub:
    """A structlog processor: makes every value of an event fit to be read by anyone.

    `secrets` are the values of this process's own secrets; wherever one appears, it is replaced.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Very short ones would blot out ordinary words, and are no secrets.
        known = sorted({text for text in secrets if len(text) >= 6}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {key: self._value(key, value, 0) if key[:1] != "_" else value for key, value in event.items()}

    def _value(self, key: str, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return HIDDEN if value is not None and _SECRET_KEY.search(key) else value
        if _SECRET_KEY.search(key):
            return HIDDEN
        if isinstance(value, date):  # a datetime too
            return value.isoformat()
        if depth < _DEPTH and isinstance(value, Mapping):
            return {self.text(str(k)): self._value(str(k), v, depth + 1) for k, v in value.items()}
        if depth < _DEPTH and isinstance(value, list | tuple | set | frozenset):
            return [self._value(key, item, depth + 1) for item in value]
        return self.text(value if isinstance(value, str) else str(value), lines=key in _MULTILINE)

    def text(self, text: str, *, lines: bool = False) -> str:
        text = _CONTROL_BUT_LINES.sub("", text) if lines else clean(text)
        if self._known:
            text = self._known.sub(HIDDEN, text)
        text = _USERINFO.sub(f"://{HIDDEN}@", text)
        text = _SECRET_TEXT.sub(lambda m: f"{m[1] or ''}{m[2] or ''}{m[3] or m[4] or ''}{HIDDEN}", text)
        return mask_email(text)


class _StandardError(logging.StreamHandler[TextIO]):
    """Looks up sys.stderr at each line, so that lines appear above a progress bar, and under a test's capture."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("always sys.stderr")


def setup(format: Literal["console", "json"] | None = None, level: str = "info", secrets: Iterable[str] = ()) -> None:
    """Routes structlog and logging to standard error. May be called again; the last call holds.

    `format` None: console on a terminal, else json. `secrets`: see Scrub; `Settings.secrets()` gives them.
    """
    console = sys.stderr.isatty() if format is None else format == "console"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_last(console, Scrub(secrets)))
    )
    root = logging.getLogger()
    root.handlers[:] = [*(h for h in root.handlers if not isinstance(h, _StandardError)), handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _last(console: bool, scrub: Scrub) -> list[Processor]:
    """What turns an event into a line. Exceptions become text before they are scrubbed."""
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(sort_keys=False)
    )
    return [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        scrub,
        renderer,
    ]


def place(error: Exception) -> str:
    """Where in this house a defect lies: its message may hold anything, and is told nowhere."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/service/" in frame.filename]
    return f" in service/{ours[-1].filename.rpartition('/service/')[2]} line {ours[-1].lineno}" if ours else ""
