"""What reaches a terminal, in each format."""

from __future__ import annotations

import csv
import io
import json
import sys
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import click
import pytest

from service.cli import output
from service.text import clean

EVIL = "a\x1b[31mred\x07\x7f\x9b2J\n\u202etxt.exe[bold]b[/bold]"
COLUMNS = ("id", "name")
ROWS = [(1, EVIL), (2, None)]


def harmless(text: str) -> bool:
    return all(unicodedata.category(char) not in ("Cc", "Cs") and char != "\u202e" for char in text if char != "\n")


@pytest.mark.parametrize("output_format", ["table", "json", "csv"])
def test_no_control_characters_in_any_format(output_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows(COLUMNS, ROWS, output_format)
    assert harmless(capsys.readouterr().out)


def test_json_gives_the_text_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows(COLUMNS, ROWS, "json")
    assert json.loads(capsys.readouterr().out) == [{"id": 1, "name": EVIL}, {"id": 2, "name": None}]


def test_json_of_nothing_is_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows(COLUMNS, [], "json")
    assert json.loads(capsys.readouterr().out) == []


def test_csv_has_one_line_per_row_and_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_rows(COLUMNS, [(1, 'say "x", y'), (2, {"a": [True, None]})], "csv")
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [["id", "name"], ["1", 'say "x", y'], ["2", '{"a": [true, null]}']]


def test_a_piped_table_is_plain_one_line_per_row_and_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_table(COLUMNS, [(1, "x" * 300), (2, "[bold]y[/bold]")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["id  name", "1   " + "x" * 300, "2   [bold]y[/bold]"]


@pytest.mark.parametrize("columns", [2, 12])
def test_a_terminal_is_never_overrun(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True, raising=False)
    output.write_table([f"column{n}" for n in range(columns)], [["word " * 12 + "end"] * columns])
    text = click.unstyle(capsys.readouterr().out)
    assert max(map(len, text.splitlines())) <= 40
    assert text.count("end") == columns


def test_values_are_spelled_the_same_everywhere() -> None:
    moment = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    assert output.plain(moment) == "2026-01-31T09:30:00.000000Z"
    assert output.plain(moment.astimezone(timezone(timedelta(hours=2)))) == "2026-01-31T09:30:00.000000Z"
    assert output.as_text(moment) == "2026-01-31T09:30:00Z"
    assert output.plain([Decimal("4.50"), Decimal("4"), float("nan"), True]) == [4.5, 4, None, True]
    assert output.as_text(True) == "true"
    assert output.as_text(None) == ""


def test_cleaned_text_loses_nothing_else() -> None:
    assert clean("Zoë 日本 👩‍👧 o'Neil\t") == "Zoë 日本 👩‍👧 o'Neil\\t"
