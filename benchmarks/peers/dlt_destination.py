"""How both dlt peers are run: into which database, and with which settings. In dlt's own environment."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

API_KEY = "benchmark"
PAGE = 100
TUNED = {
    "EXTRACT__WORKERS": "8",
    "NORMALIZE__WORKERS": str(os.cpu_count() or 2),
    "LOAD__WORKERS": "8",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "20000",
    "DATA_WRITER__FILE_MAX_ITEMS": "50000",  # several files a table: normalised and loaded side by side
    "DATA_WRITER__DISABLE_COMPRESSION": "true",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
}


def pipeline(database_url: str) -> tuple[Any, dict[str, Any]]:
    """-> (the pipeline, what its `run` is to be told)"""
    os.environ.update(TUNED)
    import dlt

    if database_url.startswith("sqlite:"):
        # Without a key its merge compares every row with every other.
        destination: Any = dlt.destinations.sqlalchemy(database_url, create_primary_keys=True)
        made = dlt.pipeline("bench", destination=destination, dataset_name="main", pipelines_dir="dlt")
        return made, {"loader_file_format": "parquet"}
    url = urlsplit(database_url)
    credentials = {
        "drivername": "postgresql", "username": url.username, "password": url.password or "unused",
        "host": url.hostname or quote(parse_qs(url.query)["host"][0], safe=""),  # a socket's folder
        "port": url.port or 5432, "database": url.path[1:],
    }  # fmt: skip
    destination = dlt.destinations.postgres(credentials)
    made = dlt.pipeline("bench", destination=destination, dataset_name="public", pipelines_dir="dlt")
    return made, {"loader_file_format": "csv"}  # by COPY


def disposition(database_url: str) -> dict[str, str]:
    """Merged by id, as everybody else does: pages shift while they are read. SQLite knows one way only."""
    return {"disposition": "merge", "strategy": "delete-insert" if database_url.startswith("sqlite:") else "upsert"}
