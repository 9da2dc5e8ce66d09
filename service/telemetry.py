"""Traces to an OpenTelemetry collector and defects to Sentry: where the settings ask for it, and else nothing at all.

Both come with extras (`contact-bridge[otel]`, `contact-bridge[sentry]`). A span says what kind of work it was and how
much, never whom it was about; of a defect its kind and place are told, and no message, no variable and no request.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from service.errors import SettingsError
from service.logs import Scrub
from service.progress import Stopped
from service.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

P = ParamSpec("P")
SECONDS = 2.0
"""For the last spans and reports to leave at the end: SIGTERM leaves ten for everything."""

_tracer: Tracer | None = None
_sentry: Any = None


def set_up(settings: Settings, version: str) -> Callable[[], None]:
    """-> what ends it. SettingsError where an extra is missing."""
    telemetry = settings.telemetry
    ends = ExitStack()
    try:
        if telemetry.otlp_endpoint is not None:
            ends.callback(_trace(telemetry.otlp_endpoint, version))
        if telemetry.sentry_dsn is not None:
            ends.callback(_report(telemetry.sentry_dsn.get_secret_value(), Scrub(settings.secrets()), version))
    except ImportError as error:
        ends.close()
        extra, key = ("sentry", "sentry_dsn") if "sentry" in str(error.name) else ("otel", "otlp_endpoint")
        told = f"telemetry.{key} (BRIDGE_TELEMETRY__{key.upper()}): needs: pip install 'contact-bridge[{extra}]'"
        raise SettingsError([told]) from None
    return ends.close


def _trace(endpoint: str, version: str) -> Callable[[], None]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    global _tracer
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=SECONDS)
    of = Resource.create({"service.name": "contact-bridge", "service.version": version})
    provider = TracerProvider(resource=of, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=1000 * SECONDS))
    _tracer = provider.get_tracer("contact-bridge")

    def end() -> None:
        global _tracer
        _tracer = None
        provider.shutdown()

    return end


def _report(dsn: str, scrub: Scrub, version: str) -> Callable[[], None]:
    import sentry_sdk

    global _sentry
    release = f"contact-bridge@{version}"

    def before_send(event: Any, _: Any) -> Any:
        for error in event.get("exception", {}).get("values", ()):
            error.pop("value", None)
            for frame in error.get("stacktrace", {}).get("frames", ()):
                frame.pop("vars", None)
        return {**scrub(None, "", event), "release": release}  # which looks like an address

    sentry_sdk.init(
        dsn, release=release, server_name="", before_send=before_send,
        include_local_variables=False, include_source_context=False, max_request_body_size="never", max_breadcrumbs=0,
        default_integrations=False, auto_enabling_integrations=False, auto_session_tracking=False,
        send_client_reports=False, shutdown_timeout=SECONDS,
    )  # fmt: skip
    _sentry = sentry_sdk

    def end() -> None:
        global _sentry
        _sentry = None
        sentry_sdk.get_client().close(timeout=SECONDS)

    return end


def defect(error: BaseException, **tags: object) -> None:
    """Something that is nobody's fault but ours."""
    if _sentry is not None:
        with _sentry.new_scope() as scope:
            for name, value in tags.items():
                scope.set_tag(name, str(value))
            scope.capture_exception(error)


@contextmanager
def run(kind: str, run_id: int) -> Iterator[None]:
    """A trace of its own."""
    if _tracer is None:
        yield
        return
    from opentelemetry.context import Context

    with _span(_tracer, "run", Context(), kind=kind, run_id=run_id):
        yield


def pull(
    platform: str, stream: str | None = None
) -> Callable[[Callable[P, Awaitable[int]]], Callable[P, Awaitable[int]]]:
    """Around a method that reads a stream (its first argument, unless it is always the same one) and says how many
    records that were."""

    def around(method: Callable[P, Awaitable[int]]) -> Callable[P, Awaitable[int]]:
        @wraps(method)
        async def pulling(*args: P.args, **kwargs: P.kwargs) -> int:
            if _tracer is None:
                return await method(*args, **kwargs)
            with _span(_tracer, "pull", None, platform=platform, stream=stream or str(args[1])) as span:
                records = await method(*args, **kwargs)
                span.set_attribute("records", records)
                return records

        return pulling

    return around


def happened(name: str, seconds: float, **attributes: str | int) -> None:
    """What has just come to its end."""
    if _tracer is not None:
        now = time.time_ns()
        span = _tracer.start_span(name, attributes=attributes, start_time=now - int(seconds * 1e9))
        span.end(now)


@contextmanager
def _span(tracer: Tracer, name: str, context: Any, **attributes: str | int) -> Iterator[Any]:
    """One that failed bears the kind of the error, and not its message. Who was asked to stop has not failed."""
    from opentelemetry.trace import Status, StatusCode

    how: dict[str, Any] = {"record_exception": False, "set_status_on_exception": False, "attributes": attributes}
    with tracer.start_as_current_span(name, context, **how) as span:
        try:
            yield span
        except Stopped:
            raise
        except Exception as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
