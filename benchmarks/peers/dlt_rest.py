"""dlt's own `rest_api` source, tuned: the three lists side by side, nested fields as JSON, COPY into Postgres.

    python -m benchmarks.peers.dlt_rest <base URL> <database URL>
"""

from __future__ import annotations

import sys

from benchmarks.peers import dlt_destination
from benchmarks.peers.dlt_destination import API_KEY, PAGE

LISTS = {"onvoard_contacts": "contacts", "onvoard_reviews": "reviews", "onvoard_activities": "contact-activities"}


def main(base_url: str, database_url: str) -> None:
    pipeline, how = dlt_destination.pipeline(database_url)
    from dlt.sources.rest_api import rest_api_source

    written = dlt_destination.disposition(database_url)
    source = rest_api_source(
        {
            "client": {
                "base_url": f"{base_url}/v2/",
                "auth": {"type": "api_key", "name": "X-API-Key", "api_key": API_KEY, "location": "header"},
                "paginator": {"type": "page_number", "base_page": 1, "page_param": "page", "total_path": None},
            },
            "resource_defaults": {
                "primary_key": "id",
                "write_disposition": written,
                "max_table_nesting": 0,
                "parallelized": True,
                "endpoint": {"params": {"page_size": PAGE}, "data_selector": "results"},
            },
            "resources": [{"name": table, "endpoint": {"path": path}} for table, path in LISTS.items()],
        }
    )
    pipeline.run(source, **how)


if __name__ == "__main__":
    main(*sys.argv[1:])
