"""A Digital Onboarding export: good rows, bad rows with the line on which they begin, and files that are none."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import UsageError
from service.extract.export_csv import FIELDS, BadRow, Contact, read

HEADER = "unique_id,email,name_first\n"


def rows(text: str) -> list[Contact | BadRow]:
    return list(read(io.StringIO(text, newline="")))


def one(text: str) -> Contact:
    [row] = rows(text)
    assert isinstance(row, Contact), row
    return row


def bad(text: str) -> BadRow:
    [row] = rows(text)
    assert isinstance(row, BadRow), row
    return row


def told(text: str) -> list[tuple[int, str]]:
    """(line, unique_id), "bad" in place of one that does not parse."""
    return [(row.line, row.unique_id if isinstance(row, Contact) else "bad") for row in rows(text)]


# What is in a row


def test_every_documented_field():
    header = sorted(FIELDS)
    values = {name: name for name in header} | {
        "email": " a@x.de ", "unsubscribe_email": "TRUE", "unsubscribe_sms": "", "meta_public": '{"a": [1, "ü"]}',
        "inserted_at": "2026-01-31T10:00:00Z", "updated_at": "2026-01-31 10:00:00.5+02:00",
    }  # fmt: skip
    text = io.StringIO()
    csv.writer(text).writerows([header, [values[name] for name in header]])
    contact = one(text.getvalue())
    assert contact.values == values | {
        "email": "a@x.de", "unsubscribe_email": True, "unsubscribe_sms": None, "meta_public": {"a": [1, "ü"]},
        "inserted_at": datetime(2026, 1, 31, 10, tzinfo=UTC),
        "updated_at": datetime(2026, 1, 31, 8, 0, 0, 500_000, tzinfo=UTC),
    }  # fmt: skip
    assert contact.completions == {}
    assert (contact.line, contact.unique_id) == (2, "unique_id")


def test_a_column_that_the_file_does_not_have_is_not_in_the_values():
    assert one("email\na@x.de\n").values == {"email": "a@x.de", "unique_id": "a@x.de"}


def test_the_unique_id_defaults_to_the_email():
    assert one(HEADER + ",a@x.de,Ann\n").unique_id == "a@x.de"
    assert one(HEADER + "u1,,Ann\n").values["email"] == ""


@pytest.mark.parametrize("word", ["true", "T", "1", "Yes", "y", "complete", "Completed", "DONE"])
def test_a_completion_without_a_time(word):
    assert one(f"unique_id,direct-deposit\nu1,{word}\n").completions == {"direct-deposit": None}


@pytest.mark.parametrize("time", ["2019-09-23T00:00:00+0000", "2019-09-23T00:00Z", "2019-09-23", "2019-09-23T02+02"])
def test_a_completion_with_its_time(time):
    completions = one(f"unique_id,direct-deposit\nu1,{time}\n").completions
    assert completions == {"direct-deposit": datetime(2019, 9, 23, tzinfo=UTC)}


@pytest.mark.parametrize("word", ["", " ", "false", "F", "no", "n", "0"])
def test_no_completion(word):
    assert one(f"unique_id,direct-deposit\nu1,{word}\n").completions == {}


def test_a_time_without_a_zone_is_utc():
    assert one("unique_id,updated_at\nu1,2026-01-31T10:00:00\n").values["updated_at"].tzinfo is UTC


@pytest.mark.parametrize(
    ("header", "row", "reason"),
    [
        ("unique_id,email", "u1", "1 values for 2 columns"),
        ("unique_id,email", "u1,a@x.de,more", "3 values for 2 columns"),
        ("unique_id,email", "u1,nobody", "email"),
        ("unique_id,email", " ,", "neither unique_id nor email"),
        ("unique_id,unsubscribe_email", "u1,maybe", "unsubscribe_email"),
        ("unique_id,updated_at", "u1,yesterday", "updated_at"),
        ("unique_id,updated_at", "u1,2026-02-30", "updated_at"),
        ("unique_id,updated_at", "u1,0001-01-01T00:00:00+14:00", "updated_at"),
        ("unique_id,direct-deposit", "u1,perhaps", "direct-deposit"),
        ("unique_id,direct-deposit", "u1,9999-12-31T23:59:59-14:00", "direct-deposit"),
        ("unique_id,meta_public", "u1,{", "meta_public"),
        ("unique_id,meta_public", "u1,[]", "meta_public"),
        ("unique_id,meta_public", 'u1,"{""a"": NaN}"', "meta_public"),
        ("unique_id,meta_public", 'u1,"{""a"": -Infinity}"', "meta_public"),
        ("unique_id,meta_public", 'u1,"{""a"": ""\\ud800""}"', "meta_public"),
        ("unique_id,meta_public", 'u1,"{""a"": 1e999}"', "meta_public"),
        ("unique_id,meta_public", 'u1,"{""a"": ' + "[" * 100_000 + '}"', "meta_public"),
        ("unique_id,name_first", "u1,A\x00n", "NUL"),
        ("unique_id,email", 'u1,"a@x.de"x', "not CSV"),
    ],
)  # fmt: skip
def test_a_bad_row_says_what_is_wrong(header, row, reason):
    found = bad(f"{header}\n{row}\n")
    assert reason in found.reason
    assert found.line == 2


# On which line


def test_lines_are_counted_through_quoted_newlines_and_blank_lines():
    text = 'unique_id,email,address\nu1,a@x.de,"1 Main St\n\nApt 2"\n\nu2,nobody,"x\ny"\nu3,c@x.de,z\n'
    assert told(text) == [(2, "u1"), (6, "bad"), (8, "u3")]


def test_a_header_may_take_two_lines():
    assert told('unique_id,"a\nb",email\nu1,,a@x.de\n') == [(3, "u1")]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end(newline, tmp_path: Path):
    """Read as the command reads it."""
    file = tmp_path / "export.csv"
    file.write_bytes(newline.join(["unique_id,address", 'u1,"a', 'b"', "u2", "u3,c", ""]).encode())
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        assert [(row.line, isinstance(row, Contact)) for row in read(lines)] == [(2, True), (4, False), (5, True)]


def test_the_last_line_needs_no_end():
    assert told(HEADER + "u1,a@x.de,Ann\nu2,b@x.de,Bo") == [(2, "u1"), (3, "u2")]


def test_the_same_contact_twice_is_told_twice():
    assert told(HEADER + "u1,a@x.de,Ann\nu1,a@x.de,Anna\n") == [(2, "u1"), (3, "u1")]


# Quotes that are not closed


GOOD = ["u2,b@x.de,Bo", "u3,c@x.de,Cy", "u4,d@x.de,Di"]


@pytest.mark.parametrize(
    "others",
    [
        GOOD,  # nothing closes it: it would run to the end of the file
        ["u2,b@x.de,Bo", 'u3,"c@x.de",Cy', "u4,d@x.de,Di"],  # the next quote is the beginning of another
        ["u2,b@x.de,Bo", 'u3,c@x.de,"Cy"', 'u4,d@x.de,"Di"'],
        ['u2,b@x.de,""', 'u3,c@x.de,"Cy ""the"" One"', "u4,d@x.de,Di"],
        ['u2,b@x.de,"Bo', 'u3,c@x.de,"Cy', "u4,d@x.de,Di"],  # two more of the kind
    ],
)
@pytest.mark.parametrize("begun", ['u1,a@x.de,"Ann', 'u1,"a@x.de,Ann', '"u1,a@x.de,Ann'])
def test_an_unclosed_quote_swallows_no_good_row(begun, others):
    found = told(HEADER + "\n".join([begun, *others]) + "\n")
    assert found[0] == (2, "bad")
    expected = [(n, f"u{n - 1}") for n, line in enumerate(others, start=3) if line.count('"') % 2 == 0]
    assert [entry for entry in found if entry[1] != "bad"] == expected
    assert [line for line, _ in found] == [2, 3, 4, 5]


def test_an_unclosed_quote_ahead_of_a_long_file():
    """Longer than the longest field that the csv module takes."""
    good = [f"u{n},p{n}@x.de,{'x' * 100}" for n in range(3, 4003)]
    found = told(HEADER + 'u2,a@x.de,"Ann\n' + "\n".join(good))
    assert found == [(2, "bad"), *((n, f"u{n}") for n in range(3, 4003))]


def test_many_unclosed_quotes_take_no_time():
    found = told(HEADER + 'u2,a@x.de,"Ann\nu3,b@x.de,Bo\n' * 2000)
    assert found == [(n, "bad" if n % 2 == 0 else "u3") for n in range(2, 4002)]


# Bytes


def lines_of(content: bytes, tmp_path: Path) -> list[Contact | BadRow]:
    """As the command opens it."""
    file = tmp_path / "export.csv"
    file.write_bytes(content)
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        return list(read(lines))


def test_bytes_that_are_not_utf_8_spoil_their_row_alone(tmp_path):
    found = lines_of(HEADER.encode() + b"u1,a@x.de,J\xfcrgen\nu2,b@x.de,J\xc3\xbcrgen\n", tmp_path)
    assert found[0] == BadRow(2, "not UTF-8")
    assert isinstance(found[1], Contact)
    assert found[1].values["name_first"] == "Jürgen"


def test_bytes_that_are_not_utf_8_spoil_a_header(tmp_path):
    with pytest.raises(UsageError, match="UTF-8"):
        lines_of(b"unique_id,erledigt-f\xfcr\nu1,true\n", tmp_path)


@pytest.mark.parametrize("header", [b"unique_id,email", b'"unique_id","email"'])
def test_a_byte_order_mark_is_no_part_of_the_first_name(header, tmp_path):
    [contact] = lines_of(b"\xef\xbb\xbf" + header + b"\nu1,a@x.de\n", tmp_path)
    assert contact.unique_id == "u1"


@pytest.mark.parametrize("header", ["unique_id,email", '"unique_id","email"'])
def test_nor_where_the_file_was_opened_without_care(header):
    assert one(f"\ufeff{header}\nu1,a@x.de\n").values == {"unique_id": "u1", "email": "a@x.de"}


# What is no export


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty"),
        ("\n", "neither unique_id nor email"),
        ("name,phone\nAnn,1\n", "neither unique_id nor email"),
        ("email,city,email,city\na@x.de,,,\n", "city, email"),
        ('"unique_id,email\nu1,a@x.de\n', "not CSV"),
        ("\x00\x01\x02", "neither"),
    ],
)
def test_a_file_that_is_no_export(text, what):
    with pytest.raises(UsageError, match=what):
        rows(text)


def test_a_header_alone_is_an_export_of_nobody():
    assert rows(HEADER) == []


# Anything at all


cells = st.sampled_from(
    ["u1", "a@x.de", "", " ", "x\ny", 'say "hi"', "1,5", "true", "2026-01-31", "{}", "\r", "ü", "maybe"]
)
HEAD = ["unique_id", "email", "address", "unsubscribe_sms", "direct-deposit"]


@given(st.lists(st.lists(cells, min_size=4, max_size=6), max_size=8))
def test_what_a_writer_wrote_is_read_row_for_row(table):
    """Every row is told, good or bad, with its own line, and with its own values."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEAD)
    begins = []
    for row in table:
        begins.append(len(list(io.StringIO(text.getvalue(), newline=""))) + 1)
        writer.writerow(row)
    found = rows(text.getvalue())
    assert len(found) == len(table)
    for told_, row, line in zip(found, table, begins, strict=True):
        assert told_.line == line
        if isinstance(told_, Contact):
            assert told_.values["address"] == row[2].strip()
            assert told_.unique_id == (row[0].strip() or row[1].strip())


@given(st.text(alphabet='u1@a.,"\n\r \x00\udcfftrue{}', max_size=60))
def test_no_text_breaks_it(text):
    found = rows("unique_id,email,meta_public,updated_at,x\n" + text)
    lines = [row.line for row in found]
    assert lines == sorted(set(lines))


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))])))
def test_a_time_is_taken_over_or_refused(moment):
    [row] = rows(f"unique_id,updated_at\nu1,{moment.isoformat()}\n")
    if isinstance(row, Contact):
        assert row.values["updated_at"] == moment
        assert row.values["updated_at"].utcoffset() == timedelta(0)
    else:
        assert moment.year in (1, 9999)
