"""The guard's ruling on what a run has decided, carried out on the outbox."""

from __future__ import annotations

from functools import cache

from service.core import guard
from service.core.records import Platform
from service.decide.frame import Frame
from service.store import inbox, ledger, outbox, people
from service.store.database import Connection
from service.store.outbox import Lane


def rule(conn: Connection, frame: Frame) -> dict[Platform, str]:
    """Releases what passes. -> why what else is held, by platform

    Opt-outs that webhooks announced are neither counted nor held: those of contacts that were found opted out when an
    event about that very contact was looked into, within `hold_opt_outs_for`. An event about anything else, or from
    before the opt-out, lets nobody pass.
    """
    held: dict[Platform, str] = {}
    if not outbox.holds_back(conn, frame.run_id):
        for platform in Platform:
            ledger.unhold(conn, platform)
        return held

    @cache
    def settled() -> int:
        return people.settled_before(conn, frame.started_at)  # everybody is counted for it

    for platform in Platform:
        linked_before = people.linked_until_now(conn, frame.run_id, platform)
        inbox.release_announced(conn, frame.run_id, platform, frame.now - frame.limits.hold_opt_outs_for)
        changed, opted_out = outbox.changed_people(conn, frame.run_id, platform)
        linked = linked_before + (0 if guard.are_few(changed, frame.limits) else settled())
        since = ledger.held_since(conn, platform)
        ruling = guard.rule(guard.Load(linked, changed, opted_out), frame.limits, held_since=since, now=frame.now)
        if not ruling.hold or not frame.brake:
            ledger.unhold(conn, platform)
            outbox.release(conn, frame.run_id, platform)
            continue
        if ruling.release_opt_outs:
            outbox.release(conn, frame.run_id, platform, lane=Lane.OPT_OUT)
        ledger.hold(
            conn, platform, changed=changed, linked=linked, reason=ruling.reason, run_id=frame.run_id, now=frame.now
        )
        held[platform] = ruling.reason
    return held
