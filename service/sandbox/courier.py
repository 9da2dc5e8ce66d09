"""Delivers webhook events in the background: in order, with a time limit, retries and a delay between them."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx


@dataclass(order=True)
class Parcel:
    """One event on its way.

    `headers` is called at each attempt (signatures may carry the time); `settled` is told whether an attempt
    succeeded and says whether a failed one may be tried again.
    """

    due: float
    number: int
    url: str = field(compare=False)
    body: bytes = field(compare=False)
    headers: Callable[[], dict[str, str]] = field(compare=False)
    settled: Callable[[bool], bool] = field(compare=False)
    delay: float = field(compare=False, default=0.2)
    limit: int = field(compare=False, default=20)
    timeout: float = field(compare=False, default=10.0)
    attempts: int = field(compare=False, default=0)


class Courier:
    """One daemon thread, started at the first parcel. What is not answered 2xx is tried again up to `limit` times."""

    def __init__(self) -> None:
        self._queue: list[Parcel] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def send(
        self,
        url: str,
        body: bytes,
        headers: Callable[[], dict[str, str]],
        settled: Callable[[bool], bool],
        delay: float = 0.2,
        timeout: float = 10.0,
        limit: int = 20,
    ) -> None:
        """Queue an event for delivery: `delay` and `timeout` in seconds, `limit` retries at most."""
        parcel = Parcel(time.monotonic(), next(self._numbers), url, body, headers, settled, delay, limit, timeout)
        with self._changed:
            heapq.heappush(self._queue, parcel)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="sandbox-webhooks", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, timeout: float = 10.0) -> bool:
        """Wait until nothing is left to deliver; False where that took longer than `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._busy, timeout)

    def close(self) -> None:
        """Drop what is left and end the thread."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        with httpx.Client(trust_env=False) as client:
            while (parcel := self._next()) is not None:
                delivered = self._attempt(client, parcel)
                parcel.attempts += 1
                again = parcel.settled(delivered)
                with self._changed:
                    self._busy = False
                    if not delivered and again and parcel.attempts <= parcel.limit and not self._closed:
                        parcel.due = time.monotonic() + parcel.delay
                        heapq.heappush(self._queue, parcel)
                    self._changed.notify_all()

    def _next(self) -> Parcel | None:
        with self._changed:
            while not self._closed:
                if not self._queue:
                    self._changed.wait()
                elif (wait := self._queue[0].due - time.monotonic()) > 0:
                    self._changed.wait(wait)
                else:
                    self._busy = True
                    return heapq.heappop(self._queue)
        return None

    @staticmethod
    def _attempt(client: httpx.Client, parcel: Parcel) -> bool:
        # ValueError: a host name that IDNA cannot encode.
        with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL, ValueError):
            response = client.post(parcel.url, content=parcel.body, headers=parcel.headers(), timeout=parcel.timeout)
            return response.is_success
        return False
