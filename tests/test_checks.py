"""`contact-bridge check` against both emulated platforms, over HTTP."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service import checks
from service.cli.main import cli
from service.sandbox import Sandbox

Lines = dict[str, dict[str, Any]]
SECRETS = ("sandbox-api-key", "sandbox-client-secret")


@pytest.fixture
def sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    """The folder is empty and there is no database."""
    monkeypatch.chdir(tmp_path)
    return sandbox


@pytest.fixture
def ready(sandbox: Sandbox) -> Sandbox:
    """After `setup`, so that only what a test breaks is wrong."""
    invoke("setup")
    return sandbox


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def check(expected: int) -> Lines:
    """The lines by name, and the exit code as expected. None of them tells a secret."""
    result = invoke("check", "--format", "json")
    assert result.exit_code == expected, result.output
    assert not any(secret in result.output for secret in SECRETS)
    found = json.loads(result.stdout)
    assert all(list(line) == ["check", "ok", "detail", "next"] for line in found)
    assert all(line["next"] for line in found if line["ok"] is False), "each failure says what to do"
    lines = {line["check"]: line for line in found}
    assert len(lines) == len(found)
    return lines


def failed(lines: Lines) -> list[str]:
    return [name for name, line in lines.items() if line["ok"] is False]


def unknown(lines: Lines) -> list[str]:
    return [name for name, line in lines.items() if line["ok"] is None]


def test_all_is_well(ready: Sandbox, tmp_path: Path) -> None:
    mark = ready.journal.mark()
    lines = check(0)
    assert all(line["ok"] for line in lines.values())
    assert "will be created" in lines["database"]["detail"]
    assert "sandbox" in lines["onvoard TLS"]["detail"]
    assert "may not list contacts" in lines["digital_onboarding contact list"]["detail"]
    assert not list(tmp_path.iterdir()), "it creates no database"
    assert ready.journal.writes(mark) == [], "it reads only"
    assert ready.journal.counts(mark)["tokens"] == 1


def test_one_line_per_check(sandbox: Sandbox) -> None:
    lines = check(1)
    result = invoke("check")
    assert result.exit_code == 1
    shown = result.stdout.splitlines()
    assert [line.split()[0] for line in shown[: len(lines)]].count("FAIL") == 1
    assert [line for line in shown if line.startswith("FAIL") and line.endswith("next: contact-bridge setup")]
    assert shown[-1] == f"1 of {len(lines)} checks failed."


def test_before_setup(sandbox: Sandbox) -> None:
    lines = check(1)
    assert failed(lines) == ["onvoard schema"]
    assert "23 of 23 parts are missing" in lines["onvoard schema"]["detail"]
    assert lines["onvoard schema"]["next"] == "contact-bridge setup"
    assert sandbox.journal.writes() == []


def test_a_schema_that_cannot_be_repaired(ready: Sandbox) -> None:
    for each in ready.onvoard.contact_property_types.values():
        if each.key == "custom_digital_onboarding_unique_id":
            each.value_type = "NUMBER"
    lines = check(1)
    assert failed(lines) == ["onvoard schema"]
    assert "has value type NUMBER" in lines["onvoard schema"]["detail"]


def test_a_wrong_api_key(ready: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_ONVOARD__API_KEY", "another")
    lines = check(1)
    assert failed(lines) == ["onvoard credentials"]
    assert unknown(lines) == ["onvoard schema", "onvoard webhook"]
    assert lines["onvoard credentials"]["next"] == "check BRIDGE_ONVOARD__API_KEY"
    assert lines["onvoard reachable"]["ok"]


def test_a_wrong_client_secret(ready: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("sync")  # leaves a token that is good for hours: the secret is tried all the same
    monkeypatch.setenv("BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET", "another")
    lines = check(1)
    assert failed(lines) == ["digital_onboarding credentials"]
    assert "POST /oauth2/token answered 401" in lines["digital_onboarding credentials"]["detail"]
    assert lines["digital_onboarding reachable"]["ok"]
    assert lines["onvoard schema"]["ok"]


def test_a_token_without_the_right(ready: Sandbox) -> None:
    ready.fail("digital_onboarding", "status", path="/v1/templates", status=403, times=None)
    lines = check(1)
    assert failed(lines) == ["digital_onboarding templates"]
    assert lines["digital_onboarding objectives"]["ok"]


@pytest.mark.parametrize("refresh", ["probe", "list"])
@pytest.mark.parametrize("able", [True, False])
def test_the_undocumented_list(ready: Sandbox, monkeypatch: pytest.MonkeyPatch, refresh: str, able: bool) -> None:
    monkeypatch.setenv("BRIDGE_DIGITAL_ONBOARDING__REFRESH", refresh)
    ready.digital_onboarding.settings.listing = able
    needed = refresh == "list" and not able
    lines = check(1 if needed else 0)
    assert failed(lines) == (["digital_onboarding contact list"] if needed else [])
    assert ready.journal.writes(platform="digital_onboarding") == [], "a probe is a write"


def test_platforms_that_are_down(sandbox: Sandbox) -> None:
    sandbox.stop()
    lines = check(1)
    assert failed(lines) == ["onvoard reachable", "digital_onboarding reachable"]
    assert "GET /v2/contacts" in lines["onvoard reachable"]["detail"]
    assert lines["database"]["ok"]


@pytest.mark.parametrize("status, body", [(502, "<html>Bad gateway</html>"), (200, "<html>Hello</html>"), (404, "no")])
def test_something_else_answers(ready: Sandbox, status: int, body: str) -> None:
    ready.fail("onvoard", "status", status=status, body=body, times=None)
    lines = check(1)
    assert failed(lines) == ["onvoard credentials"]
    assert "BRIDGE_ONVOARD__BASE_URL" in lines["onvoard credentials"]["next"]


def test_a_database_that_is_not_migrated(ready: Sandbox, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", database_url)
    lines = check(1)
    assert failed(lines) == ["database"]
    assert lines["database"]["next"] == "contact-bridge db upgrade"
    assert lines["onvoard schema"]["ok"]


def test_a_database_that_cannot_be_reached(ready: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", "postgresql://bridge:hunter2@127.0.0.1:1/bridge")
    lines = check(1)
    assert failed(lines) == ["database"]
    assert "hunter2" not in str(lines)


def test_the_account_of_the_mirror(ready: Sandbox, monkeypatch: pytest.MonkeyPatch, mirror_url: str) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", mirror_url)
    assert check(0)["onvoard account of the mirror"]["detail"] == "none yet"
    assert check(0)["onvoard account of the mirror"]["detail"] == "none yet", "it claims nothing"
    assert invoke("setup").exit_code == 0  # claims, as any cycle does
    assert ready.onvoard_url in check(0)["onvoard account of the mirror"]["detail"]
    monkeypatch.setenv("BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID", "someone-else")
    lines = check(1)
    assert failed(lines) == ["digital_onboarding account of the mirror", "digital_onboarding credentials"]
    assert "its credentials differ" in lines["digital_onboarding account of the mirror"]["detail"]


def test_missing_credentials_are_all_named(ready: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID")
    monkeypatch.delenv("BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET")
    lines = check(2)
    assert failed(lines) == ["settings digital_onboarding.client_id", "settings digital_onboarding.client_secret"]
    assert "BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID" in lines["settings digital_onboarding.client_id"]["next"]
    assert lines["onvoard schema"]["ok"], "the other platform is checked all the same"


def test_wrong_settings_are_reported_as_ever(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_LIMITS__MAX_WIAT", "1s")
    result = invoke("check")
    assert result.exit_code == 2
    assert "MAX_WAIT" in result.stderr
    assert result.stdout == ""


def test_a_mapping_that_means_nothing(ready: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text('[[fields]]\nname = "city"\nonvoard = "properties.city"\nkind = "town"\n')
    monkeypatch.setenv("BRIDGE_PATHS__MAPPING", str(path))
    lines = check(2)
    assert failed(lines) == ["mapping"]
    assert "digital_onboarding is missing" in lines["mapping"]["detail"]
    assert str(path) in lines["mapping"]["detail"]


def test_a_mapping_of_a_property_that_does_not_exist(
    ready: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "mapping.toml"
    rule = 'name = "county"\nonvoard = "properties.custom_county"\ndigital_onboarding = "county"\n'
    path.write_text("[[fields]]\n" + rule)
    monkeypatch.setenv("BRIDGE_PATHS__MAPPING", str(path))
    lines = check(1)
    assert failed(lines) == ["onvoard schema"]
    assert "custom_county" in lines["onvoard schema"]["detail"]


def test_the_webhook(ready: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_WEB__PUBLIC_URL", "https://bridge.example.com")
    note = check(0)["onvoard webhook"]
    assert note["ok"] and "BRIDGE_ONVOARD__WEBHOOK_SECRET" in note["next"], "a note is no failure"
    monkeypatch.setenv("BRIDGE_ONVOARD__WEBHOOK_SECRET", "hook-secret")
    lines = check(1)
    assert (failed(lines), lines["onvoard webhook"]["next"]) == (["onvoard webhook"], "contact-bridge setup")
    invoke("setup")
    assert "switched on" in check(0)["onvoard webhook"]["detail"]
    [hook] = ready.onvoard.webhooks.values()
    hook.active = False
    assert "switched off" in check(1)["onvoard webhook"]["detail"]
    hook.active, hook.event_types = True, hook.event_types[1:]
    assert "without contact.created" in check(1)["onvoard webhook"]["detail"]
    invoke("setup")
    ready.onvoard.webhooks["wh_2"] = replace(hook, id="wh_2")
    assert "1 more at this address" in check(1)["onvoard webhook"]["detail"]
    invoke("setup")
    assert "setup --renew-secret" in check(0)["onvoard webhook"]["detail"]


def test_a_webhook_over_plain_http_and_one_at_a_former_address_are_noted(
    ready: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_ONVOARD__WEBHOOK_SECRET", "hook-secret")
    former = "http://127.0.0.1:8080/webhooks/onvoard is not at BRIDGE_WEB__PUBLIC_URL"
    for address, advice in (
        ("http://127.0.0.1:8080", ""),
        ("http://bridge.example.com", f"set BRIDGE_WEB__PUBLIC_URL to an https address; {former}"),
    ):
        monkeypatch.setenv("BRIDGE_WEB__PUBLIC_URL", address)
        invoke("setup")
        assert check(0)["onvoard webhook"]["next"].partition(": remove it on OnVoard")[0] == advice


def test_texts_that_somebody_changed_are_counted_and_no_failure(ready: Sandbox) -> None:
    for each in ready.onvoard.activity_types.values():
        each.descriptor_template += ", as we like it"
    assert "4 with texts changed on OnVoard" in check(0)["onvoard schema"]["detail"]


def test_what_somebody_has_deleted_is_missing(ready: Sandbox) -> None:
    ready.onvoard.activity_types.clear()
    lines = check(1)
    assert failed(lines) == ["onvoard schema"]
    assert "4 of 23 parts are missing, the first: activity type custom." in lines["onvoard schema"]["detail"]


@contextmanager
def self_signed(folder: Path) -> Iterator[str]:
    """The address of an https server whose certificate nobody has signed."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_certificate_that_nobody_trusts(
    ready: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with self_signed(tmp_path_factory.mktemp("tls")) as address:
        monkeypatch.setenv("BRIDGE_ONVOARD__BASE_URL", address)
        lines = check(1)
    assert failed(lines) == ["onvoard TLS"]
    assert "certificate verify failed" in lines["onvoard TLS"]["detail"]
    assert "SSL_CERT_FILE" in lines["onvoard TLS"]["next"]


def test_https_where_only_http_is_spoken(ready: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_ONVOARD__BASE_URL", ready.onvoard_url.replace("http:", "https:"))
    assert failed(check(1)) == ["onvoard TLS"]


def test_a_key_that_no_header_can_hold(ready: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_ONVOARD__API_KEY", "two words")
    assert failed(check(2)) == ["onvoard credentials"]


def test_notes_do_not_fail() -> None:
    assert checks.exit_code([checks.Check("a", True, "", "advice"), checks.Check("b", None, "")]) == 0
    assert checks.exit_code([checks.Check("a", False, ""), checks.Check("b", False, "", exit_code=2)]) == 2
