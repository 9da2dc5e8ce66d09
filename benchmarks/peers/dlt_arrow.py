"""dlt with a source written by hand: pages fetched side by side, and given to dlt as Arrow tables of a few thousand
records, which it neither inspects nor normalises row by row.

    python -m benchmarks.peers.dlt_arrow <base URL> <database URL> [raw]        raw: the untouched payload as well
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.peers import dlt_destination
from benchmarks.peers.dlt_destination import API_KEY, PAGE

AHEAD = 8
"""Pages of one list that are asked for at once: as many as the bridge asks for."""
TABLE = 10_000

_TEXT, _FLAG, _TIME, _JSON, _REAL, _WHOLE = "text", "flag", "time", "json", "real", "whole"
LISTS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "onvoard_contacts": ("contacts", {
        **{name: (name, _TEXT) for name in ("id", "email", "name", "phone", "email_double_optin_status")},
        **{name: (name, _FLAG) for name in (
            "accepts_marketing_emails", "suppressed", "email_sendable", "email_unsubscribed", "email_marked_as_spam",
            "email_hard_bounced", "email_double_opted_in",
        )},
        **{f"{name}_at": (f"{name}_datetime", _TIME) for name in ("created", "modified", "suppressed")},
        **{name: (name, _JSON) for name in ("lists", "tags", "segments", "properties")},
    }),
    "onvoard_reviews": ("reviews", {
        **{name: (name, _TEXT) for name in ("id", "title", "content", "entity", "status", "reply_html")},
        "rating": ("rating", _REAL), "is_verified": ("is_verified", _FLAG), "num_upvotes": ("num_upvotes", _WHOLE),
        **{f"product_{name}": (f"product.{name}", _TEXT) for name in ("id", "external_id", "name", "url", "image_url")},
        "reviewer_id": ("reviewer.id", _TEXT), "reviewer_display_name": ("reviewer.display_name", _TEXT),
        "reviewer_contact_id": ("reviewer.contact.id", _TEXT), "reviewer_email": ("reviewer.contact.email", _TEXT),
        "created_at": ("created_datetime", _TIME), "reply_at": ("reply_datetime", _TIME), "assets": ("assets", _JSON),
    }),
    "onvoard_activities": ("contact-activities", {
        "id": ("id", _TEXT), "type": ("type", _TEXT), "occurred_at": ("datetime", _TIME),
        "contact_id": ("contact.id", _TEXT), "contact_email": ("contact.email", _TEXT),
        "record_data": ("record_data", _JSON),
    }),
}  # fmt: skip


def main(base_url: str, database_url: str, raw: str = "") -> None:
    pipeline, how = dlt_destination.pipeline(database_url)
    import dlt

    written = dlt_destination.disposition(database_url)
    raw_column = {"raw": ("", _JSON)} if raw else {}
    resources = [
        dlt.resource(
            tables(base_url, path, columns | raw_column), name=table, primary_key="id", write_disposition=written,
            columns={
                column: {"data_type": "json"} for column, (_, kind) in (columns | raw_column).items() if kind == _JSON
            },
            parallelized=True,
        )
        for table, (path, columns) in LISTS.items()
    ]  # fmt: skip
    pipeline.run(resources, **how)


def tables(base_url: str, path: str, columns: dict[str, tuple[str, str]]) -> Iterator[Any]:
    rows: list[dict[str, Any]] = []
    for results in pages(base_url, path):
        rows += results
        if len(rows) >= TABLE:
            yield table(rows, columns)
            rows = []
    if rows:
        yield table(rows, columns)


def pages(base_url: str, path: str) -> Iterator[list[dict[str, Any]]]:
    import httpx
    import orjson

    with (
        httpx.Client(base_url=base_url, headers={"X-API-Key": API_KEY}) as http,
        ThreadPoolExecutor(AHEAD) as pool,
    ):

        def fetch(number: int) -> list[dict[str, Any]]:
            answer = http.get(f"/v2/{path}", params={"page": number, "page_size": PAGE})
            answer.raise_for_status()
            return orjson.loads(answer.content)["results"]  # type: ignore[no-any-return]

        asked = [pool.submit(fetch, number) for number in range(1, AHEAD + 1)]
        following = AHEAD + 1
        while True:
            results = asked.pop(0).result()
            asked.append(pool.submit(fetch, following))
            following += 1
            yield results
            if len(results) < PAGE:
                return


def table(rows: list[dict[str, Any]], columns: dict[str, tuple[str, str]]) -> Any:
    import orjson
    import pyarrow as pa
    import pyarrow.compute as pc

    types = {_FLAG: pa.bool_(), _REAL: pa.float64(), _WHOLE: pa.int64()}
    arrays = {}
    for column, (path, kind) in columns.items():
        values: list[Any] = rows
        for level in path.split(".") if path else ():
            values = [value.get(level) if value else None for value in values]
        if kind == _JSON:
            values = [orjson.dumps(value).decode() for value in values]
        array = pa.array(values, types.get(kind, pa.string()))
        arrays[column] = pc.cast(array, pa.timestamp("us", "UTC")) if kind == _TIME else array
    return pa.table(arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
