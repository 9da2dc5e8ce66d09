"""Traces and defects, as a collector and a Sentry on this machine receive them: kinds and numbers, never a person."""

from __future__ import annotations

import gzip
import inspect
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from service import settings, telemetry
from service.cli.context import Context
from service.errors import Denied, SettingsError
from service.progress import Stopped
from service.settings import Settings
from service.settings.loading import for_running
from tests.cycle.conftest import _sqlite_engine, _sqlite_mirror, world  # noqa: F401 - fixtures
from tests.cycle.world import World

PERSON = "jane.secret@example.com"


class Receiver:
    """Whatever is posted here, by path."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                packed = self.headers.get("Content-Encoding") == "gzip"
                receiver.bodies.append((self.path, gzip.decompress(body) if packed else body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def spans_of(receiver: Receiver) -> list[Any]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    requests = [ExportTraceServiceRequest.FromString(body) for _, body in receiver.bodies]
    scopes = [scope for request in requests for each in request.resource_spans for scope in each.scope_spans]
    return [span for scope in scopes for span in scope.spans]


def configured(**telemetry_settings: str) -> Settings:
    return settings.load({f"telemetry.{key}": value for key, value in telemetry_settings.items()}, environ={})


async def test_a_run_its_pulls_and_its_batches_are_one_trace_that_names_nobody(
    world: World,  # noqa: F811
    receiver: Receiver,
) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="no extra `otel`")
    world.ov.add_contact(PERSON, name="Jane Secret", city="Reykjavik")
    end = telemetry.set_up(configured(otlp_endpoint=f"http://127.0.0.1:{receiver.port}"), "1.2.3")
    report = await world.sync()
    end()
    assert {path for path, _ in receiver.bodies} == {"/v1/traces"}
    spans = spans_of(receiver)
    assert len({span.trace_id for span in spans}) == 1
    (run,) = [span for span in spans if span.name == "run"]
    assert {each.key: each.value for each in run.attributes}["run_id"].int_value == report.run_id
    told = {(span.name, *sorted(a.value.string_value for a in span.attributes)) for span in spans}
    assert ("pull", "", "contacts", "onvoard") in told and ("pull", "", "digital_onboarding", "templates") in told
    assert [span for span in spans if span.name == "push batch"]
    assert all(span.parent_span_id for span in spans if span is not run) and not run.parent_span_id
    everything = b"".join(body for _, body in receiver.bodies).lower()
    assert not [word for word in (b"jane", b"secret", b"reykjavik", b"@example") if word in everything]


def test_a_run_that_another_one_has_woken_is_a_trace_of_its_own(receiver: Receiver) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="no extra `otel`")
    end = telemetry.set_up(configured(otlp_endpoint=f"http://127.0.0.1:{receiver.port}"), "1.2.3")
    with telemetry.run("inbox", 1), telemetry.run("reconcile", 2):
        pass
    end()
    spans = spans_of(receiver)
    assert len({span.trace_id for span in spans}) == 2 and not any(span.parent_span_id for span in spans)


async def test_a_failed_run_tells_the_kind_of_its_error_alone(world: World, receiver: Receiver) -> None:  # noqa: F811
    pytest.importorskip("opentelemetry.sdk", reason="no extra `otel`")
    world.sandbox.fail("onvoard", "status", path="/v2/contacts*", status=403, times=None)
    end = telemetry.set_up(configured(otlp_endpoint=f"http://127.0.0.1:{receiver.port}"), "1.2.3")
    with suppress(Denied):
        await world.sync()
    with suppress(Stopped), telemetry.run("sweep", 9):
        raise Stopped
    end()
    told = b"".join(body for _, body in receiver.bodies)
    assert b"Denied" in told and b"403" not in told and b"exception.message" not in told
    assert b"sweep" in told and b"Stopped" not in told  # on demand


async def test_without_settings_nothing_is_imported_and_nothing_leaves(world: World) -> None:  # noqa: F811
    await world.sync()
    telemetry.defect(ValueError(PERSON))
    assert telemetry._tracer is None and telemetry._sentry is None


def test_a_collector_that_is_away_holds_up_nobody() -> None:
    pytest.importorskip("opentelemetry.sdk", reason="no extra `otel`")
    from time import monotonic

    end = telemetry.set_up(configured(otlp_endpoint="http://127.0.0.1:9"), "1.2.3")
    telemetry.happened("push batch", 0.1, size=1)
    began = monotonic()
    end()
    assert monotonic() - began < 2 * telemetry.SECONDS + 1


def test_a_defect_is_told_by_kind_and_place_and_no_value(receiver: Receiver) -> None:
    pytest.importorskip("sentry_sdk", reason="no extra `sentry`")
    end = telemetry.set_up(configured(sentry_dsn=f"http://public-key@127.0.0.1:{receiver.port}/7"), "1.2.3")
    someone = PERSON
    try:
        raise LookupError(f"no such contact: {someone}")
    except LookupError as error:
        telemetry.defect(error, job="contacts", who=PERSON)
    end()
    ((path, body),) = receiver.bodies
    assert path == "/api/7/envelope/"
    event = json.loads(body.splitlines()[2])
    (error,) = event["exception"]["values"]
    assert error["type"] == "LookupError" and "value" not in error
    frame = error["stacktrace"]["frames"][-1]
    assert frame["function"] == "test_a_defect_is_told_by_kind_and_place_and_no_value"
    assert not {"vars", "context_line", "pre_context"} & set(frame)
    assert event["tags"] == {"job": "contacts", "who": "j***@example.com"}
    assert event["release"] == "contact-bridge@1.2.3"
    assert "jane.secret" not in body.decode() and "request" not in event and not event.get("server_name")


@pytest.mark.parametrize(
    ("key", "value", "module", "extra"),
    [
        ("otlp_endpoint", "http://127.0.0.1:4318", "opentelemetry.exporter.otlp.proto.http.trace_exporter", "otel"),
        ("sentry_dsn", "https://key@sentry.example.com/1", "sentry_sdk", "sentry"),
    ],
)
def test_a_setting_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsError) as caught:
        telemetry.set_up(configured(**{key: value}), "1.2.3")
    assert caught.value.exit_code == 2
    (problem,) = caught.value.problems
    assert problem.startswith(f"telemetry.{key} (BRIDGE_TELEMETRY__{key.upper()})")
    assert f"pip install 'contact-bridge[{extra}]'" in problem


def test_the_dsn_is_a_secret_and_waits_for_the_next_start() -> None:
    old, new = configured(), configured(sentry_dsn="https://key@sentry.example.com/1")
    assert "https://key@sentry.example.com/1" in new.secrets() and "key@" not in repr(new)
    taken, waiting = for_running(new, old)
    assert (taken.telemetry, waiting) == (old.telemetry, ["telemetry"])


def test_a_command_ends_with_that_and_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    monkeypatch.setenv("BRIDGE_TELEMETRY__SENTRY_DSN", "https://key@sentry.example.com/1")

    async def work() -> None:
        raise AssertionError

    coroutine = work()
    with pytest.raises(SettingsError):
        Context().run(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED  # it would complain that nobody awaited it
