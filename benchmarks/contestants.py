"""Who takes part, and the command by which each pulls everything."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import environments
from benchmarks.databases import POSTGRES, SQLITE
from benchmarks.environments import ROOT
from benchmarks.place import Place
from benchmarks.platforms import API_KEY

Command = Callable[[Place], list[str]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """`pull` is for everything, into an empty database or one that holds an earlier state. `needs`: environments."""

    name: str
    pull: Command
    needs: tuple[str, ...] = ()
    kinds: tuple[str, ...] = (SQLITE, POSTGRES)


def bridge(*arguments: str) -> Command:
    return lambda _: [sys.executable, "-m", "service", *arguments]


def _dlt(module: str, *more: str) -> Command:
    return lambda place: [
        environments.python("dlt"), "-m", f"benchmarks.peers.{module}", place.served.url, place.database, *more
    ]  # fmt: skip


def burst(*options: str) -> Command:
    return lambda place: [sys.executable, "-m", "benchmarks.burst", str(place.served.size.contacts), *options]


def _plain(place: Place) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peers.plain", place.served.url, place.database]


def _singer(place: Place) -> list[str]:
    target = {
        "sqlalchemy_url": place.database.replace("postgresql:", "postgresql+psycopg:"),
        "default_target_schema": "public", "load_method": "upsert", "use_copy": True, "batch_size_rows": 20_000,
        "add_record_metadata": False, "activate_version": False, "validate_records": False,
    }  # fmt: skip
    (place.folder / "target.json").write_text(json.dumps(target))
    (place.folder / "tap.json").write_text(json.dumps({"base_url": place.served.url, "api_key": API_KEY}))
    return [
        "bash", str(ROOT / "benchmarks" / "peers" / "singer.sh"), environments.python("singer-tap"), "tap.json",
        str(environments.bin_of("singer-target") / "target-postgres"), "target.json",
    ]  # fmt: skip


def _load_limit(place: Place) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peers.load_limit", place.database, str(place.served.rows)]


BRIDGE = Contestant("contact-bridge", bridge("backfill"))
PLAIN = Contestant("plain script", _plain)
DLT_ARROW = Contestant("dlt, Arrow source", _dlt("dlt_arrow"), ("dlt",))
DLT_ARROW_RAW = Contestant("dlt, Arrow source, payload kept", _dlt("dlt_arrow", "raw"), ("dlt",))
DLT_REST = Contestant("dlt rest_api", _dlt("dlt_rest"), ("dlt",))
SINGER = Contestant("Singer tap and target", _singer, ("singer-tap", "singer-target"), (POSTGRES,))
LOAD_LIMIT = Contestant("load limit", _load_limit, kinds=(POSTGRES,))
BARE = Contestant("bare receiver", burst("--bare"))
PEERS = {
    "plain": PLAIN, "dlt-arrow": DLT_ARROW, "dlt-arrow-raw": DLT_ARROW_RAW, "dlt-rest": DLT_REST, "singer": SINGER,
    "load-limit": LOAD_LIMIT, "bare": BARE,
}  # fmt: skip
