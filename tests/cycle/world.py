"""Both emulated platforms, a real mirror, and the bridge between them, in one process."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from unittest import mock

from sqlalchemy import text

from service import app, runs, settings, setup
from service.bridge import Bridge, Report, no_surprises
from service.core.mapping import FieldMap
from service.core.records import Platform
from service.extract.digital_onboarding import DigitalReader
from service.extract.importer import Imported
from service.extract.onvoard import OnvoardReader
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.platforms.transport import Limits
from service.progress import Progress, Silent
from service.sandbox import Sandbox
from service.sandbox.export import export_csv
from service.sandbox.journal import Entry
from service.store import outbox
from service.store import tables as t
from service.store.database import Database
from service.store.outbox import Lane, Operation

Row = dict[str, Any]
FAST = Limits(
    requests_per_second=None, attempts=3, wait_initial=0.005, wait_max=0.01, wait_jitter=0.0, max_wait=1.0,
    connect_timeout=5.0, read_timeout=10.0,
)  # fmt: skip
_MADE_BY_SETUP = ("contact_property_types", "resources", "resource_property_types", "activity_types")
_READERS = ((OnvoardReader, "listing"), (DigitalReader, "templates"), (DigitalReader, "objectives"))
_LISTED = {"onvoard": (*_MADE_BY_SETUP, "webhooks", "reviews"), "digital_onboarding": ("templates", "objectives")}


async def _nothing(*_: object) -> int:
    return 0


class World:
    """`ov` and `do` are the two accounts as their own users see them. All clocks are the sandbox's."""

    _made: ClassVar[Row] = {}

    def __init__(self, sandbox: Sandbox, db: Database, bridge: Bridge, overrides: dict[str, object]) -> None:
        self.sandbox, self.db, self.bridge = sandbox, db, bridge
        self.ov, self.do, self.clock, self.journal = (
            sandbox.onvoard, sandbox.digital_onboarding, sandbox.clock, sandbox.journal,
        )  # fmt: skip
        self._overrides = overrides
        self._listed = ""

    @property
    def mapping(self) -> FieldMap:
        return self.bridge.mapping

    def configure(self, **overrides: object) -> None:
        """Other settings from now on: `limits__max_changed_count=3`."""
        self._overrides |= {key.replace("__", "."): value for key, value in overrides.items()}
        new = settings.load(self._overrides, environ={})
        self.bridge = replace(self.bridge, settings=new, mapping=app.field_map(new))

    def use_clock(self, now: Callable[[], datetime]) -> None:
        """This machine's clock; the platforms keep theirs."""
        self.bridge = replace(self.bridge, now=now)
        for client in (self.bridge.onvoard, self.bridge.digital):
            client._transport.now = now

    # What the bridge does.

    async def sync(self, *, full: bool = True, allow: bool = False, progress: Progress | None = None) -> Report:
        self.clock.advance(2)  # an edit and the probe that follows it are told apart by their times
        with self._known_lists_aside():
            return await runs.sync(self.bridge, full=full, allow_mass_change=allow, progress=progress)

    @contextmanager
    def _known_lists_aside(self) -> Iterator[None]:
        """The platforms' short lists make half of a sync: they are not read again while they are as they were and
        nothing goes wrong."""
        listed = repr([getattr(getattr(self.sandbox, side), name) for side in _LISTED for name in _LISTED[side]])
        with ExitStack() as stack:
            if listed == self._listed and not self.sandbox._faults.listed():
                for reader, name in _READERS:
                    stack.enter_context(mock.patch.object(reader, name, _nothing))
            yield
        self._listed = listed

    async def backfill(self, *resources: str, **span: Any) -> Report:
        names = resources or ("contacts", "reviews", "activities", "resources", "summaries", "templates", "objectives")
        return await runs.backfill(self.bridge, names, span.get("since"), span.get("until"))

    async def setup(self) -> None:
        """What `contact-bridge setup` makes: for real the first time, later put there as it was."""
        if not World._made:
            await setup.complete(self.bridge.onvoard, self.bridge.settings)
            World._made.update({kind: deepcopy(getattr(self.ov, kind)) for kind in _MADE_BY_SETUP})
        for kind, records in World._made.items():
            getattr(self.ov, kind).update(deepcopy(records))
        await setup.refresh_mirror(self.bridge)

    async def import_text(self, text_: str) -> Imported:
        return await runs.import_file(self.db, io.StringIO(text_, newline=""), Silent(), self.bridge.now)

    async def import_rows(self, *rows: Row) -> Imported:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        out = io.StringIO()
        writer = csv.DictWriter(out, columns)
        writer.writeheader()
        writer.writerows(rows)
        return await self.import_text(out.getvalue())

    async def import_export(self) -> Imported:
        """All that Digital Onboarding has, as its user exports it."""
        return await self.import_text(export_csv(self.do))

    # People on the platforms.

    async def linked(self, *names: str, **fields: Any) -> None:
        """Equal people on both sides, `crm-NAME` over there, linked by a first sync."""
        for name in names:
            self.ov.add_contact(f"{name}@example.com", name=f"{name.title()} Lee", phone="+14155550101", city="Rome")
            self.do.add_contact(
                unique_id=f"crm-{name}", email=f"{name}@example.com", name_first=name.title(), name_last="Lee",
                phone_mobile="+14155550101", city="Rome",
            )  # fmt: skip
            if fields:
                self.ov.edit_contact(f"{name}@example.com", **fields)
        await self.import_export()
        await self.sync()
        self.clock.advance(60)

    def stage(self, who: str, operation: Operation, payload: Row, sync_id: str) -> bool:
        """A push to Digital Onboarding that no rule has asked for yet."""
        person_id = self.value("SELECT person_id FROM people WHERE unique_id = :who", who=who)
        with self.db.begin() as conn:
            return outbox.stage(
                conn, person_id=person_id, platform=Platform.DIGITAL_ONBOARDING, operation=operation, lane=Lane.ACTION,
                target=who, payload={"unique_id": who, **payload}, details=[], run_id=1, now=self.clock.now(),
                sync_id=sync_id,
            )  # fmt: skip

    # What the mirror says.

    def rows(self, sql: str, **values: Any) -> list[Row]:
        with self.db.begin(write=False) as conn:
            return [dict(row) for row in conn.execute(text(sql), values).mappings()]

    def value(self, sql: str, **values: Any) -> Any:
        (row,) = self.rows(sql, **values)
        (found,) = row.values()
        return found

    def people(self) -> dict[str, Row]:
        """By e-mail, or by unique_id where there is none."""
        return {row["email"] or row["unique_id"]: row for row in self.rows("SELECT * FROM people")}

    def status(self, who: str) -> tuple[str, str | None]:
        row = self.people()[who]
        return row["status"], row["matched_by"]

    def conflicts(self, kind: str | None = None, status: str = "open") -> list[Row]:
        found = self.rows("SELECT * FROM conflicts WHERE status = :status ORDER BY id", status=status)
        return [row for row in found if kind in (None, row["kind"])]

    def mirror_text(self) -> str:
        """Every text and JSON value of every table."""
        found: list[str] = []
        for table in t.metadata.sorted_tables:
            with self.db.begin(write=False) as conn:
                for row in conn.execute(table.select()):
                    found += [f"{table.name}: {json.dumps(value, default=str)}" for value in row]
        return "\n".join(found)

    # What was asked of the platforms.

    def mark(self) -> int:
        return self.journal.mark()

    def writes(self, since: int = 0, platform: str | None = None) -> list[Entry]:
        """Without probes."""
        return [entry for entry in self.journal.writes(since, platform) if not is_probe(entry)]

    def activities(self, type_: str | None = None) -> list[Row]:
        kind = f"custom.digital_onboarding_{type_}" if type_ else None
        found = self.ov.activity_list(type=kind)
        return [each for each in found if each["type"].startswith("custom.digital_onboarding_")]

    async def quiet(self, *, plain: bool = False) -> None:
        """Law 1: nothing was edited, so nothing is written, although everything is read once more. `plain`: without
        `--full` there is not even a probe."""
        mark = self.mark()
        report = await self.sync()
        assert [show(entry) for entry in self.writes(mark)] == []
        assert not report.held
        if not plain:
            return
        mark = self.mark()
        await self.sync(full=False)
        assert [show(entry) for entry in self.journal.writes(mark)] == []

    def unequal(self) -> list[str]:
        """Mapped fields that differ between the two sides of linked, unfrozen people."""
        found = []
        for person in self.rows("SELECT * FROM people WHERE status = 'linked'"):
            here = self.ov.contact(person["onvoard_contact_id"])
            there = self.do.contact(person["unique_id"])
            sides = (self.mapping.read_onvoard(here), self.mapping.read_digital_onboarding(there))
            region = self.mapping.region(sides[0]) or self.mapping.region(sides[1])
            for rule in self.mapping.rules:
                keys = [self.mapping.key(rule, side[rule.name], region) for side in sides]
                if keys[0] != keys[1]:
                    found.append(f"{person['email']}: {rule.name}: {sides[0][rule.name]!r} {sides[1][rule.name]!r}")
        return found


