"""HTTP for both platforms: httpx, retries, and every ending of a call as an error with a verdict. When a request may
leave is for `pace` to say.

Nothing here logs, and no error repeats a URL, a header or a body: they carry keys, tokens and people.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json as jsonlib
import ssl
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import stamina
import stamina.instrumentation
from yarl import URL

from service.errors import OutcomeUnknown, PlatformError, RuleBroken, Unreachable, UsageError, Verdict
from service.metrics import Requests
from service.platforms.connections import Connections
from service.platforms.judging import Call as Call
from service.platforms.judging import decode, failure, http_date, judged, retry_after, unreadable
from service.platforms.pace import Limits as Limits
from service.platforms.pace import Pace

Check = Callable[[object], str | None]

# Attempts are counted in `meter`; stamina's own hook would print to standard output without a set-up structlog.
stamina.instrumentation.set_on_retry_hooks([])

_ALWAYS = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": "contact-bridge"}
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


def local_now() -> datetime:
    return datetime.now(UTC)


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes longer than most requests."""
    return httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer. `data` is its JSON, None where it had no body. `server_time` is its Date header, `sent_at` and
    `received_at` are by the local clock (and so is `server_time` where there was no Date); all aware."""

    status: int
    data: Any
    server_time: datetime
    sent_at: datetime
    received_at: datetime

    def __repr__(self) -> str:
        return f"<Answer {self.status}>"


class Transport:
    """One platform's HTTP.

    `http` takes the place of the network (simulation); `now` is the local clock; in `meter` every attempt is counted.
    RuleBroken for a base URL that is not https and not loopback, UsageError for a proxy that none can be asked by.
    """

    def __init__(
        self,
        platform: str,
        base_url: str,
        *,
        auth: httpx.Auth | None = None,
        limits: Limits | None = None,
        http: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], datetime] = local_now,
        meter: Requests | None = None,
    ) -> None:
        self.platform = platform
        self.base_url = checked_base_url(base_url, platform)
        self._limits = limits or Limits()
        self.now = now
        self._meter = meter or Requests()
        self.pace = Pace(platform, self._limits, now, self._meter)
        self._http = http or Connections(
            _certificates(),
            connect_timeout=self._limits.connect_timeout,
            read_timeout=self._limits.read_timeout,
            proxy=_proxy(self.base_url, platform),
        )
        self._auth = auth or httpx.Auth()

    @property
    def silent_since(self) -> datetime | None:
        """Since when the platform has not answered, where nobody is let through because of that."""
        state = self.pace.state
        return state.silent_since if state.breaker != "closed" else None

    async def aclose(self) -> None:
        await self.pace.aclose()
        await self._http.aclose()

    async def request(
        self,
        call: Call,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        form: str | None = None,
        check: Check | None = None,
    ) -> Answer:
        """Sends `call` until it is answered, within the limits; `json` or `form` (already encoded) is its body.

        `check` tells what is wrong with the shape of the decoded answer, or None. Raises the PlatformError of the
        last attempt, with a verdict that fits the call: what is RETRY for a `safe` call is LOOK for another one that
        was sent. RuleBroken where the body cannot be written as JSON.
        """
        request = httpx.Request(
            call.method,
            self.base_url + call.path,
            params=params,
            content=_encoded(json, form, call),
            headers=_headers(json, form),
        )
        number = self.pace.new_request()
        try:
            async with self.pace.turn(call.name, number):
                return await self._attempt(call, request, check, first=True)
        except PlatformError as error:
            failed = error
        waits = _Waits(call, self._limits, self.pace)
        # stamina always yields once more or raises; `attempt` swallows what is to be repeated. It costs more than most
        # requests do, so that the first one goes without it: here its ending is told.
        async for attempt in stamina.retry_context(
            on=waits.before_next,
            attempts=self._limits.attempts,
            timeout=None,
            wait_initial=self._limits.wait_initial,
            wait_max=self._limits.wait_max,
            wait_jitter=self._limits.wait_jitter,
        ):
            with attempt:
                if attempt.num == 1:
                    raise failed
                async with self.pace.turn(call.name, number):
                    return await self._attempt(call, request, check, first=False)
        raise AssertionError("unreachable")

    async def _attempt(self, call: Call, request: httpx.Request, check: Check | None, *, first: bool) -> Answer:
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcome: int | str = "Cancelled"
        try:
            answer = await self._exchange(call, request, check, first)
            outcome = answer.status
            return answer
        except PlatformError as error:
            outcome = error.status if type(error).__name__ in _BY_STATUS and error.status else type(error).__name__
            raise
        finally:
            self._meter.attempted(call.name, outcome, loop.time() - started, again=not first)

    async def _exchange(self, call: Call, request: httpx.Request, check: Check | None, first: bool) -> Answer:
        sent_at = self.now()
        try:
            response = await self._sent(request)
        except _NOT_SENT as error:
            raise Unreachable(self.platform, call.name, f"no connection ({_why(error)})") from None
        except httpx.DecodingError:
            raise unreadable(self.platform, call, None, "a body that does not decompress") from None
        except httpx.HTTPError as error:
            raise judged(
                OutcomeUnknown(self.platform, call.name, f"sent, and no whole answer ({type(error).__name__})"), call
            ) from None
        received_at = self.now()
        server_time = http_date(response.headers.get("date"), received_at)
        if not first and call.method == "DELETE" and response.status_code == 404:
            return Answer(404, {}, server_time, sent_at, received_at)  # an earlier attempt of ours has deleted it
        if not response.is_success:
            wait = retry_after(response.headers.get("retry-after"), server_time)
            raise failure(self.platform, call, response.status_code, wait)
        return Answer(response.status_code, self._decoded(call, response, check), server_time, sent_at, received_at)

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        """As httpx's client sends it, which spends as long again on cookies and redirects that are not wanted here."""
        async with aclosing(self._auth.async_auth_flow(request)) as flow:
            request = await anext(flow)
            while True:
                response = await self._http.handle_async_request(request)
                await response.aread()
                try:
                    request = await flow.asend(response)
                except StopAsyncIteration:
                    return response

    def _decoded(self, call: Call, response: httpx.Response, check: Check | None) -> Any:
        content, status = response.content, response.status_code
        data: Any = None
        if content.strip():
            try:
                data = decode(content)
            except (ValueError, RecursionError):
                is_html = content.lstrip()[:1] == b"<" or "html" in response.headers.get("content-type", "")
                raise unreadable(
                    self.platform, call, status, "HTML where JSON belongs" if is_html else "broken JSON"
                ) from None
        fault = check(data) if check is not None else None
        if fault:
            raise unreadable(self.platform, call, status, fault)
        return data


