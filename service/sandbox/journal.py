"""What was asked of the emulated platforms, so that a test can say "a second cycle makes no write request"."""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
KEPT = 200_000


@dataclass(frozen=True)
class Entry:
    """One request. `status` is 0 where the connection was reset; `body` is a write's decoded JSON (or text), else None.

    `took_effect` is False where a fault prevented it or the platform answered with an error.
    """

    number: int
    platform: str
    method: str
    path: str
    status: int
    body: Any
    query: Mapping[str, str]
    at: datetime
    took_effect: bool
    fault: str | None = None
    is_token: bool = field(default=False)

    @property
    def is_write(self) -> bool:
        """Whether it was a write to the platform; asking for a token is none."""
        return self.method in WRITES and not self.is_token


class Journal:
    """The last 200,000 requests to both platforms, in order. Thread-safe; calls under `/_sandbox` are not in it."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._numbers = itertools.count(1)
        self._last = 0
        self._lock = threading.Lock()

    def record(self, platform: str, method: str, path: str, status: int, **rest: Any) -> Entry:
        """Append one request; `rest` are the other fields of Entry."""
        with self._lock:
            self._last = next(self._numbers)
            entry = Entry(self._last, platform, method, path, status, **rest)
            self._entries.append(entry)
            return entry

    def mark(self) -> int:
        """A mark to hand to the other methods as `since`: everything until now lies before it."""
        with self._lock:
            return self._last

    def entries(self, since: int = 0, platform: str | None = None) -> list[Entry]:
        """Requests after the mark, token requests included."""
        with self._lock:
            return [e for e in self._entries if e.number > since and platform in (None, e.platform)]

    def writes(self, since: int = 0, platform: str | None = None) -> list[Entry]:
        """POST, PUT, PATCH and DELETE requests after the mark, without token requests."""
        return [e for e in self.entries(since, platform) if e.is_write]

    def tokens(self, since: int = 0) -> list[Entry]:
        """Requests for a token after the mark."""
        return [e for e in self.entries(since) if e.is_token]

    def counts(self, since: int = 0, platform: str | None = None) -> dict[str, int]:
        """`{"reads", "writes", "tokens", "total"}` after the mark."""
        kinds = Counter(
            "tokens" if e.is_token else "writes" if e.is_write else "reads" for e in self.entries(since, platform)
        )
        return {"reads": kinds["reads"], "writes": kinds["writes"], "tokens": kinds["tokens"], "total": kinds.total()}

    def clear(self) -> None:
        """Forget all requests; marks stay valid."""
        with self._lock:
            self._entries.clear()
