"""Logs: masked, on one line, on standard error, whoever wrote them."""

from __future__ import annotations

import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from service import logs


@pytest.fixture(autouse=True)
def _restored():
    """Logging is one global thing: give it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("jane@example.com", "j***@example.com"),
        ("from <jane.doe+x@mail.example.co.uk>, to é@bücher.de", "from <j***@mail.example.co.uk>, to é***@bücher.de"),
        ("?email=jane%40example.com&page=2", "?email=j***@example.com&page=2"),
        ("o'brien@example.com", "o***@example.com"),
        ("{'email': 'jane@example.com'}", "{'email': 'j***@example.com'}"),
        ('"jane doe"@example.com', '"***@example.com'),
        ("jane@[10.0.0.1]", "j***@[10.0.0.1]"),
        ("j***@example.com", "j***@example.com"),
        ("nobody here, @ least", "nobody here, @ least"),
    ],
)
def test_mask_email(text: str, masked: str) -> None:
    assert logs.mask_email(text) == masked


@given(st.from_regex(r"[a-z][a-z0-9.+_-]{1,30}@[a-z]{1,10}\.[a-z]{2,4}", fullmatch=True), st.text(), st.text())
def test_no_email_survives_anywhere(email: str, before: str, after: str) -> None:
    assert email not in logs.mask_email(f"{before} {email} {after}")


def test_values_are_scrubbed_at_any_depth(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("json", "info", secrets=["s3cret-value"])
    structlog.get_logger("bridge").info(
        "pushed to jane@example.com",
        api_key="abc",
        person={"email": "jane@example.com", "tokens": ["s3cret-value is here"], "access_token": {"a": 1}},
        url="postgresql://user:pw@host/db",
        error=ValueError("jane@example.com is taken"),
        count=3,
    )
    [line] = lines(capsys)
    assert line["event"] == "pushed to j***@example.com"
    assert line["api_key"] == "***"
    assert line["person"] == {"email": "j***@example.com", "tokens": ["*** is here"], "access_token": "***"}
    assert line["url"] == "postgresql://***@host/db"
    assert line["error"] == "j***@example.com is taken"
    assert line["count"] == 3
    assert line["level"] == "info"
    assert line["logger"] == "bridge"
    assert str(line["timestamp"]).endswith("Z")


@pytest.mark.parametrize(
    "text",
    ["Authorization: Basic Zm9vOmJhcg==", "Bearer abcdefghijklmn", "client_secret=Zm9v&x=1", "'api_key': 'Zm9v'"],
)
def test_secrets_in_text_are_hidden(text: str) -> None:
    scrubbed = logs.Scrub().text(text)
    assert "***" in scrubbed
    assert not any(secret in scrubbed for secret in ("Zm9v", "abcdefghijklmn"))


def test_control_characters_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("console")
    structlog.get_logger().warning("name\n2026-01-01 [error] forged", name="\x1b[31mred\x07\u202e")
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert not set("\x1b\x07\u202e") & set(text)


def test_the_standard_library_goes_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("json")
    logging.getLogger("httpx").info("GET https://api.example.com/?email=jane@example.com")
    logging.getLogger("alembic.runtime").warning("%s failed", "jane@example.com")
    [line] = lines(capsys)
    assert (line["event"], line["logger"]) == ("j***@example.com failed", "alembic.runtime")


@pytest.mark.parametrize("format", ["console", "json"])
def test_exceptions_are_scrubbed(capsys: pytest.CaptureFixture[str], format: str) -> None:
    logs.setup(format, secrets=["s3cret-value"])
    try:
        raise ValueError("jane@example.com and s3cret-value")
    except ValueError:
        structlog.get_logger().exception("failed")
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert "j***@example.com and ***" in text
    assert "jane@" not in text


def test_level_and_repeated_setup(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("json", "debug")
    logs.setup("json", "warning")
    structlog.get_logger().info("unheard")
    structlog.get_logger().warning("heard")
    assert [line["event"] for line in lines(capsys)] == ["heard"]
