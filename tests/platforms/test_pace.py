"""When a request may leave: priorities, what a platform seems to take, pauses, the circuit breaker, the rate.

The laws run on an event loop whose clock jumps from one event to the next; a few calls go over real HTTP.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import (
    DatabaseUnavailable,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Rejected,
    ServerFailed,
    Unreachable,
    Verdict,
)
from service.metrics import Requests
from service.platforms.pace import FAIR, Limits, Pace, Priority, State, priority
from service.platforms.pressure import FAILURES, LONGEST, Breaker, Concurrency
from service.platforms.rate import BLOCK, PATIENCE
from service.platforms.transport import Call, Transport

from .servers import Fake, reply, rudely_served

T = TypeVar("T")
READ = Call.of("GET", "/v2/things/:thing_id", "t1", safe=True)
CREATE = Call.of("POST", "/v2/things", safe=False)
NAME = "GET /v2/things"
NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
UNPACED = Limits(requests_per_second=None, max_in_flight=4, max_wait=120, wait_max=10)


class _JumpingLoop(asyncio.SelectorEventLoop):
    """Nobody waits: where nothing is to be done, the clock moves to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def time(self) -> float:
        return self.ahead

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.ahead = max(self.ahead, self._scheduled[0]._when)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def simulated(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
        return runner.run(main)


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def unreachable() -> PlatformError:
    return Unreachable("onvoard", NAME, "no connection")


def answer(status: int, **more: Any) -> PlatformError:
    kind = {429: RateLimited, 422: Rejected}.get(status, ServerFailed)
    return kind("onvoard", NAME, "so it says", status=status, **more)


async def one(pace: Pace, error: PlatformError | None = None, seconds: float = 0.1, request: int | None = None) -> None:
    """One attempt of a request, which takes so long and ends so."""
    async with pace.turn(NAME, pace.new_request() if request is None else request):
        await asyncio.sleep(seconds)
        if error is not None:
            raise error


async def failing(pace: Pace, times: int, error: Callable[[], PlatformError] = unreachable) -> None:
    for _ in range(times):
        with pytest.raises(PlatformError):
            await one(pace, error())


def paced(**more: Any) -> Pace:
    return Pace("onvoard", replace(UNPACED, **more), lambda: NOW)


# What is counted


def test_how_long_requests_wait_for_their_turn_adds_up() -> None:
    async def main() -> float:
        meter = Requests()
        pace = Pace("onvoard", replace(UNPACED, max_in_flight=1), lambda: NOW, meter)
        await asyncio.gather(*(one(pace, seconds=2) for _ in range(3)))
        return meter.queued

    assert simulated(main()) == pytest.approx(0 + 2 + 4)


def test_a_pause_counts_once_however_many_were_told_of_it_or_wait() -> None:
    async def main() -> tuple[float, float]:
        meter = Requests()
        pace = Pace("onvoard", UNPACED, lambda: NOW, meter)
        told = (one(pace, answer(429, retry_after=seconds)) for seconds in (10, 10, 4))
        await asyncio.gather(*told, return_exceptions=True)
        first = meter.paused
        await asyncio.gather(one(pace), one(pace))
        return first, meter.paused

    assert simulated(main()) == pytest.approx((10, 10))


# Priorities


async def _order(wanted: list[Priority]) -> list[int]:
    """One slot; all come while it is taken. -> in which order they have their turns"""
    pace, order = paced(max_in_flight=1), list[int]()

    async def ask(number: int, of: Priority) -> None:
        with priority(of):
            async with pace.turn(NAME, number):
                order.append(number)
                await asyncio.sleep(1)

    first = asyncio.create_task(one(pace, seconds=1))
    await asyncio.sleep(0)
    async with asyncio.TaskGroup() as group:
        for number, of in enumerate(wanted):
            group.create_task(ask(number, of))
    await first
    return order


def test_a_free_slot_goes_to_the_highest_priority() -> None:
    wanted = [*reversed(Priority)]
    assert simulated(_order(wanted)) == [5, 4, 3, 2, 1, 0]


@given(st.lists(st.sampled_from(Priority), max_size=40))
def test_nobody_starves_and_otherwise_the_higher_priority_goes_first(wanted: list[Priority]) -> None:
    order = simulated(_order(wanted))
    assert sorted(order) == list(range(len(wanted)))
    waiting = list(range(len(wanted)))
    for turn, number in enumerate(order, 1):
        if turn % FAIR == 0:
            assert number == waiting[0], "every eighth turn is that of whoever came first"
        else:
            assert number == min(waiting, key=lambda each: (wanted[each], each))
        waiting.remove(number)


def test_an_endless_stream_of_opt_outs_only_delays_a_backfill() -> None:
    async def main() -> float:
        pace = paced(max_in_flight=1)

        async def opting_out() -> None:
            with priority(Priority.OPT_OUT):
                while True:
                    await one(pace, seconds=1)

        crowd = [asyncio.create_task(opting_out()) for _ in range(20)]
        await asyncio.sleep(0.5)
        with priority(Priority.BACKFILL):
            await one(pace, seconds=1)
        for each in crowd:
            each.cancel()
        return loop_time()

    assert simulated(main()) <= FAIR * (20 + 2)


def test_tasks_begun_inside_have_the_priority_and_later_ones_have_not() -> None:
    async def main() -> list[str]:
        pace, order = paced(max_in_flight=1), list[str]()

        async def ask(name: str) -> None:
            async with pace.turn(NAME, 1):
                order.append(name)
                await asyncio.sleep(1)

        tasks = [asyncio.create_task(ask("holds the slot"))]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(ask("live")))
        with priority(Priority.WEBHOOK):
            tasks.append(asyncio.create_task(ask("webhook")))
        await asyncio.gather(*tasks)
        return order

    assert simulated(main()) == ["holds the slot", "webhook", "live"]


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 3)), min_size=1, max_size=12), st.integers(1, 3))
def test_whoever_is_cancelled_leaves_no_slot_taken(comers: list[tuple[float, float]], slots: int) -> None:
    async def main() -> State:
        pace = paced(max_in_flight=slots)

        async def come(after: float, cancelled_after: float) -> None:
            await asyncio.sleep(after)
            task = asyncio.create_task(one(pace, seconds=1))
            await asyncio.sleep(cancelled_after)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        await asyncio.gather(*(come(*comer) for comer in comers))
        await asyncio.wait_for(asyncio.gather(*(one(pace) for _ in range(slots))), 1)
        return pace.state

    state = simulated(main())
    assert (state.in_flight, state.waiting) == (0, 0)


