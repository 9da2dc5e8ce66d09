"""No order of events, faults, restarts and decisions raises a fallen flag without a newer, human decision on record.

The people of both platforms opt out and in, move, leave and come back; the bridge syncs, fails, is killed, imports old
exports, and asks. `risen` is the model's whole memory: the contacts that a human has opted in again, and that nobody
has opted out since.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.core.records import Platform
from service.errors import BridgeError, PlatformError
from service.resolving import resolve
from service.sandbox import Sandbox
from service.store import migrate
from service.store.database import Database
from tests.cycle.conftest import only_email_activities
from tests.cycle.world import World, check_journal, open_world

EXAMPLES = int(os.environ.get("CONSENT_EXAMPLES", "5"))
OV, DO = "onvoard", "digital_onboarding"
SIDES = st.sampled_from([OV, DO])
ADDRESSES = [f"p{number}@example.com" for number in range(4)]
PEOPLE = st.integers(0, 2)
CALLS = st.tuples(SIDES, st.sampled_from(["GET", "POST", "PATCH"]), st.integers(0, 4))


@cache
def _template() -> Path:
    path = Path(tempfile.mkdtemp(prefix="consent-")) / "mirror.db"
    db = Database(f"sqlite:///{path}")
    migrate.upgrade(db)
    db.close()
    return path


class Consent(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner, self.stack = asyncio.Runner(), AsyncExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="consent-"))
        shutil.copy(_template(), self.folder / "mirror.db")
        url = f"sqlite:///{self.folder / 'mirror.db'}"
        db = Database(url, inline=True)
        self.stack.callback(shutil.rmtree, self.folder)
        self.stack.callback(db.close)
        sandbox = self.stack.enter_context(Sandbox())
        only_email_activities(sandbox)
        self.world: World = self.runner.run(open_world(self.stack, sandbox, db, url, str(self.folder / "state")))
        self.risen: set[tuple[str, str]] = set()

    def teardown(self) -> None:
        try:
            self.at_rest()
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()

    # --- what people do

    @initialize()
    def begin(self) -> None:
        for number in range(2):
            self.arrive(OV, number, False)
            self.arrive(DO, number, False)
        self.bridge(self.world.import_export)
        self.bridge(self.world.sync)

    @rule(side=SIDES, person=PEOPLE, out=st.booleans())
    def arrive(self, side: str, person: int, out: bool) -> None:
        address = ADDRESSES[person]
        if side == OV:
            if all(contact.email != address for contact in self.world.ov.contacts.values()):
                self.world.ov.add_contact(address, name=f"Person {person}", email_unsubscribed=out)
        elif f"crm-{person}" not in self.world.do.id_by_unique_id:
            self.world.do.add_contact(
                unique_id=f"crm-{person}", email=address, name_first="Person", name_last=str(person),
                unsubscribe_email=out,
            )  # fmt: skip

    @rule(side=SIDES, person=PEOPLE)
    def leave(self, side: str, person: int) -> None:
        if contact := self.found(side, person):
            self.risen.discard((side, contact))
            (self.world.ov.delete_contact if side == OV else self.world.do.remove_contact)(contact)

    @rule(side=SIDES, person=PEOPLE, how=st.sampled_from(["unsubscribe", "mark_as_spam", "hard_bounce"]))
    def opt_out(self, side: str, person: int, how: str) -> None:
        if contact := self.found(side, person):
            self.risen.discard((side, contact))
            getattr(self.world.ov, how)(contact) if side == OV else self.world.do.unsubscribe(contact)

    @rule(side=SIDES, person=PEOPLE)
    def opt_in(self, side: str, person: int) -> None:
        """By the person: newer than all that the bridge knows."""
        contact = self.found(side, person)
        if contact and self.out(side, contact):
            (self.world.ov if side == OV else self.world.do).resubscribe(contact)
            if not self.out(side, contact):  # spam and bounces stay
                self.risen.add((side, contact))

    @rule(person=PEOPLE)
    def suppress(self, person: int) -> None:
        if contact := self.found(OV, person):
            self.risen.discard((OV, contact))
            self.world.ov.suppress(contact)

    @rule()
    def unsuppress(self) -> None:
        for contact in [each for each in self.world.ov.contacts.values() if each.suppressed_at][:1]:
            self.world.ov.unsuppress(contact.id)
            self.risen.add((OV, contact.id))

    @rule(side=SIDES, person=PEOPLE, address=st.sampled_from(ADDRESSES))
    def move(self, side: str, person: int, address: str) -> None:
        contact = self.found(side, person)
        if contact and side == DO:
            self.world.do.edit_contact(contact, email=address)
        elif contact and all(each.email != address for each in self.world.ov.contacts.values()):
            self.world.ov.edit_contact(contact, email=address)

    # --- what the bridge and its operator do

    @rule(full=st.booleans())
    def sync(self, full: bool) -> None:
        self.bridge(lambda: self.world.sync(full=full))

    @rule(call=CALLS, kind=st.sampled_from(["reset_before", "reset_after", "status", "truncate", "malformed"]))
    def sync_with_a_fault(self, call: tuple[str, str, int], kind: Any) -> None:
        platform, method, skip = call
        self.world.sandbox.fail(platform, kind, method=method, skip=skip, times=4)  # type: ignore[arg-type]
        self.bridge(self.world.sync)
        self.world.sandbox.clear_faults()

    @rule(call=CALLS)
    def sync_that_is_killed(self, call: tuple[str, str, int]) -> None:
        platform, method, skip = call

        async def killed() -> None:
            task, loop = asyncio.ensure_future(self.world.sync()), asyncio.get_running_loop()
            self.world.sandbox.when(
                platform, lambda: loop.call_soon_threadsafe(task.cancel), method=method, skip=skip  # type: ignore[arg-type]
            )  # fmt: skip
            with contextlib.suppress(asyncio.CancelledError):
                await task

        self.bridge(killed)
        self.world.sandbox.clear_faults()

    @rule()
    def backfill(self) -> None:
        self.bridge(self.world.backfill)

    @rule(person=PEOPLE, out=st.booleans(), dated=st.booleans())
    def import_an_old_export(self, person: int, out: bool, dated: bool) -> None:
        row = {"unique_id": f"crm-{person}", "email": ADDRESSES[person], "unsubscribe_email": str(out).lower()}
        row |= {"updated_at": "2020-01-01T00:00:00Z"} if dated else {}
        self.bridge(lambda: self.world.import_rows(row))

    @rule(keep=SIDES)
    @precondition(lambda self: self.world.conflicts())
    def decide_a_conflict(self, keep: str) -> None:
        """By the operator. What cannot be decided so is refused, and stays open."""

        async def decide() -> None:
            conflict = self.world.conflicts()[0]["id"]
            with self.world.db.begin() as conn:
                resolve(conn, self.world.mapping, conflict, Platform(keep), None, self.world.clock.now())

        self.bridge(decide)

    # --- what holds

    @invariant()
    def nothing_was_sent_that_raises_a_flag(self) -> None:
        check_journal(self.world.journal.entries())

    def at_rest(self) -> None:
        """Without faults and further edits."""
        for _ in range(4):  # `allow`: everybody may really have left
            self.bridge(lambda: self.world.sync(allow=True))
        self.nothing_was_sent_that_raises_a_flag()
        on_record = {row["person_id"] for s in ("open", "resolved") for row in self.world.conflicts("resubscribed", s)}
        at_an_erased_address = {row["person_id"] for row in self.world.conflicts("address_of_the_erased")}
        for row in self.world.rows("SELECT * FROM people WHERE status IN ('linked', 'conflict')"):
            ids = {OV: row["onvoard_contact_id"], DO: row["unique_id"]}
            if None in ids.values() or ids[DO] not in self.world.do.id_by_unique_id:
                continue
            if row["person_id"] in at_an_erased_address:
                continue  # that address was opted out, and nothing of it is stored: a person is asked
            shows = {side: self.out(side, contact) for side, contact in ids.items()}
            if len(set(shows.values())) == 2:
                (lawful,) = (side for side in shows if not shows[side])
                assert (lawful, ids[lawful]) in self.risen, f"{row['email']}: {shows}"
                assert row["person_id"] in on_record, f"{row['email']}: opted in again, and nobody was asked"
        stands = {row["email_key"] for row in self.world.rows("SELECT email_key FROM opt_outs WHERE lifted_at IS NULL")}
        for contact in self.world.ov.contacts.values():
            if contact.email in stands and not contact.suppressed_at and not self.out(OV, contact.id):
                assert (OV, contact.id) in self.risen, f"{contact.email} opted out, and this contact was not"

    def found(self, side: str, person: int) -> str | None:
        if side == DO:
            return f"crm-{person}" if f"crm-{person}" in self.world.do.id_by_unique_id else None
        here = (c for c in self.world.ov.contacts.values() if c.email == ADDRESSES[person] and not c.suppressed_at)
        return next((contact.id for contact in here), None)

    def out(self, side: str, contact: str) -> bool:
        if side == DO:
            return self.world.do.contact(contact)["unsubscribe_email"] is True
        shown = self.world.ov.contact(contact)
        return any(shown[flag] for flag in ("email_unsubscribed", "email_marked_as_spam", "email_hard_bounced"))

    def bridge(self, work: Callable[[], Awaitable[object]]) -> None:
        self.world.clock.advance(30)

        async def run() -> None:
            with contextlib.suppress(PlatformError, BridgeError):
                await work()

        self.runner.run(run())
        self.world.clock.advance(30)


TestConsent = Consent.TestCase
TestConsent.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes: the steps are printed as they were
)  # fmt: skip
