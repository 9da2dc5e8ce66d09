"""A Digital Onboarding export in its own CSV columns: written from an emulated team, and read into one."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.sandbox.clock import iso_micro, parse_iso
from service.sandbox.digital_onboarding import DigitalOnboarding
from service.sandbox.digital_onboarding.contacts import completion_time, render, upsert
from service.sandbox.digital_onboarding.store import FIELDS, FLAG_FIELDS, SYSTEM_FIELDS, Contact
from service.sandbox.digital_onboarding.validation import check_contact
from service.sandbox.exchange import Refusal

TRUE_WORDS = frozenset({"true", "t", "1", "yes", "y"})


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
    shown = render(state, contact)
    shown.pop("journey", None)
    for name in FLAG_FIELDS:
        shown[name] = "true" if shown[name] else "false"
    shown["meta_public"] = json.dumps(shown["meta_public"], ensure_ascii=False, sort_keys=True)
    for key in objectives:
        shown[key] = iso_micro(state.completions.get((contact.id, key)))
    return {name: value or "" for name, value in shown.items()}


def load_export(csv_text: str, state: DigitalOnboarding) -> LoadReport:
    """Load an export. Columns that are neither fields nor known objectives become objectives of the team.

    A bad row is reported with the line on which it begins, and the others go on.
    """
    report = LoadReport()
    reader = csv.DictReader(io.StringIO(csv_text.removeprefix("\ufeff"), newline=""))
    columns = list(reader.fieldnames or [])
    begins = reader.line_num + 1
    with state.lock:
        for key in columns:
            if key and key not in (*FIELDS, *SYSTEM_FIELDS) and key not in state.objectives:
                state.add_objective(key, key.replace("-", " ").title())
        for row in reader:
            try:
                _load_row(state, row)
                report.loaded += 1
            except Refusal as refusal:
                report.problems.append(f"line {begins}: {json.dumps(refusal.payload)}")
            except ValueError as error:
                report.problems.append(f"line {begins}: {error}")
            begins = reader.line_num + 1
    return report


def _load_row(state: DigitalOnboarding, row: dict[Any, Any]) -> None:
    if None in row or None in row.values():
        raise ValueError("another number of values than columns")
    sent: dict[str, Any] = {}
    for name, text in row.items():
        if not text or name in SYSTEM_FIELDS:
            continue
        sent[name] = _value(state, name, text)
    # Everything that can be wrong is read before the contact is written.
    inserted = _time(row.get("inserted_at"), state.clock.now())
    updated = _time(row.get("updated_at"), inserted)
    if row.get("id") in state.contacts:
        raise ValueError(f"id {row['id']} is taken")
    contact, _ = upsert(state, check_contact(state, sent))
    if row.get("id"):
        _set_id(state, contact, row["id"])
    contact.inserted_at, contact.updated_at = inserted, updated


def _value(state: DigitalOnboarding, name: str, text: str) -> Any:
    if name in FLAG_FIELDS:
        return text.strip().lower() in TRUE_WORDS
    if name == "meta_public":
        return json.loads(text)
    if name in state.objectives and completion_time(text, state.clock.now()) is None:
        raise ValueError(f"{name}: {text!r} is neither a time nor a word for done")
    return text


def _set_id(state: DigitalOnboarding, contact: Contact, new_id: str) -> None:
    """Keep the id that the export names; completions move along."""
    state.contacts[new_id] = state.contacts.pop(contact.id)
    state.id_by_unique_id[contact.unique_id] = new_id
    moved = {(new_id if owner == contact.id else owner, key): at for (owner, key), at in state.completions.items()}
    state.completions = moved
    contact.id = new_id


def _time(text: str | None, default: datetime) -> datetime:
    return parse_iso(text) if text else default
