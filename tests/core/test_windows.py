"""Walks over a list that changes while it is read, and cutting a long range into windows."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.windows import EPOCH, LEAD, MOST, PAGE, SECOND, Position, cut, sample_pages, spread, stride, whole
from tests.core.making import NOON


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_the_next_request_ends_with_the_second_of_the_oldest_record():
    assert Position(None).after([at(5.7), at(8)]) == Position(at(6))
    assert Position(at(9), page=3).after([at(8), at(7), at(6), at(5)]) == Position(at(6))


def test_pages_are_counted_where_they_fill_a_second():
    assert Position(at(6)).after([at(5.2)]) == Position(at(6), page=2)
    assert Position(at(6), page=2).after([at(5)]) == Position(at(6), page=3)
    assert Position(at(6)).after([at(6.3)]) == Position(at(6), page=2)  # a boundary that is inclusive


def test_pages_are_counted_where_asking_again_would_read_much_twice():
    newer, older = [at(6.2)] * 60, [at(5.5)] * 40
    assert Position(at(7)).after(newer + older) == Position(at(7), page=2)
    assert Position(at(7)).after(newer + older[:30]) == Position(at(6))
    assert Position(at(8)).after([at(7)] * 60 + older) == Position(at(6))  # a second between them: nobody crowds
    assert Position(None).after(newer + older) == Position(at(6))  # what comes in meanwhile would shift the pages


def test_pages_are_counted_where_no_record_bears_a_time():
    assert Position(None).after([]) == Position(None, page=2)


# A platform's list, newest first, that changes between two requests


@dataclass
class Listing:
    """`inclusive`: whether "before" lets that very second through; the document does not say (traps 35)."""

    times: dict[str, float]
    size: int
    inclusive: bool
    requests: int = 0

    def page(self, position: Position) -> list[str]:
        self.requests += 1
        bound = None if position.before is None else (position.before - NOON).total_seconds()
        newest_first = sorted(self.times, key=lambda i: (-self.times[i], i))
        shown = [i for i in newest_first if bound is None or self.lets_through(self.times[i], bound)]
        return shown[(position.page - 1) * self.size : position.page * self.size]

    def lets_through(self, when: float, bound: float) -> bool:
        return when // 1 <= bound if self.inclusive else when < bound

    def crowded(self, when: float) -> bool:
        """Among more than a page within two seconds, where pages have to be counted (and a deletion may hide one)."""
        full = Counter(int(t // 1) for t in self.times.values())
        second = int(when // 1)
        return max(full[second - 1], full[second + 1]) + full[second] >= self.size


def walk(listing: Listing, before: datetime | None = None, between=lambda: None) -> set[str]:
    """As the extractor walks: page after page, to the first short one."""
    seen: set[str] = set()
    position = Position(before)
    while True:
        page = listing.page(position)
        seen |= set(page)
        if len(page) < listing.size:
            return seen
        assert listing.requests < 500, "it ends"
        position = position.after([at(listing.times[i]) for i in page])
        between()


moments = st.integers(0, 24).map(lambda quarters: quarters / 4)  # a few seconds, four moments in each


@given(st.lists(moments, max_size=24), st.integers(1, 4), st.booleans(), st.data())
def test_nothing_that_was_there_throughout_is_missed(moments_, size, inclusive, data):
    """Records come and go while the walk goes on: new ones, back-dated ones, and deletions."""
    listing = Listing({f"r{n}": when for n, when in enumerate(moments_)}, size, inclusive)
    stayed = set(listing.times)

    def meanwhile() -> None:
        if listing.requests > 15:
            return
        for when in data.draw(st.lists(moments | st.just(99.0), max_size=2)):
            listing.times[f"n{len(listing.times)}-{listing.requests}"] = when
        removable = [i for i in sorted(listing.times) if not listing.crowded(listing.times[i])]
        for gone in data.draw(st.lists(st.sampled_from(removable), max_size=3, unique=True)) if removable else []:
            if not listing.crowded(listing.times[gone]):
                del listing.times[gone]
                stayed.discard(gone)

    seen = walk(listing, None, meanwhile)
    assert stayed <= seen


@given(st.lists(moments, max_size=24), st.integers(1, 4), st.booleans())
def test_a_list_that_keeps_still_is_read_whole(moments_, size, inclusive):
    listing = Listing({f"r{n}": when for n, when in enumerate(moments_)}, size, inclusive)
    assert walk(listing) == set(listing.times)
    assert listing.requests <= 3 * len(moments_) + 1


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("count", [99, 100, 101, 200, 250, 300])
def test_more_than_a_page_in_one_second(count, inclusive):
    crowd = {f"c{n}": 7 + n / 1000 for n in range(count)}
    listing = Listing(crowd | {"before": 6.5, "after": 8.0, "long before": 1.0}, PAGE, inclusive)
    assert walk(listing) == set(listing.times)


@pytest.mark.parametrize("inclusive", [False, True])
def test_a_walk_that_begins_in_the_middle(inclusive):
    listing = Listing({f"r{n}": n / 2 for n in range(40)}, 3, inclusive)
    assert {i for i, when in listing.times.items() if when < 10} <= walk(listing, at(10))


@given(st.lists(moments, max_size=24), st.integers(1, 4), st.booleans(), st.lists(moments, max_size=5))
def test_windows_walked_one_by_one_miss_nothing(moments_, size, inclusive, marks):
    listing = Listing({f"r{n}": when for n, when in enumerate(moments_)}, size, inclusive)
    seen: set[str] = set()
    for low, up in cut(EPOCH, at(30), [at(mark) for mark in marks]):
        after = (low - SECOND - NOON).total_seconds()
        shown = {i: when for i, when in listing.times.items() if when > after}  # exclusive, the stricter reading
        seen |= walk(Listing(shown, size, inclusive), up)
    assert seen == set(listing.times)


# Cutting


def test_windows_are_newest_first_and_end_at_whole_seconds():
    assert cut(at(0), at(100), [at(20.9), at(60.1)]) == [(at(60), at(100)), (at(20), at(60)), (at(0), at(20))]


def test_marks_outside_and_doubles_do_not_matter():
    assert cut(at(0), at(100), [at(-1), at(0.5), at(100.2), at(50), at(50.9)]) == [(at(50), at(100)), (at(0), at(50))]
    assert cut(at(0), at(100), []) == [(at(0), at(100))]


@given(st.integers(0, 50), st.integers(0, 50), st.lists(st.floats(-5, 110, allow_nan=False)))
def test_windows_cover_the_range_without_a_gap(lower, length, marks):
    low, up = at(lower), at(lower + length)
    spans = cut(low, up, [at(mark) for mark in marks])
    assert spans[0][1] == up
    assert spans[-1][0] == low
    for (newer_low, _), (_, older_up) in itertools.pairwise(spans):
        assert newer_low == older_up
    assert len(spans) == 1 or all(a < b and b == whole(b) for a, b in spans)


# Slices of the rolling sweep


@given(st.integers(0, 2_000_000))
def test_slices_are_equal_and_of_some_pages(records):
    step = stride(records)
    sizes = [min(step, records - begin) for begin in range(0, records, step)]
    assert sum(sizes) == records
    assert all(size <= MOST * PAGE for size in sizes)
    assert len(sizes) <= 1 or min(sizes[:-1]) >= LEAD * PAGE
    assert len(sizes) <= 1 or sizes[0] - sizes[-1] <= len(sizes)


@given(st.datetimes(), st.timedeltas(timedelta(hours=1), timedelta(days=30)), st.integers(1, 3000))
def test_turns_come_evenly_and_all_in_time(began, within, number):
    turns = spread(began, within, number)
    gaps = [b - a for a, b in itertools.pairwise([began, *turns])]
    assert len(turns) == number
    assert turns[-1] == began + within
    assert max(gaps) - min(gaps) <= timedelta(microseconds=1)


def probes(pages: int) -> tuple[list[int], int]:
    """Pages 2, 4, 8 … until one is not full; the last of `pages` is not."""
    asked = [2]
    while asked[-1] < pages:
        asked.append(asked[-1] * 2)
    return asked, asked[-1]


def test_looking_and_cutting_never_double_the_requests():
    """A plain walk takes one request per page. Every window that is cut costs one more page, begun and not filled."""
    for pages in range(3001):
        rest = max(pages - LEAD, 0)
        asked, extent = probes(rest) if rest else ([], 0)
        samples = sample_pages(extent)
        assert len(samples) == len(set(samples))
        assert all(1 <= page <= extent for page in samples)
        windows = 1 + sum(page < rest for page in samples)
        taken = 1 + min(max(pages, 1), LEAD) + len(asked) + len(samples) + rest + windows - 1
        assert taken <= 2 * max(pages, 1), f"{pages} pages"


@pytest.mark.parametrize("extent", [2**n for n in range(6, 13)])
def test_windows_are_of_about_the_same_size(extent):
    edges = [0, *sample_pages(extent), extent]
    sizes = [b - a for a, b in itertools.pairwise(edges)]
    assert len(sizes) >= 8
    assert max(sizes) <= 1.1 * min(sizes) + 1


class Line:
    """So many records, one after the other, so many in each second; only their times are looked at."""

    def __init__(self, count: int, per_second: int) -> None:
        self.count, self.per_second, self.requests = count, per_second, 0

    def times(self, before: int, after: int, page: int) -> list[datetime]:
        self.requests += 1
        top = min(self.count, before * self.per_second)
        bottom = bisect_left(range(self.count), (after + 1) * self.per_second)
        newest = top - (page - 1) * PAGE
        return [at(number // self.per_second) for number in range(max(newest - PAGE, bottom), newest)]

    def walk(self, upper: int, after: int, pages: int | None = None) -> int | None:
        """-> where it stopped after so many pages; None at the end"""
        position, read = Position(at(upper)), 0
        while True:
            before = int((position.before - NOON).total_seconds())
            times = self.times(before, after, position.page)
            if len(times) < PAGE:
                return None
            read, position = read + 1, position.after(times)
            if pages is not None and read >= pages and position.page == 1:
                return int((position.before - NOON).total_seconds())


per_seconds = pytest.mark.parametrize(
    "per_second", [1, 3, 30, 45, 51, 60, 75, 99, 100, 101, 150, 199, 250, 1_000, 5_000]
)
counts = pytest.mark.parametrize(
    "count", [0, 1, 99, 100, 101, 150, 250, 399, 700, 850, 1_250, 1_601, 3_333, 10_000, 65_000]
)


@per_seconds
@counts
def test_a_whole_backfill_takes_at_most_twice_the_requests(count, per_second):
    """Counted on a list, overlaps and all, next to a walk from page to page."""
    line, upper = Line(count, per_second), ceil(count / per_second) + 1
    line.times(upper, -1, 1)
    rest = line.walk(upper, -1, LEAD)
    if rest is not None:
        extent = 2
        while len(line.times(rest, -1, extent)) == PAGE:
            extent *= 2
        sampled = [line.times(rest, -1, page) for page in sample_pages(extent)]
        for low, up in cut(at(-1), at(rest), [times[0] for times in sampled if times]):
            line.walk(int((up - NOON).total_seconds()), int((low - SECOND - NOON).total_seconds()))
    assert line.requests <= 2 * (count // PAGE + 1)


@per_seconds
@counts
def test_a_whole_round_of_the_rolling_sweep_takes_at_most_twice_the_requests(count, per_second):
    """Though each slice has a turn of its own, that begins by looking whether anybody is there."""
    line, step = Line(count, per_second), stride(count)
    marks = [at(number // per_second) for number in range(step, count, step)]
    for low, up in cut(at(-1), at(ceil(count / per_second) + 1), marks):
        line.requests += 1
        line.walk(int((up - NOON).total_seconds()), int((low - SECOND - NOON).total_seconds()))
    assert line.requests <= 2 * (count // PAGE + 1)