_BY_STATUS = frozenset({"RateLimited", "ServerFailed", "TooLarge", "Rejected", "NotFound", "Denied"})


class _Waits:
    """Decides after each failed attempt whether and when the next one follows."""

    def __init__(self, call: Call, limits: Limits, pace: Pace) -> None:
        self._call, self._limits, self._pace = call, limits, pace
        self._waited = 0.0

    def before_next(self, error: Exception) -> bool | float:
        # An error of another call (a token) has had its own attempts.
        if not isinstance(error, PlatformError) or error.call != self._call.name or error.verdict is not Verdict.RETRY:
            return False
        if self._pace.gives_up():
            return False
        retry_after = getattr(error, "retry_after", None)
        if retry_after is None:
            return True
        self._waited += retry_after
        return self._waited <= self._limits.max_wait and max(retry_after, self._limits.wait_initial)


def checked_base_url(url: str, platform: str) -> str:
    """The URL without a trailing slash. RuleBroken: not http(s), plain http to anything but loopback, or with a user
    or query."""
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise RuleBroken(f"{platform}: the base URL is not a URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise RuleBroken(f"{platform}: the base URL must begin with https:// and name a host")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise RuleBroken(f"{platform}: the base URL must hold neither credentials nor a query")
    if parts.scheme == "http" and not _is_loopback(host):
        raise RuleBroken(f"{platform}: plain http is only for loopback; the base URL must begin with https://")
    return url.strip().rstrip("/")


def _encoded(json: object, form: str | None, call: Call) -> bytes | None:
    if form is not None:
        return form.encode()
    if json is None:
        return None
    try:
        return jsonlib.dumps(json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError):
        raise RuleBroken(f"{call.name}: the body cannot be written as JSON") from None


def _headers(json: object, form: str | None) -> dict[str, str]:
    if form is not None:
        return _ALWAYS | {"Content-Type": "application/x-www-form-urlencoded"}
    return _ALWAYS | {"Content-Type": "application/json"} if json is not None else _ALWAYS


def _proxy(base_url: str, platform: str) -> str | None:
    """What the environment names; no proxy leads to one's own machine. UsageError, which never quotes it: not a URL,
    or not of an HTTP proxy."""
    parts, proxies = urlsplit(base_url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None or _is_loopback(parts.hostname or "") or proxy_bypass(parts.hostname or ""):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        scheme, host = URL(proxy).scheme, URL(proxy).host
    except ValueError:
        scheme, host = "", None
    if scheme not in ("http", "https") or not host:
        named = "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY"
        raise UsageError(
            f"{platform}: the proxy in {named} must be an http:// or https:// URL",
            hint="percent-encode what is special in its password",
        )
    return proxy


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, httpx.ConnectError) else type(error).__name__
