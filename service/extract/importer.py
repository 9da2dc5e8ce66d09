"""An export enters the mirror. A row never overrides what the platform itself answered later (contract section 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.core.mapping import normal_email
from service.extract import export_csv
from service.extract.export_csv import BadRow, Contact
from service.progress import Progress
from service.store import absorb, consents, journeys, mirror
from service.store.database import Connection, Database
from service.store.mirror import Row
from service.store.types import iso

CHUNK = 500


@dataclass(slots=True)
class Imported:
    rows: int = 0
    bad: list[BadRow] = field(default_factory=list)


async def import_export(
    lines: Iterable[str], db: Database, run_id: int, now: Callable[[], datetime], progress: Progress
) -> Imported:
    """The good rows in chunks, each durable before the next; the bad ones with their lines."""
    result = Imported()
    chunk: dict[str, Contact] = {}

    async def flush() -> None:
        contacts = tuple(chunk.values())
        await db.run(lambda conn: _save(conn, contacts, run_id, now()))
        progress.advance("import", len(contacts))
        chunk.clear()

    for row in export_csv.read(lines):
        if isinstance(row, BadRow):
            result.bad.append(row)
            continue
        result.rows += 1
        if row.unique_id in chunk:  # the same contact twice: one after the other
            await flush()
        chunk[row.unique_id] = row
        if len(chunk) >= CHUNK:
            await flush()
    await flush()
    return result


def _save(conn: Connection, contacts: Sequence[Contact], run_id: int, now: datetime) -> None:
    rows = [{"email": None, "unsubscribe_email": None, "unsubscribe_sms": None, **c.values} for c in contacts]
    living = {row["unique_id"] for row in absorb.without_erased(conn, rows, run_id, now)}
    known = mirror.known_digital_contacts(conn, living)
    # Another record under a known unique_id: taking it over would take its blanks for clearings.
    others = [row for row in rows if row["unique_id"] in living and absorb.recreated(known.get(row["unique_id"]), row)]
    pairs = [(known[row["unique_id"]], row) for row in others]
    anew = [_without_opt_ins(before, row) for before, row in pairs if not _was_before(before, row)]
    absorb.removed_on_digital_onboarding(conn, anew, run_id, now)
    living -= {row["unique_id"] for row in others}
    kept = [contact for contact in contacts if contact.unique_id in living]
    merged = [_merged(known.get(c.unique_id), c) for c in kept]
    mirror.save_digital_contacts(conn, merged)
    journeys.seen(conn, [(None, row) for row in merged], now)
    consents.began(conn, [(known.get(row["unique_id"]), row) for row in merged], now)
    mirror.save_completions(
        conn,
        [
            {"unique_id": c.unique_id, "objective_key": key, "completed_at": at, "origin": "import"}
            for c in kept
            for key, at in c.completions.items()
        ],
    )


def _was_before(known: Row, row: Row) -> bool:
    """An old export shows the record in whose place the known one was made: its flags are not those of now."""
    made, known_made = row.get("inserted_at"), known["inserted_at"]
    return made is not None and known_made is not None and made < known_made


def _without_opt_ins(known: Row, row: Row) -> Row:
    """Of the new record itself an opt-out may be known by now: an older export does not take it back."""
    out = [flag for flag in export_csv.FLAGS if known["removed_at"] is not None and known[flag] is True]
    return {**row, **dict.fromkeys(out, True)}


def _merged(before: Row | None, contact: Contact) -> Row:
    columns = (*export_csv.TEXTS, *export_csv.FLAGS, *export_csv.TIMES, "meta_public")
    stored: dict[str, Any] = dict((before or {}).get("raw") or {})
    updated_at = contact.values.get("updated_at")
    newer = before is None or (
        updated_at is not None and (before["updated_at"] is None or updated_at > before["updated_at"])
    )
    # What the platform itself has answered is known, also where it is blank.
    answered = set(stored) if before is not None and before["refreshed_at"] is not None else set()
    said = {
        key: value
        for key, value in contact.values.items()
        if newer or (stored.get(key) is None and (key not in answered or (key in export_csv.FLAGS and value is True)))
    }
    for flag in export_csv.FLAGS:
        if stored.get(flag) is True or said.get(flag) is None:
            said.pop(flag, None)  # an import never raises consent; only the platform itself says what is so now
    row = {column: said.get(column, (before or {}).get(column)) for column in columns}
    row["raw"] = stored | {key: iso(v) if isinstance(v, datetime) else v for key, v in said.items()}
    new = mirror.digital_contact_row(row, "import", refreshed_at=(before or {}).get("refreshed_at"))
    moved = before is None or before["content_hash"] != new["content_hash"]
    if before is not None and not moved:
        new["origin"] = before["origin"]
    return new | {
        "edited_at": updated_at if moved and newer else (before or {}).get("edited_at"),
        "dirty": moved or bool((before or {}).get("dirty")),
        "created_by_bridge": bool((before or {}).get("created_by_bridge")),
        "announced": bool((before or {}).get("announced")),
        "removed_at": (before or {}).get("removed_at"),
        "email_key": normal_email(row["email"]) or None,
    }