def is_probe(entry: Entry) -> bool:
    if entry.platform != "digital_onboarding" or entry.path != "/v1/contacts" or not isinstance(entry.body, dict):
        return False
    return all(set(member) == {"unique_id"} for member in members(entry))


def members(entry: Entry) -> list[Row]:
    """The contact objects of a write to Digital Onboarding."""
    body = entry.body if isinstance(entry.body, dict) else {}
    return list(body.get("contacts", [body.get("contact", body)]))


def is_opt_out(entry: Entry) -> bool:
    flags = {"email_unsubscribed", "unsubscribe_email", "unsubscribe_sms", "unique_id"}
    bodies = members(entry) if entry.platform == "digital_onboarding" else [entry.body]
    return all(set(body) <= flags and set(body) != {"unique_id"} for body in bodies)


def show(entry: Entry) -> str:
    return f"{entry.method} {entry.path} {json.dumps(entry.body)} -> {entry.status}"


def flags_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Every consent flag anywhere in a body."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("email_unsubscribed", "unsubscribe_email", "unsubscribe_sms", "accepts_marketing_emails"):
                yield key, item
            yield from flags_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from flags_of(item)


def check_journal(entries: Iterable[Entry]) -> None:
    """What no test may ever see the bridge do, whatever else happens."""
    for entry in entries:
        if not entry.is_write:
            continue
        assert all(value is True for _, value in flags_of(entry.body)), f"raises consent: {show(entry)}"
        assert "suppress" not in entry.path and entry.method != "DELETE", show(entry)
        if entry.platform == "digital_onboarding":
            ids = [member.get("unique_id") for member in members(entry)]
            assert all(ids) and len(set(ids)) == len(ids), f"unique_ids: {show(entry)}"
            assert not any({"id", "inserted_at", "updated_at"} & set(m) for m in members(entry)), show(entry)
        elif entry.path == "/v2/contact-activities":
            assert "contact_email" not in entry.body and "timestamp" in entry.body, show(entry)


