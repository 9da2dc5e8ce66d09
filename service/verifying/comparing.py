"""A verification: stream by stream, each on record."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from service import runs
from service.bridge import Bridge, Report
from service.cycle import Cycle
from service.progress import Progress
from service.store import verifications
from service.store.verifications import Verification
from service.verifying import DIGITAL_ONBOARDING, STREAMS
from service.verifying.digital_onboarding import ComparedDigitalOnboarding
from service.verifying.onvoard import ComparedOnVoard
from service.verifying.tally import Tally

_log = structlog.get_logger()


async def verify(
    bridge: Bridge, streams: Iterable[str], *, sample: int | None, repair: bool, progress: Progress | None = None
) -> tuple[Report, list[Tally]]:
    """A run of its own. `sample` None: everything is compared."""
    found: list[Tally] = []

    async def work(cycle: Cycle) -> None:
        found.extend(await compare(cycle, streams, sample=sample, repair=repair))

    return await runs.run(bridge, "verify", work, progress), found


async def by_settings(cycle: Cycle) -> None:
    """The daemon's job."""
    settings = cycle.bridge.settings.verify
    await compare(cycle, STREAMS, sample=settings.sample, repair=settings.repair)


async def compare(cycle: Cycle, streams: Iterable[str], *, sample: int | None, repair: bool) -> list[Tally]:
    """Stream by stream, each on record when it is done."""
    found = []
    for stream in streams:
        if stream == DIGITAL_ONBOARDING:
            tally = await ComparedDigitalOnboarding(cycle, stream, repair).compare(sample)
        else:
            tally = await ComparedOnVoard(cycle, stream, repair).compare(sample)
        found.append(tally)
        if not tally.skipped:
            await _put_on_record(cycle, tally, repair)
    return found


async def _put_on_record(cycle: Cycle, found: Tally, repair: bool) -> None:
    counts, drift = found.counts, found.drift
    row = Verification(
        run_id=cycle.report.run_id, stream=found.stream, checked=found.checked, different=counts["different"],
        gone=counts["gone"], missing=counts["missing"], stale=counts["stale"], drift=drift.value, low=drift.low,
        high=drift.high, complete=found.complete, repaired=repair, at=cycle.bridge.now(),
    )  # fmt: skip
    await cycle.bridge.db.run(lambda conn: verifications.record(conn, row))
    told = {"checked": found.checked} | {what: number for what, number in counts.items() if number}
    cycle.report.pulled.update({f"{found.stream}.{what}": number for what, number in told.items()})
    if found.wrong > counts["stale"]:
        _log.warning(
            "the mirror is wrong, and not only behind", stream=found.stream, **told, hint="contact-bridge verify --all"
        )
