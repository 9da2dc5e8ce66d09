"""Reading by time what has no order of change: where a walk goes next, and how a long range is cut into windows, or
into the slices of the rolling sweep.

The lists are newest first and filtered by whole seconds (traps 33 to 35). A walk asks page after page for "before the
second of the oldest record so far", so records inserted or deleted while it runs shift nothing. Pages are counted only
where so much falls into one second, or two, that asking again would read the same records twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PAGE = 100
LEAD = 8
"""Pages that are read one after the other before it is worth looking where to cut the rest."""
MOST = 16
"""Pages of a slice of the rolling sweep."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a walk stands: the next request is for `page` of what was created before `before` (None: no bound)."""

    before: datetime | None
    page: int = 1

    def after(self, times: Sequence[datetime]) -> Position:
        """The next position, given the times on the page just read (none where no record bears one)."""
        if times:
            oldest = whole(min(times))
            bound = oldest + SECOND
            again = sum(when < bound for when in times)  # what the next request would read once more
            crowded = again * 3 > len(times) and whole(max(times)) - oldest <= SECOND
            # Without a bound, what comes in at the top would shift the pages.
            if self.before is None or (bound < self.before and not crowded):
                return Position(bound)
        return Position(self.before, self.page + 1)


def whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def sample_pages(extent: int) -> list[int]:
    """The page numbers at which a list of up to `extent` pages is cut: few enough that looking and cutting together
    never double the requests of a plain walk."""
    spans = min(16, extent // 8)
    return sorted({round(extent * i / spans) for i in range(1, spans)}) if spans > 1 else []


def cut(lower: datetime, upper: datetime, marks: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """(lower, upper) spans that cover the range without a gap, newest first; `marks` are times inside it."""
    inside = sorted({whole(mark) for mark in marks if lower < whole(mark) < upper}, reverse=True)
    edges = [upper, *inside, lower]
    return [(low, up) for up, low in pairwise(edges)]


def stride(records: int) -> int:
    """How many of so many records make a slice, if all are to be equal and no longer than `MOST` pages."""
    return max(1, ceil(records / max(1, ceil(records / (MOST * PAGE)))))


def pages(records: int) -> int:
    """How many requests it takes to walk over so many records."""
    return max(1, ceil(records / PAGE))


def spread(began: datetime, within: timedelta, number: int) -> list[datetime]:
    """So many moments, evenly over what follows `began`; the last is the end of it."""
    return [began + within * place / number for place in range(1, number + 1)]
