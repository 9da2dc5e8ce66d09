"""Opt-outs on their way: a lane of their own, ahead of all others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from service.core.consent import FLAG, onvoard_opted_out
from service.core.records import Platform
from service.decide.frame import AMBIGUOUS, ASKED_AGAIN, RESUBSCRIBED, Frame
from service.store import candidates, consents, erasure, ledger, looks, outbox, people
from service.store.database import Connection
from service.store.outbox import Lane, Operation

Row = dict[str, Any]
OF_THE_ADDRESS = "opt-out of the address"
UNSUPPRESSED = "unsuppressed on onvoard; the opt-outs on Digital Onboarding stand"


def stage_opt_out(
    conn: Connection, frame: Frame, person_id: int, platform: Platform, target: str, why: str,
    status: str = "pending", *, of_address: bool = False, among: outbox.Staged | None = None,
) -> bool:  # fmt: skip
    """E-mail opt-out of one contact on one platform; `of_address`: not because the person's other side shows it."""
    flag = FLAG[platform]
    keyed = {"unique_id": target} if platform is Platform.DIGITAL_ONBOARDING else {}
    return outbox.stage(
        conn, person_id=person_id, platform=platform,
        operation=Operation.UPSERT_CONTACT if keyed else Operation.PATCH_CONTACT,
        lane=Lane.OPT_OUT, target=target, payload={**keyed, flag: True},
        details=[{"field": flag, "old": False, "new": True, "why": why}],
        basis={"of_address": of_address}, run_id=frame.run_id, now=frame.now, status=status, among=among,
    )  # fmt: skip


def spread_over_address(conn: Connection, frame: Frame, email: str | None) -> None:
    """Where it is in doubt who is who, an opt-out of an address goes to every contact that has it."""
    if not email:
        return
    onvoard, digital = candidates.with_address(conn, email)
    out = any(onvoard_opted_out(row) for row in onvoard) or any(row["unsubscribe_email"] for row in digital)
    if not out:
        return
    why = "opt-out of the address; who is who is in doubt"
    for row in onvoard:
        if not onvoard_opted_out(row) and not outbox.opt_out_open(conn, Platform.ONVOARD, row["id"]):
            stage_opt_out(conn, frame, row["person_id"], Platform.ONVOARD, row["id"], why, of_address=True)
    for row in digital:
        target = row["unique_id"]
        if not row["unsubscribe_email"] and not outbox.opt_out_open(conn, Platform.DIGITAL_ONBOARDING, target):
            stage_opt_out(
                conn, frame, row["person_id"], Platform.DIGITAL_ONBOARDING, target, why, of_address=True
            )


def due_by_address(conn: Connection, onvoard: Iterable[Row], digital: Iterable[Row]) -> set[tuple[Platform, str]]:
    """Contacts that are not opted out although their address is: an opt-out belongs to the person and to the address.
    One that was itself opted out before, and is no longer, was opted in again; that is another matter."""
    lawful = {
        Platform.ONVOARD: {row["id"]: row["email_key"] for row in onvoard if not onvoard_opted_out(row)},
        Platform.DIGITAL_ONBOARDING: {
            row["unique_id"]: row["email_key"] for row in digital if not row["unsubscribe_email"]
        },
    }
    out = consents.addresses_out(conn, {address for side in lawful.values() for address in side.values()})
    due = {side: [target for target, address in lawful[side].items() if address in out] for side in Platform}
    return {
        (side, target)
        for side in Platform
        if due[side]
        for target in set(due[side]) - consents.ever_out(conn, side, due[side])
    }


def spread_of_addresses(conn: Connection, frame: Frame, onvoard: Sequence[Row], digital: Sequence[Row]) -> None:
    """To contacts without a partner."""
    theirs = {(Platform.ONVOARD, row["id"]): row for row in onvoard}
    theirs |= {(Platform.DIGITAL_ONBOARDING, row["unique_id"]): row for row in digital}
    for side, target in sorted(due_by_address(conn, onvoard, digital)):
        if not outbox.opt_out_open(conn, side, target):
            person_id = theirs[side, target]["person_id"]
            stage_opt_out(conn, frame, person_id, side, target, OF_THE_ADDRESS, of_address=True)


def opted_in_again(conn: Connection, frame: Frame, person_id: int, platform: Platform, why: str = "") -> None:
    """A later opt-in on one side: a person decides, or the settings have (`consent.resubscribe`)."""
    values = {side: "opted in" if side is platform else "opted out" for side in Platform}
    reason = why or f"opted in again on {platform}; the opt-out on the other side stands"
    conflict_id, new = ledger.open_conflict(
        conn, person_id, RESUBSCRIBED, reason, frame.now, run_id=frame.run_id, field=FLAG[platform],
        onvoard=values[Platform.ONVOARD], digital_onboarding=values[Platform.DIGITAL_ONBOARDING],
    )  # fmt: skip
    if new and not frame.ask_about_opt_ins:
        ledger.thaw(conn, conflict_id, frame.now, by="consent.resubscribe = never")


def agree_again(conn: Connection, frame: Frame, person_id: int) -> None:
    """Both sides show the same: what was asked about an opt-in is answered."""
    for conflict_id in ledger.open_of(conn, [person_id], RESUBSCRIBED):
        ledger.thaw(conn, conflict_id, frame.now, by="both sides agree")


def spread_of_frozen(conn: Connection, frame: Frame) -> None:
    """A conflict about a person stops no opt-out."""
    for row in looks.dirty_frozen(conn):
        for email in {row["onvoard_email"], row["digital_email"]} - {None}:
            spread_over_address(conn, frame, email)
        if row["contact_id"] and row["unique_id"]:
            _spread_over_link(conn, frame, row)
        # Some are looked at once more, to see whether the conflict has cleared.
        asked = row["kind"] == AMBIGUOUS or (row["kind"] in ASKED_AGAIN and row["asked_about"] == row["person_id"])
        if not asked:
            people.settle_looks(conn, [row["contact_id"]], [row["unique_id"]])


def _spread_over_link(conn: Connection, frame: Frame, row: Row) -> None:
    onvoard_out, digital_out = onvoard_opted_out(row), bool(row["unsubscribe_email"])
    if onvoard_out == digital_out:
        return
    if digital_out and erasure.has_come_back(conn, row["contact_id"]):
        opted_in_again(conn, frame, row["person_id"], Platform.ONVOARD, UNSUPPRESSED)
        return
    platform, target = (
        (Platform.DIGITAL_ONBOARDING, row["unique_id"]) if onvoard_out else (Platform.ONVOARD, row["contact_id"])
    )
    bases = ledger.get_bases(conn, row["person_id"])
    if not bases.of(platform.other).opted_out:
        if not outbox.opt_out_open(conn, platform, target):
            stage_opt_out(conn, frame, row["person_id"], platform, target, f"opted out on {platform.other}")
    elif bases.of(platform).opted_out:
        opted_in_again(conn, frame, row["person_id"], platform)
        ledger.put_bases(conn, row["person_id"], ledger.advance(bases, {}, {platform: False}), frame.now)
