"""Retries, verdicts and secrecy of one call, over real HTTP."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from starlette.responses import Response

from service import errors
from service.errors import Verdict
from service.metrics import Requests
from service.platforms.transport import Answer, Call, Limits, Transport

from .servers import Fake, half, reply, rudely_served, whole

READ = Call.of("GET", "/v2/things/:thing_id", "t1", safe=True)
SAFE = Call.of("PATCH", "/v2/things/:thing_id", "t1", safe=True)
UNSAFE = Call.of("POST", "/v2/things", safe=False)
DELETE = Call.of("DELETE", "/v2/things/:thing_id", "t1", safe=True)

HTML = Response("<html>login jane@example.com</html>", 200, media_type="text/html")
BROKEN = Response('{"a": ', 200, media_type="application/json")


async def ask(url: str, call: Call, limits: Limits, **more: object) -> Answer:
    transport = Transport("onvoard", url, limits=limits, **more)  # type: ignore[arg-type]
    try:
        return await transport.request(call, json=None if call.method in ("GET", "DELETE") else {"a": 1})
    finally:
        await transport.aclose()


@pytest.mark.parametrize(
    ("answer", "error", "reads", "writes"),
    [
        (reply(status=500), errors.ServerFailed, 3, 1),
        (reply(status=503), errors.ServerFailed, 3, 1),
        (reply(status=429), errors.RateLimited, 3, 3),
        (reply(status=400), errors.Rejected, 1, 1),
        (reply(status=409), errors.Rejected, 1, 1),
        (reply(status=422), errors.Rejected, 1, 1),
        (reply(status=413), errors.TooLarge, 1, 1),
        (reply(status=404), errors.NotFound, 1, 1),
        (reply(status=401), errors.Denied, 1, 1),
        (reply(status=403), errors.Denied, 1, 1),
        (Response(status_code=302, headers={"location": "https://elsewhere.example/"}), errors.Garbled, 1, 1),
    ],
)
async def test_each_status_has_its_error_and_its_number_of_tries(
    fake: Fake, quick: Limits, answer: Response, error: type[errors.PlatformError], reads: int, writes: int
) -> None:
    for call, tries in ((READ, reads), (SAFE, reads), (UNSAFE, writes)):
        fake.answers(answer)
        with pytest.raises(error) as caught:
            await ask(fake.url, call, quick)
        assert type(caught.value) is error
        assert len(fake.seen) == tries
        assert caught.value.status == answer.status_code
        assert "t1" not in str(caught.value) and call.name in str(caught.value)


@pytest.mark.parametrize("answer", [HTML, BROKEN, Response("NaN"), Response(b"\xff\xfe{"), Response("[" * 100_000)])
async def test_an_unreadable_success_is_garbled_or_for_an_unsafe_write_of_unknown_outcome(
    fake: Fake, quick: Limits, answer: Response
) -> None:
    for call in (READ, SAFE):
        fake.answers(answer)
        with pytest.raises(errors.Garbled) as garbled:
            await ask(fake.url, call, quick)
        assert len(fake.seen) == 3 and garbled.value.verdict is Verdict.RETRY
        assert "jane" not in str(garbled.value)
    fake.answers(answer)
    with pytest.raises(errors.OutcomeUnknown) as unknown:
        await ask(fake.url, UNSAFE, quick)
    assert len(fake.seen) == 1 and unknown.value.verdict is Verdict.LOOK and unknown.value.status == 200


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\n", half(b'{"id": "0123456789"}'), b"\x00garbage\r\n\r\n"])
async def test_a_connection_that_breaks_after_sending(quick: Limits, part: bytes) -> None:
    for call, tries, verdict in ((READ, 3, Verdict.RETRY), (SAFE, 3, Verdict.RETRY), (UNSAFE, 1, Verdict.LOOK)):
        with rudely_served(part) as rude:
            with pytest.raises(errors.OutcomeUnknown) as caught:
                await ask(rude.url, call, quick)
            assert rude.requests == tries
            assert caught.value.verdict is verdict


async def test_a_read_timeout_is_an_unknown_outcome(quick: Limits) -> None:
    with rudely_served(b"", pause=0.3) as rude:
        with pytest.raises(errors.OutcomeUnknown):
            await ask(rude.url, UNSAFE, replace(quick, read_timeout=0.1))
        assert rude.requests == 1


async def test_reads_and_safe_writes_recover_from_half_a_body(quick: Limits) -> None:
    for call in (READ, SAFE):
        with rudely_served(half(b'{"id": "t1"}'), b"", whole(b'{"id": "t1"}')) as rude:
            answer = await ask(rude.url, call, quick)
        assert answer.data == {"id": "t1"}


async def test_no_connection_is_retried_for_every_call(quick: Limits) -> None:
    for call in (READ, SAFE, UNSAFE):
        meter = Requests()
        with pytest.raises(errors.Unreachable) as caught:
            await ask("http://127.0.0.1:9", call, quick, meter=meter)
        assert meter.attempts == {(call.name, "Unreachable"): 3}
        assert caught.value.verdict is Verdict.RETRY


async def test_an_unsafe_write_after_a_500_is_to_be_looked_into(fake: Fake, quick: Limits) -> None:
    fake.answers(reply(status=502))
    with pytest.raises(errors.ServerFailed) as caught:
        await ask(fake.url, UNSAFE, quick)
    assert caught.value.verdict is Verdict.LOOK


async def test_a_delete_whose_answer_was_lost_is_done_when_the_repetition_finds_nothing(
    fake: Fake, quick: Limits
) -> None:
    fake.answers(reply(status=500), reply(status=404))
    await ask(fake.url, DELETE, quick)
    fake.answers(reply(status=404))
    with pytest.raises(errors.NotFound):
        await ask(fake.url, DELETE, quick)


def in_seconds(seconds: int) -> str:
    return str(seconds)


def as_date(seconds: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("form", [in_seconds, as_date])
async def test_retry_after_is_waited_for(fake: Fake, quick: Limits, form: Callable[[int], str]) -> None:
    now = format_datetime(datetime.now(UTC), usegmt=True)
    fake.answers(reply(status=429, retry_after=form(1), date=now), reply({}))
    started = time.monotonic()
    await ask(fake.url, UNSAFE, quick)
    assert 0.5 < time.monotonic() - started < 20
    assert len(fake.seen) == 2


@pytest.mark.parametrize("form", [in_seconds, as_date])
async def test_a_retry_after_above_max_wait_ends_the_call_at_once(
    fake: Fake, quick: Limits, form: Callable[[int], str]
) -> None:
    fake.answers(reply(status=429, retry_after=form(600)))
    with pytest.raises(errors.RateLimited) as caught:
        await ask(fake.url, READ, quick)
    assert len(fake.seen) == 1
    assert caught.value.retry_after is not None and 590 < caught.value.retry_after < 610


async def test_retry_afters_of_one_call_add_up(fake: Fake, quick: Limits) -> None:
    fake.answers(reply(status=429, retry_after="1"))
    with pytest.raises(errors.RateLimited):
        await ask(fake.url, READ, replace(quick, attempts=10, max_wait=1.5))
    assert len(fake.seen) == 2


async def test_a_silly_retry_after_is_ignored(fake: Fake, quick: Limits) -> None:
    fake.answers(reply(status=503, retry_after="soon"), reply({}))
    assert (await ask(fake.url, READ, quick)).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "ftp://localhost",
        "api.example.com",
        "",
        "https://",
        "https://user:secret@api.example.com",
        "https://api.example.com?key=secret",
        "http://[::1",
    ],
)
def test_base_urls_that_are_refused(url: str) -> None:
    with pytest.raises(errors.RuleBroken) as caught:
        Transport("onvoard", url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://api.example.com", "http://localhost:1", "http://127.3.2.1:80/", "http://[::1]:8080"]
)
def test_base_urls_that_are_taken(url: str) -> None:
    assert Transport("onvoard", url).base_url == url.rstrip("/")


async def test_times_are_aware_and_the_server_has_its_own_clock(fake: Fake, quick: Limits) -> None:
    fake.answers(reply({}, date="Wed, 21 Oct 2015 07:28:00 GMT"))
    answer = await ask(fake.url, READ, quick, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    assert answer.server_time == datetime(2015, 10, 21, 7, 28, tzinfo=UTC)
    assert answer.sent_at == answer.received_at == datetime(2026, 1, 1, tzinfo=UTC)


async def test_without_a_date_the_local_clock_stands_in(quick: Limits) -> None:
    with rudely_served(whole(b"{}")) as rude:
        answer = await ask(rude.url, READ, quick, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    assert answer.server_time == datetime(2026, 1, 1, tzinfo=UTC)


async def test_text_that_no_database_stores_is_replaced(fake: Fake, quick: Limits) -> None:
    fake.answers(Response(rb'{"a": "x\u0000y\ud800z \ud83d\ude00", "\u0000": 1}'))
    answer = await ask(fake.url, READ, quick)
    assert answer.data == {"a": "x\ufffdy\ufffdz \U0001f600", "\ufffd": 1}


async def test_a_number_beyond_all_floats_is_null(fake: Fake, quick: Limits) -> None:
    fake.answers(Response(b'{"a": 1e999, "b": -1E+400, "c": 1.5e2, "d": ' + b"9" * 400 + b".0}"))
    assert (await ask(fake.url, READ, quick)).data == {"a": None, "b": None, "c": 150.0, "d": None}


async def test_a_number_with_more_digits_than_python_reads_leaves_its_page_readable(fake: Fake, quick: Limits) -> None:
    fake.answers(Response(b'{"a": ' + b"9" * 5000 + b', "b": ' + b"8" * 400 + b', "c": 7}'))
    assert (await ask(fake.url, READ, quick)).data == {"a": None, "b": int("8" * 400), "c": 7}


async def test_each_attempt_is_counted(fake: Fake, quick: Limits) -> None:
    fake.answers(reply(status=500), HTML, reply({}))
    meter = Requests()
    await ask(fake.url, READ, quick, meter=meter)
    assert meter.attempts == {("GET /v2/things/:thing_id", outcome): 1 for outcome in ("500", "Garbled", "200")}
    assert (meter.retries, sum(meter.lasted)) == (2, 3)
    assert meter.lasted_sum > 0


async def test_no_more_than_max_in_flight_at_once(quick: Limits) -> None:
    import asyncio

    running = most = 0

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            return httpx.Response(200, json={})

    transport = Transport("onvoard", "https://x.example", limits=replace(quick, max_in_flight=3), http=Slow())
    await asyncio.gather(*(transport.request(READ) for _ in range(20)))
    assert most == 3


async def test_the_rate_is_kept(fake: Fake, quick: Limits) -> None:
    fake.answers(reply({}))
    transport = Transport("onvoard", fake.url, limits=replace(quick, requests_per_second=20))
    started = time.monotonic()
    for _ in range(30):
        await transport.request(READ)
    await transport.aclose()
    assert time.monotonic() - started > 0.4  # a burst of 20, then 20 a second


@pytest.mark.parametrize("identifier", ["", " ", ".", "..", "a\x00", "../x", "a/b", "a\\b"])
def test_ids_that_would_change_the_path_are_refused(identifier: str) -> None:
    with pytest.raises(errors.RuleBroken):
        Call.of("GET", "/v2/things/:thing_id", identifier, safe=True)


async def test_an_id_cannot_leave_its_place_in_the_path(fake: Fake, quick: Limits) -> None:
    fake.answers(reply({}))
    await ask(fake.url, Call.of("GET", "/v2/things/:thing_id", "..;x?y=1#z%2e", safe=True), quick)
    assert fake.seen[0].path == "/v2/things/..%3Bx%3Fy%3D1%23z%252e"


async def test_a_body_that_json_cannot_say_is_never_sent(fake: Fake, quick: Limits) -> None:
    transport = Transport("onvoard", fake.url, limits=quick)
    for body in ({"a": float("nan")}, {"a": object()}, {"a": "\ud800"}):
        with pytest.raises(errors.RuleBroken):
            await transport.request(UNSAFE, json=body)
    assert fake.seen == []


async def test_nothing_personal_is_logged(
    fake: Fake, quick: Limits, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.answers(reply(status=500))
    transport = Transport("onvoard", fake.url, limits=quick)
    with pytest.raises(errors.ServerFailed) as caught:
        await transport.request(READ, params={"email": "jane@example.com"})
    await transport.aclose()
    out, err = capfd.readouterr()
    for text in (caplog.text, out, err, str(caught.value), repr(caught.value)):
        assert "jane" not in text