# What a platform seems to take


@pytest.mark.parametrize("status", [429, 503])
def test_a_burst_of_refusals_halves_the_concurrency_once_and_successes_give_it_back(status: int) -> None:
    async def main() -> list[int]:
        pace = paced(max_in_flight=16)
        await asyncio.gather(*(one(pace, answer(status)) for _ in range(16)), return_exceptions=True)
        seen = [pace.state.concurrency]
        for _ in range(9):
            before = pace.state.concurrency
            await asyncio.gather(*(one(pace) for _ in range(before)))
            seen.append(pace.state.concurrency)
        return seen

    seen = simulated(main())
    assert seen[0] == 8 and seen[-1] == 16
    assert all(after - before in (0, 1) for before, after in pairwise(seen))


def test_refusals_one_after_the_other_come_down_to_one_and_no_further() -> None:
    async def main() -> list[int]:
        pace, seen = paced(max_in_flight=16), list[int]()
        for _ in range(6):
            await failing(pace, 1, lambda: answer(429))
            seen.append(pace.state.concurrency)
        return seen

    assert simulated(main()) == [8, 4, 2, 1, 1, 1]


@given(st.integers(1, 32), st.lists(st.tuples(st.sampled_from("sor"), st.floats(0, 100), st.floats(0, 50))))
def test_the_concurrency_stays_between_one_and_the_setting(most: int, events: list[tuple[str, float, float]]) -> None:
    concurrency = Concurrency(most)
    for kind, at, seconds in sorted(events, key=lambda event: event[1]):
        if kind == "s":
            concurrency.answered(NAME, at - seconds, at)
        elif kind == "o":
            concurrency.overloaded(at - seconds, at)
        else:
            concurrency.begin_anew()
        assert 1 <= concurrency.limit <= most


