"""Cursors, runs, leases, and the few facts that a mirror remembers about itself."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update

from service.errors import ForeignAccount
from service.store import mirror, tallies
from service.store import tables as t
from service.store.mirror import insert
from service.store.types import iso

ANOTHER_MIRROR = "point BRIDGE_DATABASE_URL at a mirror of this account, or start a new one"


_CURSOR = select(t.cursors.c.value).where(t.cursors.c.stream == bindparam("stream"))
_FACT = select(t.facts.c.value).where(t.facts.c.key == bindparam("fact"))


def get(conn: Connection, stream: str) -> str | None:
    return conn.execute(_CURSOR, {"stream": stream}).scalar()


def get_time(conn: Connection, stream: str) -> datetime | None:
    value = get(conn, stream)
    return datetime.fromisoformat(value) if value else None


def put(conn: Connection, stream: str, value: str | datetime, now: datetime) -> None:
    """Only ever in the transaction that follows, or holds, the rows that it stands for (law 7)."""
    row = {"stream": stream, "value": iso(value) if isinstance(value, datetime) else value, "updated_at": now}
    mirror.put(conn, t.cursors, "stream", row)


def fact(conn: Connection, key: str) -> str | None:
    return conn.execute(_FACT, {"fact": key}).scalar()


def set_fact(conn: Connection, key: str, value: str) -> None:
    mirror.put(conn, t.facts, "key", {"key": key, "value": value})


def fact_once(conn: Connection, key: str, value: str) -> str:
    """The fact as it is, or as it is set now for good."""
    conn.execute(insert(conn, t.facts).on_conflict_do_nothing(), {"key": key, "value": value})
    return fact(conn, key) or value


def facts_under(conn: Connection, prefix: str) -> dict[str, str]:
    """The facts whose key begins so, by what follows."""
    return {key.removeprefix(prefix): value for key, value in conn.execute(_facts_under(prefix))}


@cache
def _facts_under(prefix: str) -> Any:
    return select(t.facts.c.key, t.facts.c.value).where(t.facts.c.key.startswith(prefix, autoescape=True))


def forget_fact(conn: Connection, key: str) -> None:
    conn.execute(delete(t.facts).where(t.facts.c.key == key))


def hash_key(conn: Connection) -> bytes:
    """The key of the hashes by which erased people are recognised; made with the mirror, and of no use elsewhere."""
    return bytes.fromhex(fact_once(conn, "hash_key", secrets.token_hex(32)))


def start_run(conn: Connection, kind: str, now: datetime) -> int:
    row = {"kind": kind, "started_at": now, "outcome": "running", "counts": {}}
    key = conn.execute(t.runs.insert(), row).inserted_primary_key
    assert key is not None
    return int(key[0])


_FINISH = (
    update(t.runs)
    .where(t.runs.c.id == bindparam("run"))
    .values(outcome=bindparam("how"), counts=bindparam("figures"), finished_at=bindparam("now"), progress=None)
    .returning(t.runs.c.kind, t.runs.c.started_at)
)


def finish_run(conn: Connection, run_id: int, outcome: str, counts: Mapping[str, Any], now: datetime) -> None:
    values = {"run": run_id, "how": outcome, "figures": dict(counts), "now": now}
    for kind, started_at in conn.execute(_FINISH, values).all():
        tallies.ended(conn, kind, outcome, (now - started_at).total_seconds(), counts)


_ANYBODYS = delete(t.leases).where(t.leases.c.name == bindparam("lease"))
_MINE = _ANYBODYS.where(t.leases.c.owner == bindparam("me"))
_STILL_MINE = (
    select(t.leases.c.name)
    .where(t.leases.c.name == bindparam("lease"), t.leases.c.owner == bindparam("me"))
    .with_for_update(read=True, key_share=True)
)


def take_lease(conn: Connection, name: str, owner: str, until: datetime) -> None:
    """Whoever had it before has it no longer: their last transaction ends first (`has_lease`)."""
    conn.execute(_ANYBODYS, {"lease": name})
    conn.execute(t.leases.insert(), {"name": name, "owner": owner, "expires_at": until})


def has_lease(conn: Connection, name: str, owner: str) -> bool:
    """And keeps it until the end of this transaction."""
    return conn.execute(_STILL_MINE, {"lease": name, "me": owner}).first() is not None


def renew_lease(conn: Connection, name: str, owner: str, until: datetime) -> None:
    mine = (t.leases.c.name == name, t.leases.c.owner == owner)
    conn.execute(update(t.leases).where(*mine).values(expires_at=until))


def drop_lease(conn: Connection, name: str, owner: str) -> None:
    conn.execute(_MINE, {"lease": name, "me": owner})


_ACCOUNT = select(t.accounts).where(t.accounts.c.platform == bindparam("platform"))


def claim_account(conn: Connection, platform: str, base_url: str, fingerprint: str, now: datetime) -> bool:
    """The first account to be mirrored is the only one (law 11); `ForeignAccount` for one at another address.

    -> whether the credential is the one that the mirror knows
    """
    row = {"platform": platform, "base_url": base_url, "fingerprint": fingerprint, "since": now}
    conn.execute(insert(conn, t.accounts).on_conflict_do_nothing(), row)
    known = conn.execute(_ACCOUNT, {"platform": platform}).mappings().one()
    if known["base_url"] != base_url:
        raise ForeignAccount(
            f"{platform}: this mirror belongs to another account: it mirrors {known['base_url']}", hint=ANOTHER_MIRROR
        )
    return bool(known["fingerprint"] == fingerprint)


def renew_account(conn: Connection, platform: str, fingerprint: str) -> None:
    conn.execute(update(t.accounts).where(t.accounts.c.platform == platform).values(fingerprint=fingerprint))


def account(conn: Connection, platform: str) -> tuple[str, str] | None:
    """(base URL, fingerprint) of the account that this mirror belongs to; None while it belongs to none."""
    row = conn.execute(_ACCOUNT, {"platform": platform}).first()
    return (row.base_url, row.fingerprint) if row else None


_BACKLOG = (
    select(t.windows)
    .where(t.windows.c.stream == bindparam("stream"), ~t.windows.c.done)
    .order_by(t.windows.c.upper.desc())
)


def backlog(conn: Connection, stream: str) -> list[dict[str, Any]]:
    """The windows of a backfill that are not finished."""
    return [dict(row) for row in conn.execute(_BACKLOG, {"stream": stream}).mappings()]


def open_window(conn: Connection, stream: str, lower: datetime, upper: datetime) -> None:
    conn.execute(delete(t.windows).where(t.windows.c.stream == stream))
    row = {"stream": stream, "lower": lower, "upper": upper, "reached": upper, "done": False}
    conn.execute(t.windows.insert(), row)


def split_window(conn: Connection, window_id: int, at: datetime, spans: list[tuple[datetime, datetime]]) -> None:
    """What was read of a window is done; the rest becomes windows of its own."""
    w = t.windows
    stream = conn.execute(select(w.c.stream).where(w.c.id == window_id)).scalar_one()
    conn.execute(update(w).where(w.c.id == window_id).values(lower=at, reached=at, done=True))
    rows = [{"stream": stream, "lower": low, "upper": up, "reached": up, "done": False} for low, up in spans]
    conn.execute(w.insert(), rows)


def windows_began(conn: Connection, stream: str) -> datetime | None:
    """The upper end of a backfill: the server's time when it began, rounded up."""
    return conn.execute(select(func.max(t.windows.c.upper)).where(t.windows.c.stream == stream)).scalar()


_MOVED = update(t.windows).where(t.windows.c.id == bindparam("window")).values(
    reached=bindparam("to"), done=bindparam("over")
)


def move_windows(conn: Connection, moved: Mapping[int, tuple[datetime, bool]]) -> None:
    """By id: how far each is read, and whether that is all of it."""
    if moved:
        conn.execute(_MOVED, [{"window": key, "to": to, "over": over} for key, (to, over) in moved.items()])


def close_windows(conn: Connection, stream: str) -> None:
    conn.execute(delete(t.windows).where(t.windows.c.stream == stream))


def count(conn: Connection, table: Any, *where: Any) -> int:
    return int(conn.execute(select(func.count()).select_from(table).where(*where)).scalar_one())