async def open_world(stack: AsyncExitStack, sandbox: Sandbox, db: Database, database_url: str, state_dir: str) -> World:
    """On a migrated database, which stays open."""
    overrides: dict[str, object] = {
        "database_url": database_url,
        "state_dir": state_dir,
        "onvoard.base_url": sandbox.onvoard_url,
        "onvoard.api_key": sandbox.api_key,
        "digital_onboarding.base_url": sandbox.digital_onboarding_url,
        "digital_onboarding.client_id": sandbox.client_id,
        "digital_onboarding.client_secret": sandbox.client_secret,
    }
    loaded = settings.load(overrides, environ={})
    now = sandbox.clock.now
    surprises = no_surprises()
    onvoard = OnVoard(
        sandbox.onvoard_url, sandbox.api_key, limits=FAST, now=now, on_surprise=surprises[Platform.ONVOARD].update
    )
    digital = DigitalOnboarding(
        sandbox.digital_onboarding_url, sandbox.client_id, sandbox.client_secret,
        state_dir=loaded.state_dir, limits=FAST, now=now,
        on_surprise=surprises[Platform.DIGITAL_ONBOARDING].update,
    )  # fmt: skip
    await stack.enter_async_context(onvoard)
    await stack.enter_async_context(digital)
    bridge = Bridge(loaded, db, onvoard, digital, app.field_map(loaded), now, surprises)
    return World(sandbox, db, bridge, overrides)