def _after(latencies: list[float], most: int = 16) -> Concurrency:
    concurrency, at = Concurrency(most), 0.0
    for seconds in latencies:
        concurrency.answered(NAME, at, at + seconds)
        at += seconds
    return concurrency


def test_the_concurrency_eases_off_when_answers_become_slow_and_grows_again() -> None:
    assert _after([0.1] * 20).limit == 16
    slow = [0.1] * 20 + [2.0] * 20
    assert _after(slow).limit < 8
    assert _after(slow + [0.1] * 400).limit == 16


def test_noise_and_a_platform_that_is_slow_for_good_cost_no_concurrency() -> None:
    dice = random.Random(1)
    assert _after([dice.uniform(0.01, 0.2) for _ in range(500)]).limit == 16
    assert _after([3.0] * 50).limit == 16
    assert _after([0.1] * 20 + [2.0] * 1000).limit == 16


def test_a_call_that_takes_long_is_not_measured_by_one_that_does_not() -> None:
    concurrency = Concurrency(16)
    for number in range(100):
        concurrency.answered(f"GET /{number % 2}", 0.0, 0.02 if number % 2 else 5.0)
    assert concurrency.limit == 16


# Pauses


def test_a_retry_after_of_one_request_holds_all_others_up() -> None:
    async def main() -> tuple[float, float]:
        pace = paced()
        await failing(pace, 1, lambda: answer(429, retry_after=30.0))
        paused_for = pace.state.paused_for
        await asyncio.gather(*(one(pace) for _ in range(3)))
        return paused_for, loop_time()

    paused_for, ended = simulated(main())
    assert paused_for == 30.0 and 30.1 < ended < 31


def test_a_pause_beyond_max_wait_refuses_at_once_those_who_wait_and_those_who_come() -> None:
    async def main() -> None:
        pace = paced(max_in_flight=1)
        first = asyncio.create_task(one(pace, answer(503, retry_after=600.0), seconds=1))
        await asyncio.sleep(0)
        second = asyncio.create_task(one(pace))
        with pytest.raises(ServerFailed):
            await first
        for refused in (second, one(pace)):
            with pytest.raises(RateLimited, match=r"not asked.*600 s") as caught:
                await refused
            assert caught.value.retry_after == 600.0 and caught.value.verdict is Verdict.RETRY
        assert loop_time() == 1.0

    simulated(main())


# The circuit breaker


def test_the_breaker_opens_after_failures_of_several_requests_and_says_since_when() -> None:
    async def main() -> None:
        pace = paced()
        await failing(pace, FAILURES - 1)
        assert pace.state.breaker == "closed" and pace.state.silent_since == NOW
        await failing(pace, 1)
        assert pace.state.breaker == "open"
        before = loop_time()
        with pytest.raises(Unreachable, match="not asked: the platform has not answered since 2026-01-31T09:30") as e:
            await one(pace)
        assert loop_time() == before and e.value.verdict is Verdict.RETRY

    simulated(main())


@pytest.mark.parametrize("between", [None, answer(422), answer(429)])
def test_any_answer_in_between_says_that_somebody_is_there(between: PlatformError | None) -> None:
    async def main() -> str:
        pace = paced()
        await failing(pace, FAILURES - 1)
        await asyncio.gather(one(pace, between), return_exceptions=True)
        await failing(pace, FAILURES - 1)
        return pace.state.breaker

    assert simulated(main()) == "closed"


def test_a_record_that_alone_makes_the_platform_fail_does_not_open_the_breaker() -> None:
    """Law 6: its neighbours go through."""

    async def main() -> str:
        pace = paced()
        for _ in range(FAILURES * 3):
            with pytest.raises(ServerFailed):
                await one(pace, answer(500), request=7)
        return pace.state.breaker

    assert simulated(main()) == "closed"


def test_one_burst_of_lost_connections_does_not_open_the_breaker() -> None:
    async def main() -> str:
        pace = paced(max_in_flight=32)
        await asyncio.gather(*(one(pace, unreachable()) for _ in range(32)), return_exceptions=True)
        return pace.state.breaker

    assert simulated(main()) == "closed"


