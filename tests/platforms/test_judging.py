"""What is read of a platform's JSON does not depend on how fast it was read."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.platforms.judging import decode

blanks = st.sampled_from(["", "", " ", "\n", "\t", "\r\n  "])
numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
texts = st.text() | st.from_regex(r"[, :\[-]*[0-9a-eE+]{1,40}[, \]}]*", fullmatch=True)
quoted = st.builds(json.dumps, texts, ensure_ascii=st.booleans()).filter(lambda text: _is_utf8(text))


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _within(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    between = st.builds(lambda before, value, after: before + value + after, blanks, inner, blanks)
    members = st.builds(lambda key, value: f"{key}:{value}", quoted, between)
    lists = st.lists(between, max_size=4).map(lambda items: f"[{','.join(items)}]")
    return lists | st.lists(members, max_size=4).map(lambda items: f"{{{','.join(items)}}}")


documents = st.recursive(numbers | quoted | st.sampled_from(["null", "true", "false"]), _within, max_leaves=12)


def _slowly(document: str) -> Any:
    """By the standard library alone, every number exactly; an infinite one is null."""

    def finite(digits: str) -> float | None:
        return float(digits) if math.isfinite(float(digits)) else None

    return _storable(json.loads(document, parse_float=finite))


def _storable(value: Any) -> Any:
    match value:
        case str():
            return re.sub("[\x00\ud800-\udfff]", "\ufffd", value)
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
    return value


@given(documents)
@example("18446744073709551616")
@example("[ -9223372036854775809]")
@example('{"a":123456789012345678901234567890}')
@example("[1E309,\n-1e+400,0.1e1000,1e-400]")
@example('["\\ud800", 12345678901234567890]')
@example('["\\u0000", "\\\\u0000"]')
def test_a_document_reads_as_by_the_standard_library(document: str) -> None:
    for encoded in (document.encode(), document.encode("utf-8-sig"), document.encode("utf-16")):
        assert repr(decode(encoded)) == repr(_slowly(document))


@pytest.mark.parametrize(
    "text",
    ["00000000000000000042", "id 12345678901234567890", "a1e999", "7e123e4567", "x-12345678901234567890", "\n\ud7a3"],
)
def test_text_that_looks_like_a_large_number_costs_no_second_reader(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.dumps({"id": text, "ids": [text, text], text: 1.5}, ensure_ascii=False).encode()

    def second(*_: object, **__: object) -> None:
        raise AssertionError("the slow reader was asked")

    expected = json.loads(document)
    monkeypatch.setattr(json, "loads", second)
    assert decode(document) == expected
