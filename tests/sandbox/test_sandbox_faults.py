"""Faults, journal, clock and the admin calls of the sandbox."""

from __future__ import annotations

import dataclasses
import email.utils
import time
from typing import Any

import httpx
import pytest

from service.sandbox import Sandbox

CONTACTS = "/v2/contacts"


def add(client: httpx.Client, email: str = "a@example.com") -> httpx.Response:
    return client.post(CONTACTS, json={"email": email})


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (None, "application/json", '{"error": "sandbox fault"}'),
        ({"detail": "x"}, "application/json", '{"detail": "x"}'),
        ("<h1>Bad Gateway</h1>", "text/html", "<h1>Bad Gateway</h1>"),
        ("", "application/json", ""),
    ],
)
def test_a_status_with_a_body(sandbox: Sandbox, onvoard: httpx.Client, body: Any, content_type: str, text: str) -> None:
    sandbox.fail("onvoard", "status", status=502, body=body)
    answer = onvoard.get(CONTACTS)
    assert (answer.status_code, answer.text) == (502, text)
    assert answer.headers["Content-Type"].startswith(content_type) and answer.headers["Date"]
    assert onvoard.get(CONTACTS).status_code == 200


def test_a_fault_keeps_to_its_route_platform_and_count(
    sandbox: Sandbox, onvoard: httpx.Client, digital_onboarding: httpx.Client
) -> None:
    sandbox.fail("onvoard", "status", method="post", path="/v2/contacts*", times=2, skip=1)
    assert onvoard.get(CONTACTS).status_code == 200
    assert digital_onboarding.post("/v1/contacts", json={}).status_code == 200
    assert [add(onvoard, f"{n}@example.com").status_code for n in range(4)] == [201, 500, 500, 201]
    assert sandbox.faults() == []