def test_one_probe_decides_for_all_who_wait() -> None:
    async def main() -> tuple[int, list[Any]]:
        pace, sent = paced(), 0

        async def ask(error: PlatformError | None) -> None:
            nonlocal sent
            async with pace.turn(NAME, pace.new_request()):
                sent += 1
                await asyncio.sleep(1)
                if error is not None:
                    raise error

        await failing(pace, FAILURES)
        await asyncio.sleep(UNPACED.wait_max)
        assert pace.state.breaker == "half-open"
        failed = await asyncio.gather(*(ask(unreachable()) for _ in range(5)), return_exceptions=True)
        assert sent == 1 and all("not asked" in str(error) for error in failed[1:])
        with pytest.raises(Unreachable, match="not asked"):  # the second pause is longer
            await asyncio.sleep(UNPACED.wait_max + 1)
            await ask(None)
        await asyncio.sleep(UNPACED.wait_max)
        started = loop_time()
        results = await asyncio.gather(*(ask(None) for _ in range(5)), return_exceptions=True)
        assert loop_time() - started >= 3, "after an outage it begins with little"
        return sent, [*results, pace.state.breaker, pace.state.silent_since]

    assert simulated(main()) == (6, [None] * 5 + ["closed", None])


def test_a_probe_that_is_cancelled_lets_the_next_one_through() -> None:
    async def main() -> str:
        pace = paced()
        await failing(pace, FAILURES)
        await asyncio.sleep(UNPACED.wait_max)
        probe = asyncio.create_task(one(pace, seconds=100))
        await asyncio.sleep(1)
        following = asyncio.create_task(one(pace))
        await asyncio.sleep(1)
        probe.cancel()
        await following
        return pace.state.breaker

    assert simulated(main()) == "closed"


@given(st.floats(0.001, 100), st.integers(1, 12))
def test_the_pauses_double_up_to_a_limit(first: float, probes: int) -> None:
    breaker, at = Breaker(first, lambda: NOW), 0.0
    for request in range(FAILURES):
        at += 1
        breaker.failed(request, at, at)
    pause = first
    for request in range(probes):
        assert breaker.is_open(at + pause * 0.99) and breaker.is_half_open(at + pause * 1.01)
        at += pause * 1.01
        assert breaker.failed(FAILURES + request, at, at)
        pause = min(pause * 2, first * LONGEST)
    breaker.answered()
    assert not breaker.is_open(at) and not breaker.is_half_open(at) and breaker.since is None


def test_a_straggler_from_before_is_no_probe() -> None:
    breaker = Breaker(10, lambda: NOW)
    for request in range(FAILURES):
        breaker.failed(request, float(request), request + 0.5)
    assert breaker.is_open(14) and breaker.is_half_open(15)
    assert not breaker.failed(99, 3.0, 15.0), "it was sent before the breaker opened"
    assert breaker.is_half_open(15)


# Over real HTTP


async def _all(transport: Transport, *calls: Call) -> list[BaseException | Any]:
    return await asyncio.gather(*(transport.request(call) for call in calls), return_exceptions=True)


async def test_a_platform_that_is_down_is_not_asked_a_thousand_times(fake: Fake, quick: Limits) -> None:
    """A command that has much to ask ends soon, and what was not sent may be sent later (verdict RETRY)."""
    fake.answers(reply(status=502))
    transport = Transport("onvoard", fake.url, limits=replace(quick, attempts=10, max_in_flight=4, wait_max=30.0))
    outcomes = await _all(transport, *[READ] * 500)
    assert len(fake.seen) < 100
    assert all(isinstance(each, Unreachable | ServerFailed) and each.verdict is Verdict.RETRY for each in outcomes)
    (refused,) = await _all(transport, CREATE)
    assert isinstance(refused, Unreachable) and refused.verdict is Verdict.RETRY, "not sent, so not to be looked into"
    await transport.aclose()


