"""The job `retention`: what is over stays on record for as long as `[retention]` says, and then leaves."""

from __future__ import annotations

from datetime import datetime, timedelta

from service.core import oscillation
from service.cycle import Cycle
from service.settings import Settings
from service.store import retention

BATCH = 500
"""Rows of a transaction: no writer waits long for it."""
LOOK = 20_000
"""Rows that are looked for at a time."""


def terms(settings: Settings) -> dict[str, timedelta]:
    """By kind of `store.retention`: how long it stays. What stays for good is not in it."""
    kept, schedule = settings.retention, settings.schedule
    # Events tell when a contact may be asked about again, and which held opt-outs may go.
    asked_about = max(schedule.refresh_within, settings.limits.hold_opt_outs_for)
    found = {
        "runs": kept.runs,
        "webhook_events": kept.webhook_events and max(kept.webhook_events, asked_about),
        retention.PUSHES: kept.outbox and max(kept.outbox, oscillation.MEMORY),
        retention.SAID_ONCE: kept.outbox,
        "changes": kept.changes,
    }
    return {kind: term for kind, term in found.items() if term is not None}


async def by_settings(run: Cycle) -> None:
    """In batches: it may end after each of them."""
    for kind, term in terms(run.bridge.settings).items():
        await _prune(run, kind, run.started_at - term)


async def _prune(run: Cycle, kind: str, before: datetime) -> None:
    db, last = run.bridge.db, None
    while ids := await retention.old(db, kind, before, last, LOOK):
        for first in range(0, len(ids), BATCH):
            part = ids[first : first + BATCH]
            gone = await db.run(lambda conn, part=part: retention.prune(conn, kind, before, part))  # type: ignore[misc]
            run.report.pruned[kind] += gone
            run.onvoard.progress.advance("retention", gone)
        last = ids[-1]
