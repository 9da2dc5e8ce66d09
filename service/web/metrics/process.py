"""What only this process can tell: what it has asked the platforms since it began, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import InfoMetricFamily, Metric

from service.metrics import BOUNDS, Requests
from service.platforms.pace import State
from service.resources import version
from service.web.metrics.shapes import Key, counter, gauge, histogram

_COUNTED: Mapping[str, tuple[str, Callable[[Requests], float]]] = {
    "request_retries": ("Attempts after the first one", lambda of: of.retries),
    "request_queue_seconds": ("Time that requests have waited for their turn", lambda of: of.queued),
    "rate_limit_pause_seconds": ("Time for which the platform asked to be left alone", lambda of: of.paused),
}
_STATES: Mapping[str, tuple[str, Callable[[State], float]]] = {
    "platform_reachable": ("0 while a platform that does not answer is left alone", lambda of: of.breaker == "closed"),
    "requests_in_flight": ("Requests without an answer yet", lambda of: of.in_flight),
    "requests_waiting": ("Requests that wait for their turn", lambda of: of.waiting),
    "request_concurrency_limit": ("How many may be in flight", lambda of: of.concurrency),
    "rate_limit_pause_left_seconds": ("How much longer the platform is left alone", lambda of: of.paused_for),
}


def build() -> Metric:
    return InfoMetricFamily("contact_bridge_build", "What is running", {"version": version()})


def requests(counted: Mapping[str, Requests]) -> Iterator[Metric]:
    sent: dict[Key, float] = {(p, *how): number for p, of in counted.items() for how, number in of.attempts.items()}
    yield counter("requests", "Requests that were sent, each attempt", sent, "platform", "call", "status")
    lasted = {platform: (of.lasted, of.lasted_sum) for platform, of in counted.items()}
    yield histogram("request_duration_seconds", "How long requests took", BOUNDS, lasted, "platform")
    for name, (text, value) in _COUNTED.items():
        yield counter(name, text, {platform: value(of) for platform, of in counted.items()}, "platform")


def webhooks(answers: Mapping[tuple[str, str], int]) -> Metric:
    told: dict[Key, float] = dict(answers.items())
    return counter("webhook_answers", "Webhook events, by the status of the answer", told, "platform", "status")


def states(found: Mapping[str, State]) -> Iterator[Metric]:
    for name, (text, value) in _STATES.items():
        yield gauge(name, text, {platform: value(state) for platform, state in found.items()}, "platform")