def test_a_call_that_was_refused_is_not_repeated() -> None:
    async def main() -> None:
        http = httpx.MockTransport(lambda request: httpx.Response(502))
        limits = replace(UNPACED, wait_initial=1.0, wait_jitter=0.0)
        transport = Transport("onvoard", "https://x.example", limits=limits, http=http)
        await failing(transport.pace, FAILURES)
        before = loop_time()
        with pytest.raises(Unreachable, match="not asked"):
            await transport.request(READ)
        assert loop_time() == before
        await transport.aclose()

    simulated(main())


async def test_after_the_pause_a_platform_that_is_back_is_asked_as_before(fake: Fake, quick: Limits) -> None:
    fake.answers(reply(status=503))
    transport = Transport("onvoard", fake.url, limits=replace(quick, wait_max=0.05, attempts=10))
    await _all(transport, *[READ] * 20)
    assert transport.pace.state.breaker != "closed"
    fake.answers(reply({}))
    await asyncio.sleep(0.4)  # the longest pause is six times the first
    assert all(isinstance(each, PlatformError) is False for each in await _all(transport, *[READ] * 20))
    assert transport.pace.state.breaker == "closed" and transport.pace.state.concurrency > 1
    await transport.aclose()


async def test_an_answer_that_does_not_come_in_time_counts_as_overload(quick: Limits) -> None:
    with rudely_served(b"", pause=0.3) as rude:
        transport = Transport("onvoard", rude.url, limits=replace(quick, read_timeout=0.05, max_in_flight=8))
        with pytest.raises(OutcomeUnknown):
            await transport.request(CREATE)
        assert transport.pace.state.concurrency == 4
        await transport.aclose()


async def test_what_is_in_the_queue_when_the_transport_closes_leaves_nothing_behind(quick: Limits) -> None:
    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(3600)
            raise AssertionError

    limits = replace(quick, max_in_flight=1, requests_per_second=0.5)
    transport = Transport("onvoard", "https://x.example", limits=limits, http=Hanging())
    tasks = [asyncio.create_task(transport.request(READ)) for _ in range(3)]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await transport.aclose()
    assert len(asyncio.all_tasks()) == 1


# The rate


