"""When it is a job's turn: an interval or crontab's five fields; and the hours in which the heavy ones rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from service.settings.values import duration, positive

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

_PREFIX = "cron:"
_HOURS = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])-([01]?[0-9]|2[0-3]):([0-5][0-9])")
LOOKED_AT = 100
"""So many turns of a cron tell how far apart they are."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Minute, hour, day of month, month, day of week."""

    fields: str

    def __str__(self) -> str:
        return f"{_PREFIX} {self.fields}"

    def trigger(self, zone: ZoneInfo, jitter: float = 0) -> CronTrigger:
        """APScheduler's; `jitter` in seconds. ValueError for what it cannot read."""
        from apscheduler.triggers.cron import CronTrigger  # what most commands have no use for

        made = CronTrigger.from_crontab(self.fields, timezone=zone)
        made.jitter = jitter or None
        return made

    def after(self, at: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """The turns after `at`, one by one."""
        trigger, last = self.trigger(zone), at
        while (last := trigger.get_next_fire_time(None, last + timedelta(microseconds=1))) is not None:
            yield last

    def longest(self, at: datetime, zone: ZoneInfo) -> timedelta:
        """The longest wait for the next turn, among those that follow `at`."""
        turns = islice(self.after(at, zone), LOOKED_AT)
        return max((later - former for former, later in pairwise(turns)), default=timedelta.max)


Turn = timedelta | Cron


@dataclass(frozen=True, slots=True)
class Hours:
    """From `begin` to before `end`, by the clock on the wall; over midnight where `end` is the earlier one."""

    begin: time
    end: time

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"

    @property
    def length(self) -> timedelta:
        begin, end = (timedelta(hours=each.hour, minutes=each.minute) for each in (self.begin, self.end))
        return end - begin if begin < end else end - begin + timedelta(days=1)

    def over_at(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """When they end; None where it is none of them."""
        local = now.astimezone(zone)
        clock = local.time()
        inside = self.begin <= clock < self.end if self.begin < self.end else not self.end <= clock < self.begin
        if not inside:
            return None
        day = local.date() + timedelta(days=clock >= self.end)
        return datetime.combine(day, self.end, zone).astimezone(now.tzinfo)


def turn(value: object) -> Turn:
    """A duration of at least a second, or `cron: 0 */2 * * *`."""
    if isinstance(value, Cron):
        return value
    if not (isinstance(value, str) and value.strip().lower().startswith(_PREFIX)):
        try:
            return positive(duration(value))
        except ValueError as error:
            raise ValueError(f"{error}, or a cron such as 'cron: 0 */2 * * *'") from None
    fields = " ".join(value.strip()[len(_PREFIX) :].split())
    if len(fields.split(" ")) != 5:
        raise ValueError("must have five fields after cron: (minute, hour, day of month, month, day of week)")
    if re.search(r"[0-9]", fields.split(" ")[4]):
        raise ValueError("must name the days of the week (mon-fri): their numbers do not mean the same everywhere")
    found = Cron(fields)
    try:
        next(found.after(datetime.now(ZoneInfo("UTC")), ZoneInfo("UTC")))
    except ValueError:
        raise ValueError("is no cron: write minute, hour, day of month, month and day of week") from None
    except StopIteration:
        raise ValueError("is a cron whose turn never comes") from None
    return found


def hours(value: object) -> Hours | None:
    """`22:00-06:00`; "" for none."""
    if value is None or isinstance(value, Hours):
        return value
    if value == "":
        return None
    found = _HOURS.fullmatch(value.replace(" ", "")) if isinstance(value, str) else None
    if found is None:
        raise ValueError('must be hours such as "22:00-06:00", or "" for none')
    begin, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    if begin == end:
        raise ValueError("must begin and end at different times")
    return Hours(begin, end)


def zone_name(value: object) -> str:
    try:
        return ZoneInfo(str(value)).key
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError("must be a time zone such as UTC or Europe/Berlin") from None
