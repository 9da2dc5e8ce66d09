"""Faults that tests and rehearsals switch on: what to break, where, and how often."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

from service.sandbox.clock import http_date
from service.sandbox.exchange import Reply

Kind = Literal["status", "rate_limit", "delay", "reset_before", "reset_after", "truncate", "malformed", "call"]
KINDS = ("status", "rate_limit", "delay", "reset_before", "reset_after", "truncate", "malformed", "call")

HTML_ERROR = "<!DOCTYPE html><html><head><title>Sorry</title></head><body><h1>Something went wrong</h1></body></html>"


@dataclass
class Fault:
    """One switched fault.

    `method` and `path` are shell patterns (`*`, `/v2/contacts*`) matched against the request; `body_contains` narrows
    it to requests with that text in their body (a poison record). The first `skip` matches pass unharmed; then it
    strikes `times` times (None: always), each with `probability`.

    `status` and `body` are for kind `status`: a dict or list becomes JSON, text is sent as it is (HTML where it
    begins with `<`), `""` is an empty body. `after_effect` lets the request take effect first (`status`, `delay`);
    `reset_after`, `truncate` and `malformed` always do. `seconds` delays any kind. `retry_after` is in seconds, sent
    as a number, or as an HTTP date where `retry_after_as` is `date`. `action` is run for kind `call`.
    """

    platform: str
    kind: Kind
    method: str = "*"
    path: str = "*"
    body_contains: str | None = None
    skip: int = 0
    times: int | None = 1
    probability: float = 1.0
    status: int = 500
    body: Any = None
    after_effect: bool = False
    seconds: float = 0.0
    retry_after: float | None = None
    retry_after_as: Literal["seconds", "date"] = "seconds"
    action: Callable[[], object] | None = field(default=None, repr=False)
    id: int = 0
    struck: int = 0

    @property
    def prevents(self) -> bool:
        """Whether the request does not take effect."""
        if self.kind == "status":
            return not self.after_effect
        return self.kind in ("rate_limit", "reset_before")

    @property
    def cuts(self) -> bool:
        """Whether the connection ends before the answer does."""
        return self.kind in ("reset_before", "reset_after", "truncate")

    def reply(self, now: datetime) -> Reply:
        """The answer of a `status` or `rate_limit` fault."""
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            as_date = self.retry_after_as == "date"
            headers["Retry-After"] = (
                http_date(now + timedelta(seconds=self.retry_after)) if as_date else f"{self.retry_after:g}"
            )
        status = 429 if self.kind == "rate_limit" else self.status
        body = {"error": "sandbox fault"} if self.body is None else self.body
        if not isinstance(body, str):
            return Reply(status, body, headers)
        headers["Content-Type"] = "text/html; charset=utf-8" if body.lstrip().startswith("<") else "application/json"
        return Reply(status, body.encode(), headers)


class Faults:
    """All faults that are switched on, for both platforms. Thread-safe; its dice are seeded."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._dice = random.Random(0)
        self._ids = itertools.count(1)

    def add(self, fault: Fault) -> Fault:
        """Switch a fault on. Raises ValueError for an unknown kind, no status of an answer, or nothing to call."""
        if fault.kind not in KINDS:
            raise ValueError(f"unknown fault {fault.kind!r}: one of {', '.join(KINDS)}")
        if not 200 <= fault.status <= 599:
            raise ValueError(f"status: {fault.status} is not from 200 to 599")
        if fault.kind == "call" and fault.action is None:
            raise ValueError("a fault of kind call needs an action")
        with self._lock:
            fault.id = next(self._ids)
            self._faults.append(fault)
        return fault

    def clear(self, platform: str | None = None, fault_id: int | None = None) -> None:
        """Switch off all faults, or those of a platform, or the one with an id."""
        with self._lock:
            self._faults = [
                each
                for each in self._faults
                if (platform is not None and each.platform != platform)
                or (fault_id is not None and each.id != fault_id)
            ]

    def listed(self) -> list[Fault]:
        """The faults that are on, oldest first."""
        with self._lock:
            return list(self._faults)

    def take(self, platform: str, method: str, path: str, body: bytes) -> Fault | None:
        """The first fault that strikes this request, if any; counts it, and removes it when it is used up."""
        with self._lock:
            for fault in self._faults:
                if not _matches(fault, platform, method, path, body):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if self._dice.random() >= fault.probability:
                    continue
                fault.struck += 1
                if fault.times is not None and fault.struck >= fault.times:
                    self._faults.remove(fault)
                return fault
        return None


def _matches(fault: Fault, platform: str, method: str, path: str, body: bytes) -> bool:
    if fault.platform != platform or not fnmatchcase(method, fault.method.upper()):
        return False
    if not fnmatchcase(path, fault.path):
        return False
    if fault.body_contains is None:
        return True
    # A body may spell the same text with \u escapes; look at both spellings.
    text = body.decode("utf-8", "replace")
    return fault.body_contains in text or json.dumps(fault.body_contains)[1:-1] in text