class Ledger:
    """A bucket in memory, as `store.rates` keeps it, with a delay before its answers and failures when asked for."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay, self.fails, self.asked = delay, False, 0
        self.taken_until = self.paused_until = 0.0

    async def reserve(self, seconds: float) -> tuple[float, bool]:
        self.asked += 1
        now = loop_time()
        await asyncio.sleep(self.delay)
        if self.fails:
            raise DatabaseUnavailable("away")
        if self.paused_until > now:
            return self.paused_until - now, True
        begins = max(now, self.taken_until)
        self.taken_until = begins + seconds
        return begins - now, False

    async def pause(self, seconds: float) -> None:
        if self.fails:
            raise DatabaseUnavailable("away")
        self.paused_until = max(self.paused_until, loop_time() + seconds)


async def _ask(pace: Pace, times: int, sent: list[float], gap: float = 0.0) -> None:
    async def ask() -> None:
        async with pace.turn(NAME, 1):
            sent.append(loop_time())

    for _ in range(times):
        await (asyncio.sleep(gap) if gap else asyncio.sleep(0))
        await ask()


@given(
    rate=st.sampled_from([0.5, 2.0, 20.0, 50.0]),
    processes=st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0.0, 0.03, 0.4])), min_size=1, max_size=5),
    delay=st.sampled_from([0.0, 0.005, 0.2]),
)
def test_all_processes_together_never_exceed_the_rate_by_more_than_two_blocks(
    rate: float, processes: list[tuple[int, float]], delay: float
) -> None:
    async def main() -> list[float]:
        ledger, sent = Ledger(delay), list[float]()
        paces = [paced(requests_per_second=rate, bucket=ledger) for _ in processes]
        asking = (_ask(pace, times, sent, gap) for pace, (times, gap) in zip(paces, processes, strict=True))
        await asyncio.gather(*asking)
        for pace in paces:
            await pace.aclose()
        return sorted(sent)

    sent = simulated(main())
    assert len(sent) == sum(times for times, _ in processes)
    block = max(1, int(rate * BLOCK))
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first + 1 <= rate * (sent[last] - sent[first]) + 2 * block + 1e-6


def test_one_process_gets_the_whole_rate_and_asks_for_it_in_blocks() -> None:
    async def main() -> tuple[float, int]:
        ledger, sent = Ledger(0.1), list[float]()
        pace = paced(requests_per_second=20, bucket=ledger)
        await _ask(pace, 200, sent)
        await pace.aclose()
        return sent[-1] - sent[0], ledger.asked

    seconds, asked = simulated(main())
    assert 9 <= seconds <= 10 and asked <= 22


def test_what_was_not_used_of_a_block_expires() -> None:
    async def main() -> list[float]:
        pace, sent = paced(requests_per_second=20, bucket=Ledger()), list[float]()
        await _ask(pace, 1, [])
        await asyncio.sleep(60)
        await _ask(pace, 30, sent)
        await pace.aclose()
        return sent

    sent = simulated(main())
    assert sum(at < sent[0] + BLOCK * 0.99 for at in sent) == 20 * BLOCK


def test_a_single_request_now_and_then_costs_one_question() -> None:
    async def main() -> int:
        ledger = Ledger()
        pace = paced(requests_per_second=20, bucket=ledger)
        await _ask(pace, 10, [], gap=60)
        await pace.aclose()
        return ledger.asked

    assert simulated(main()) == 10


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_without_the_database_the_rate_is_the_process_s_own_and_nobody_fails(how: str) -> None:
    async def main() -> tuple[list[float], int]:
        ledger, sent = Ledger(3600 if how == "hangs" else 0.0), list[float]()
        ledger.fails = how == "fails"
        pace = paced(requests_per_second=20, bucket=ledger)
        await _ask(pace, 220, sent)
        await pace.aclose()
        return sent, ledger.asked

    sent, asked = simulated(main())
    assert sent[0] <= PATIENCE and asked <= 3
    assert 10 <= sent[-1] <= 10.5 + PATIENCE


def test_a_database_that_hangs_costs_a_wide_rate_nothing() -> None:
    async def main() -> float:
        pace, sent = paced(requests_per_second=100_000, bucket=Ledger(3600)), list[float]()
        await _ask(pace, 500, sent, gap=0.01)
        await pace.aclose()
        return sent[-1]

    assert simulated(main()) <= 500 * 0.01 + PATIENCE + 0.1


def test_after_a_failure_the_database_is_asked_again() -> None:
    async def main() -> bool:
        ledger = Ledger()
        ledger.fails = True
        pace = paced(requests_per_second=20, bucket=ledger)
        await _ask(pace, 30, [])
        ledger.fails = False
        await asyncio.sleep(10)
        await _ask(pace, 1, [])
        await pace.aclose()
        return ledger.taken_until > 0

    assert simulated(main())


@pytest.mark.parametrize("seconds", [30.0, 600.0])
def test_a_pause_that_one_process_was_told_holds_for_the_others(seconds: float) -> None:
    async def main() -> tuple[float, list[Any]]:
        ledger = Ledger()
        told, other = (paced(requests_per_second=20, bucket=ledger) for _ in range(2))
        await failing(told, 1, lambda: answer(429, retry_after=seconds))
        await asyncio.sleep(1)
        results = await asyncio.gather(*(one(other) for _ in range(3)), return_exceptions=True)
        for pace in (told, other):
            await pace.aclose()
        return loop_time(), results

    ended, results = simulated(main())
    if seconds < UNPACED.max_wait:
        assert results == [None] * 3 and 30 <= ended < 31
    else:
        assert all(isinstance(each, RateLimited) for each in results) and ended < 2


def test_an_opt_out_has_the_next_token_too() -> None:
    async def main() -> list[str]:
        pace, order = paced(max_in_flight=16, requests_per_second=1), list[str]()

        async def ask(name: str, of: Priority) -> None:
            with priority(of):
                async with pace.turn(NAME, 1):
                    order.append(name)

        pulls: list[Awaitable[None]] = [asyncio.create_task(ask("pull", Priority.LIVE)) for _ in range(10)]
        await asyncio.sleep(1.5)
        await asyncio.gather(ask("opt-out", Priority.OPT_OUT), *pulls)
        await pace.aclose()
        return order

    assert simulated(main()).index("opt-out") <= 3
