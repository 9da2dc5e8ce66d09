"""Whatever JSON a platform answers, each field is read as its type or as nothing, and the payload stays as it came."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.platforms.judging import decode
from service.platforms.payload import Columns, Fields, identity, refusal


class Colour(StrEnum):
    RED = "RED"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
    | st.sampled_from(["", "RED", "true", " 0 ", "1e999", "9999-12-31T23:59:59-14:00", "0001-01-01", "2024-W01-1"])
    | st.sampled_from([2**63, -(2**63), 10**400, 1e308, 253402300800, -62135596801]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
READERS: dict[str, tuple[Callable[[Fields], Any], Callable[[Any], bool]]] = {
    "text": (lambda f: f.text("k"), lambda v: isinstance(v, str)),
    "number": (lambda f: f.number("k"), lambda v: isinstance(v, float) and math.isfinite(v)),
    "integer": (lambda f: f.integer("k"), lambda v: type(v) is int and abs(v) < 2**63),
    "flag": (lambda f: f.flag("k"), lambda v: isinstance(v, bool)),
    "moment": (lambda f: f.moment("k"), lambda v: v.utcoffset() == timedelta(0)),
    "choice": (lambda f: f.choice("k", Colour), lambda v: isinstance(v, str)),
    "objects": (lambda f: f.objects("k"), lambda v: all(isinstance(item, dict) for item in v)),
    "texts": (lambda f: f.texts("k"), lambda v: all(isinstance(item, str) for item in v)),
    "mapping": (lambda f: f.mapping("k"), lambda v: isinstance(v, dict)),
    "inner text": (lambda f: f.inner("k").text("id"), lambda v: isinstance(v, str)),
    "inner inner": (lambda f: f.inner("k").inner("k").moment("k"), lambda v: v.utcoffset() == timedelta(0)),
}


@pytest.mark.parametrize("reader", READERS)
@given(json_values)
def test_any_json_is_of_the_type_or_nothing(reader: str, value: Any) -> None:
    read, fits = READERS[reader]
    payload, surprises = {"k": decode(json.dumps(value).encode())}, Counter[str]()
    before = deepcopy(payload)
    found = read(Fields("kind", payload, surprises))
    assert found is None or fits(found)
    assert payload == before
    plain = value is None or value == "" or reader.startswith("inner")
    assert found is not None or plain or surprises, "nothing is lost without a word"
    assert all(name.startswith("kind") and str(value) not in name for name in surprises if len(str(value)) > 12)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.none() | st.text() | json_values))
@example({"a": "1", "b": None, "c": "3"})
@example({"a": "1", "b": True, "c": "3"})
def test_texts_that_are_read_at_once_are_those_that_are_read_one_by_one(payload: dict[str, Any]) -> None:
    together, alone = Counter[str](), Counter[str]()
    found = Fields("kind", payload, together).texts_under(Columns("a", "b", "c"))
    assert found == tuple(Fields("kind", payload, alone).text(key) for key in ("a", "b", "c"))
    assert together == alone


@given(json_values, st.text(max_size=3))
@example({"id": 7.0}, "id")
def test_any_json_has_an_id_or_is_refused_with_a_reason(record: Any, key: str) -> None:
    record = decode(json.dumps(record).encode())
    found = identity(record, key)
    assert found is None or (found and found == found.strip())
    if found is None:
        refused = refusal("kind", record, key, 3)
        assert refused.raw is record and refused.reason and refused.position == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [("x1", "x1"), (" x1 ", "x1"), (7, "7"), (7.0, "7"), (10**30, "1" + "0" * 30), ("", None), (" ", None)],
)
def test_an_id_that_came_as_a_number_is_an_id(value: object, expected: str | None) -> None:
    assert identity({"id": value}, "id") == expected


@pytest.mark.parametrize("value", [None, True, False, [], ["x"], {}, {"id": "x"}])
def test_what_identifies_nothing_is_no_id(value: object) -> None:
    assert identity({"id": value}, "id") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((True, True), ("true", True), (" TRUE ", True), ("1", True), (1, True), (1.0, True)),
        *((0, False), (0.0, False), ("False", False), ("yes", None), (2, None), ("", None), ([True], None)),
    ],
)
def test_a_flag_in_another_dress_is_understood_or_unknown_but_never_turned_round(
    value: object, expected: bool | None
) -> None:
    surprises: Counter[str] = Counter()
    assert Fields("contact", {"email_unsubscribed": value}, surprises).flag("email_unsubscribed") is expected
    assert bool(surprises) is not isinstance(value, bool)


def test_a_time_is_read_in_every_shape_that_the_documents_show() -> None:
    shapes = {
        "2021-08-12T23:09:54.588927Z": datetime(2021, 8, 12, 23, 9, 54, 588927, tzinfo=UTC),
        "2022-02-18T08:34:44.995921+00:00": datetime(2022, 2, 18, 8, 34, 44, 995921, tzinfo=UTC),
        "2019-09-23T00:00:00+0000": datetime(2019, 9, 23, tzinfo=UTC),
        "2026-01-02T03:04:05": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        1593739557: datetime(2020, 7, 3, 1, 25, 57, tzinfo=UTC),
    }
    for said, meant in shapes.items():
        surprises: Counter[str] = Counter()
        assert Fields("kind", {"at": said}, surprises).moment("at") == meant and not surprises


@pytest.mark.parametrize(("payload", "said"), [({"at": ""}, []), ({"at": None}, []), ({}, ["kind.at: missing"])])
def test_where_there_is_no_time_only_a_missing_field_is_a_surprise(payload: dict[str, Any], said: list[str]) -> None:
    surprises: Counter[str] = Counter()
    assert Fields("kind", payload, surprises).moment("at") is None
    assert list(surprises) == said
