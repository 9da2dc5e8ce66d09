"""Signed webhooks of both platforms, and somebody who sends them as fast as they are answered."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from benchmarks import records

CONNECTIONS = 32
SECRET = "benchmark"


@dataclass(frozen=True, slots=True)
class Event:
    """`id` is how the mirror names it; None where that hangs on the signature."""

    id: str | None
    request: bytes


def events(count: int, people: int, host: str) -> list[Event]:
    """About contacts all over the world; of twenty one comes twice and one is Digital Onboarding's. In no order."""
    dice = random.Random(f"burst {count}")
    made: list[Event] = []
    for number in range(count):
        if number % 20 == 19:
            made.append(dice.choice(made))
        else:
            made.append(_thin(number, host) if number % 20 == 18 else _edit(number, dice.randrange(people), host))
    dice.shuffle(made)
    return made


def _edit(number: int, person: int, host: str) -> Event:
    contact = records.contact(person, records.NEWEST, random.Random(number))
    told = {"id": f"evt_{number:015d}", "type": "contact.saved", "data": {"contact": contact}}
    body = json.dumps(told).encode()
    mac = hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()
    return Event(f"evt_{number:015d}", _request("onvoard", host, f"X-Hub-Signature: sha1={mac}", body))


def _thin(number: int, host: str) -> Event:
    told = {"type": "contact.updated", "contact_id": f"{number:08x}-0000-4000-8000-{number:012x}"}
    body, at = json.dumps(told).encode(), str(int(time.time()))
    mac = hmac.new(SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return Event(None, _request("digital-onboarding", host, f"x-signature: t={at},s0={mac}", body))


def _request(platform: str, host: str, signature: str, body: bytes) -> bytes:
    head = f"POST /webhooks/{platform} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{signature}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass(slots=True)
class Answers:
    """`waits`: seconds until each answer, in the order of the answers."""

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def figures(self) -> dict[str, float]:
        hundredths = quantiles(self.waits, n=100)
        named = {"median": hundredths[49], "p95": hundredths[94], "p99": hundredths[98], "slowest": max(self.waits)}
        in_ms = {f"{name} ms": round(wait * 1_000, 1) for name, wait in named.items()}
        return in_ms | {"answers/s": round(len(self.waits) / self.seconds)}


async def send(host: str, port: int, burst: Sequence[Event]) -> Answers:
    """Over CONNECTIONS that are kept: each sends its next event when the last one was answered."""
    answers, left, began = Answers(), iter(burst), time.perf_counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for event in left:
            sent = time.perf_counter()
            writer.write(event.request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]))
            answers.waits.append(time.perf_counter() - sent)
            answers.statuses[int(head.split(b" ", 2)[1])] += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    answers.seconds = time.perf_counter() - began
    return answers
