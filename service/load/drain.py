"""The outbox, said to the platforms: lane after lane, each push on record before it leaves and settled
when answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set
from datetime import datetime
from typing import TYPE_CHECKING

from service.load.digital_onboarding import DigitalPushes
from service.load.onvoard import OnvoardPushes
from service.load.queue import Queue, Row
from service.load.settle import Settler
from service.platforms.pace import Priority, priority
from service.progress import Progress
from service.store.database import Database
from service.store.outbox import Lane, Operation

if TYPE_CHECKING:
    from service.platforms.digital_onboarding.client import DigitalOnboarding
    from service.platforms.onvoard.client import OnVoard


class Drain:
    """Pushes what is pending, for one run."""

    def __init__(
        self,
        onvoard: OnVoard,
        digital: DigitalOnboarding,
        db: Database,
        settler: Settler,
        now: Callable[[], datetime],
        progress: Progress,
        batch_size: int,
    ) -> None:
        self.queue, self.settler = Queue(db, now), settler
        self.onvoard = OnvoardPushes(onvoard, self.queue, settler, progress)
        self.digital = DigitalPushes(digital, self.queue, settler, progress, batch_size)

    async def all(self, *, activities: bool, only: Set[int] | None = None, looks_first: bool = False) -> int:
        """Every pending push, or of them `only` these outbox rows; `activities` says whether OnVoard knows their types,
        `looks_first` that they may be there although the mirror does not know them. -> how many were sent

        Raises the PlatformError that kept back some of a lane, after all that could be said of it.
        """
        self.queue.only, self.onvoard.looks_first = only, looks_first
        sent = 0
        for lane in Lane:
            if lane is Lane.ACTIVITY and not activities:
                continue
            sent += await self._lane(lane)
        return sent

    async def _lane(self, lane: Lane) -> int:
        """Both platforms side by side."""
        with priority(Priority.OPT_OUT if lane is Lane.OPT_OUT else Priority.OUTBOX):
            results = await asyncio.gather(self.onvoard.lane(lane), self.digital.lane(lane), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(result for result in results if isinstance(result, int))

    async def look_for(self, rows: Sequence[Row]) -> None:
        """What may have happened already, and must not happen twice (law 5)."""
        for row in rows:
            pushes = self.digital if row["operation"] == Operation.START_JOURNEY else self.onvoard
            await pushes.look_for(row)