def test_a_fault_may_be_permanent_random_or_for_one_record(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    sandbox.fail("onvoard", "status", body_contains="poïson", times=None)
    assert [add(onvoard, f"{name}@example.com").status_code for name in ("poïson", "ok", "poïson")] == [500, 201, 500]
    sandbox.clear_faults()
    sandbox.fail("onvoard", "status", probability=0.5, times=None)
    statuses = {onvoard.get(CONTACTS).status_code for _ in range(40)}
    assert statuses == {200, 500}


@pytest.mark.parametrize(("kind", "exists"), [("reset_before", False), ("reset_after", True)])
def test_a_reset_before_or_after_the_effect(sandbox: Sandbox, onvoard: httpx.Client, kind: Any, exists: bool) -> None:
    sandbox.fail("onvoard", kind)
    with pytest.raises(httpx.ReadError):
        add(onvoard)
    assert bool(sandbox.onvoard.contact_list()) is exists
    entry = sandbox.journal.writes()[-1]
    assert (entry.status, entry.took_effect, entry.fault) == (0, exists, kind)
    assert onvoard.get(CONTACTS).status_code == 200


def test_a_status_after_the_effect(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    sandbox.fail("onvoard", "status", status=503, after_effect=True)
    assert add(onvoard).status_code == 503
    assert len(sandbox.onvoard.contact_list()) == 1


def test_truncated_and_malformed_bodies(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    add(onvoard)
    sandbox.fail("onvoard", "truncate")
    with pytest.raises(httpx.RemoteProtocolError):
        onvoard.get(CONTACTS)
    sandbox.fail("onvoard", "malformed")
    with pytest.raises(ValueError):
        onvoard.get(CONTACTS).json()
    assert len(onvoard.get(CONTACTS).json()["results"]) == 1


def test_rate_limits_in_seconds_and_as_a_date(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    sandbox.fail("onvoard", "rate_limit", retry_after=2)
    answer = onvoard.get(CONTACTS)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
    sandbox.fail("onvoard", "rate_limit", retry_after=60, retry_after_as="date")
    headers = onvoard.get(CONTACTS).headers
    wait = email.utils.parsedate_to_datetime(headers["Retry-After"]) - email.utils.parsedate_to_datetime(
        headers["Date"]
    )
    assert 59 <= wait.total_seconds() <= 61


def test_a_delay_lets_others_pass_and_takes_effect(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    sandbox.fail("onvoard", "delay", seconds=2, method="POST", after_effect=True)
    with pytest.raises(httpx.ReadTimeout):
        onvoard.post(CONTACTS, json={"email": "a@example.com"}, timeout=0.05)
    begun = time.monotonic()
    assert len(onvoard.get(CONTACTS).json()["results"]) == 1
    assert time.monotonic() - begun < 1.5  # not behind the delay


def test_an_unknown_fault_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="explode"):
        sandbox.fail("onvoard", "explode")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        sandbox.fail("onvoard", "status", colour="red")


def test_the_journal_tells_writes_since_a_mark(
    sandbox: Sandbox, onvoard: httpx.Client, digital_onboarding: httpx.Client
) -> None:
    add(onvoard, "before@example.com")
    mark = sandbox.journal.mark()
    assert sandbox.journal.writes(mark) == []
    onvoard.get(CONTACTS, params={"page": 1})
    add(onvoard)
    digital_onboarding.post("/v1/contacts", json={"unique_id": "1"})
    writes = sandbox.journal.writes(mark)
    assert [(each.platform, each.method, each.path, each.status) for each in writes] == [
        ("onvoard", "POST", "/v2/contacts", 201),
        ("digital_onboarding", "POST", "/v1/contacts", 200),
    ]
    assert writes[1].body == {"unique_id": "1"}
    assert sandbox.journal.counts(mark) == {"reads": 1, "writes": 2, "tokens": 0, "total": 3}
    assert sandbox.journal.writes(mark, "digital_onboarding") == writes[1:]
    assert sandbox.journal.entries(mark)[0].query == {"page": "1"}


def test_everything_can_be_switched_by_admin_calls(sandbox: Sandbox) -> None:
    with httpx.Client(base_url=sandbox.onvoard_url) as admin:
        assert admin.get("/_sandbox/health").json() == {"platform": "onvoard"}
        made = admin.post("/_sandbox/faults", json={"kind": "status", "status": 418, "path": "/v2/*"}).json()
        assert [each["id"] for each in admin.get("/_sandbox/faults").json()["faults"]] == [made["id"]]
        mark = admin.get("/_sandbox/journal").json()["mark"]
        assert admin.get(CONTACTS).status_code == 418
        entries = admin.get("/_sandbox/journal", params={"since": mark}).json()["entries"]
        assert [(each["path"], each["status"]) for each in entries] == [(CONTACTS, 418)]
        admin.post("/_sandbox/faults", json={"kind": "status", "times": None})
        assert admin.delete("/_sandbox/faults").json() == {"faults": []}
        assert admin.patch("/_sandbox/settings", json={"past_end": "404"}).json()["past_end"] == "404"
        assert admin.patch("/_sandbox/settings", json={"colour": 1}).status_code == 400
        assert sandbox.onvoard.settings.past_end == "404"
        before = sandbox.clock.now()
        admin.post("/_sandbox/clock", json={"advance": 3600})
        assert (sandbox.clock.now() - before).total_seconds() >= 3600
        call = {"method": "add_contact", "args": ["a@example.com"], "kwargs": {"at": "2026-01-01T00:00:00Z"}}
        shown = admin.post("/_sandbox/console", json=call).json()["result"]
        assert shown["created_datetime"] == "2026-01-01T00:00:00.000000Z"
        assert admin.post("/_sandbox/console", json={"method": "install"}).status_code == 400
        assert admin.get("/_sandbox/nothing").status_code == 404


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"kind": "explode"},
        {"kind": "call"},
        {"kind": "status", "status": 99},
        {"kind": "status", "times": "3"},
        {"kind": "status", "skip": True},
        {"kind": "status", "method": None},
        {"kind": "delay", "seconds": "long"},
        {"kind": "rate_limit", "retry_after": 1, "retry_after_as": "minutes"},
        {"kind": "status", "action": "x"},
        {"kind": "status", "platform": "digital_onboarding"},
        {"kind": "status", "colour": "red"},
    ],
)
def test_an_admin_call_refuses_a_fault_that_could_not_strike(
    sandbox: Sandbox, onvoard: httpx.Client, fault: dict[str, Any]
) -> None:
    assert onvoard.post("/_sandbox/faults", json=fault).status_code == 400
    assert sandbox.faults() == []
    assert onvoard.get(CONTACTS).status_code == 200


def test_numbers_of_a_fault_may_be_whole_or_null(sandbox: Sandbox, onvoard: httpx.Client) -> None:
    fault = {"kind": "delay", "seconds": 0, "probability": 1, "times": None, "retry_after": None}
    assert onvoard.post("/_sandbox/faults", json=fault).status_code == 200
    assert len(sandbox.faults()) == 1


@pytest.mark.parametrize("change", [{"past_end": "nonsense"}, {"webhook_timeout": "long"}, {"created_status": "200"}])
def test_an_admin_call_refuses_a_setting_of_the_wrong_type(sandbox: Sandbox, change: dict[str, Any]) -> None:
    before = dataclasses.asdict(sandbox.onvoard.settings)
    answer = httpx.patch(f"{sandbox.onvoard_url}/_sandbox/settings", json={"lists_write": "append", **change})
    assert answer.status_code == 400
    assert next(iter(change)) in answer.json()["detail"]
    assert dataclasses.asdict(sandbox.onvoard.settings) == before


def test_the_console_tells_what_it_can_do(sandbox: Sandbox) -> None:
    for url, name in ((sandbox.onvoard_url, "edit_contact"), (sandbox.digital_onboarding_url, "configure_webhook")):
        methods = httpx.get(f"{url}/_sandbox/console").json()["methods"]
        assert methods[name].startswith("(")
        assert all(" " in each for each in methods.values())


def test_it_starts_at_once_and_on_given_ports() -> None:
    begun = time.monotonic()
    with Sandbox() as first:
        assert time.monotonic() - begun < 4
        port = int(first.onvoard_url.rsplit(":", 1)[1])
        with pytest.raises(OSError):
            Sandbox(onvoard_port=port).start()
    with Sandbox(onvoard_port=port) as second:
        assert second.environment()["BRIDGE_ONVOARD__BASE_URL"] == f"http://127.0.0.1:{port}"
        assert len(second.environment()) == 5
