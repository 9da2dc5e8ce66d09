"""A Digital Onboarding export in its own CSV columns: written from an emulated team, and read into one."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.sandbox.clock import iso_micro, parse_iso
from service.sandbox.digital_onboarding import DigitalOnboarding
from service.sandbox.digital_onboarding.contacts import completion_time, insert, render, upsert
from service.sandbox.digital_onboarding.store import FIELDS, FLAG_FIELDS, SYSTEM_FIELDS, Contact
from service.sandbox.digital_onboarding.validation import check_contact
from service.sandbox.exchange import Refusal

TRUE_WORDS = frozenset({"true", "t", "1", "yes", "y"})
FALSE_WORDS = frozenset({"false", "f", "0", "no", "n"})
UNREADABLE = re.compile("[\ud800-\udfff]")


@dataclass
class LoadReport:
    """How many contacts were loaded, and what was wrong, as `line 7: ...`."""

    loaded: int = 0
    problems: list[str] = field(default_factory=list)


def export_csv(state: DigitalOnboarding) -> str:
    """All contacts but those left out of the export: `id`, the contact fields, both times, and the objective keys.

    `meta_public` is JSON text, flags are `true` or `false`, unset values are empty, completions ISO times.
    """
    with state.lock:
        used = sorted({key for _, key in state.completions})
        out = io.StringIO()
        writer = csv.DictWriter(out, ["id", *FIELDS, "inserted_at", "updated_at", *used], lineterminator="\r\n")
        writer.writeheader()
        for contact in state.contacts.values():
            if contact.unique_id not in state.left_out_of_export:
                writer.writerow(_row(state, contact, used))
        return out.getvalue()


def _row(state: DigitalOnboarding, contact: Contact, objectives: list[str]) -> dict[str, str]:
    shown = {key: value for key, value in render(state, contact).items() if key in (*FIELDS, *SYSTEM_FIELDS)}
    for name in FLAG_FIELDS:
        shown[name] = "true" if shown[name] else "false"
    shown["meta_public"] = json.dumps(shown["meta_public"], ensure_ascii=False, sort_keys=True)
    for key in objectives:
        shown[key] = iso_micro(state.completions.get((contact.id, key)))
    return {name: value or "" for name, value in shown.items()}


def load_export(csv_text: str, state: DigitalOnboarding) -> LoadReport:
    """Load an export. Columns that are neither fields nor known objectives become objectives of the team.

    A bad row is reported with the line on which it begins, and the others go on. Bytes that are not UTF-8 may stand in
    the text as `surrogateescape` leaves them. ValueError where the first line is no export's.
    """
    report = LoadReport()
    rows = _rows(csv_text.removeprefix("\ufeff"))
    with state.lock:
        columns = _columns(next(rows, (1, []))[1])
        for key in columns:
            if key and key not in (*FIELDS, *SYSTEM_FIELDS) and key not in state.objectives:
                state.add_objective(key, key.replace("-", " ").title())
        for line, cells in rows:
            try:
                _load_row(state, columns, cells)
                report.loaded += 1
            except Refusal as refusal:
                report.problems.append(f"line {line}: {json.dumps(refusal.payload)}")
            except ValueError as error:
                report.problems.append(f"line {line}: {error}")
    return report


def _rows(text: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """The rows with the line on which each begins, without blank ones. After what is no CSV (say, a quote that nobody
    closes) reading goes on at the next line."""
    lines = list(io.StringIO(text, newline=""))
    begins = 0
    while begins < len(lines):
        offset = begins
        reader = csv.reader(itertools.islice(lines, offset, None), strict=True)
        try:
            for cells in reader:
                if cells:
                    yield begins + 1, cells
                begins = offset + reader.line_num
        except csv.Error as error:
            yield begins + 1, error
            begins += 1


def _columns(cells: list[str] | csv.Error) -> list[str]:
    columns = [] if isinstance(cells, csv.Error) else [name.strip() for name in cells]
    if not {"unique_id", "email"} & set(columns):
        raise ValueError("line 1 does not name unique_id or email (with commas between): no Digital Onboarding export")
    if len(set(columns)) < len(columns) or UNREADABLE.search("".join(columns)):
        raise ValueError("line 1 names a column twice, or is not UTF-8")
    return columns


def _load_row(state: DigitalOnboarding, columns: list[str], cells: list[str] | csv.Error) -> None:
    if isinstance(cells, csv.Error):
        raise ValueError(f"not CSV: {cells}")
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} values for {len(columns)} columns")
    row = {name: cell for name, cell in zip(columns, cells, strict=True) if name and cell.strip()}
    sent = {name: _value(state, name, text) for name, text in row.items() if name not in SYSTEM_FIELDS}
    # Everything that can be wrong is read before the contact is written.
    sent = check_contact(state, {name: value for name, value in sent.items() if value is not None})
    unique_id = sent.get("unique_id") or sent.get("email")
    if not unique_id:
        raise ValueError("neither unique_id nor email")
    inserted = _time(row, "inserted_at", state.clock.now())
    updated = _time(row, "updated_at", inserted)
    known, owner = state.find(unique_id), state.contacts.get(row.get("id", ""))
    if known is not owner and "id" in row:
        raise ValueError("another row has this id, or this unique_id with another id")
    if known is None:
        insert(state, unique_id, inserted, row.get("id"))
    contact, _ = upsert(state, sent)
    contact.inserted_at, contact.updated_at = inserted, updated


def _value(state: DigitalOnboarding, name: str, text: str) -> Any:
    """What the API would be sent; None for an objective that is not completed."""
    if UNREADABLE.search(text):
        raise ValueError(f"{name}: not UTF-8")
    word = text.strip().lower()
    if name in FLAG_FIELDS:
        if word not in TRUE_WORDS | FALSE_WORDS:
            raise ValueError(f"{name}: neither true nor false")
        return word in TRUE_WORDS
    if name == "meta_public":
        return _json(text)
    if name in state.objectives:
        if word in FALSE_WORDS:
            return None
        text = text.strip()
        if completion_time(text, state.clock.now()) is None:
            raise ValueError(f"{name}: {text!r} is neither a time nor a word for done")
    return text


def _json(text: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        return value
    except (ValueError, RecursionError):
        raise ValueError("meta_public: not JSON") from None


def _time(row: dict[str, str], name: str, default: datetime) -> datetime:
    try:
        return parse_iso(row[name].strip()) if name in row else default
    except (ValueError, OverflowError):
        raise ValueError(f"{name}: not a time in ISO 8601") from None
