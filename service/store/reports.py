"""The SELECTs behind status, conflicts, outbox and explain. Each takes a connection and returns plain values: lists and
dicts of text, numbers, booleans, aware datetimes and what JSON columns hold; the same on SQLite and on Postgres."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection as Connection  # the command line names it, and imports no SQL
from sqlalchemy import Select, case, func, or_, select, text, union

from service.core.mapping import normal_email
from service.store import tables as t
from service.store.cursors import count
from service.store.health import ENDED_WELL, WAITING
from service.store.outbox import Lane

Row = dict[str, Any]

PEOPLE = ("linked", "onvoard_only", "digital_onboarding_only", "conflict", "suppressed", "erased")
CLOSED = ("done", "cancelled")
HELD_SHOWN = 1_000  # pushes
RELEASE = "contact-bridge sync --allow-mass-change"
CONFLICT_COLUMNS = (
    "id", "person_id", "kind", "field", "status", "reason", "onvoard_value", "digital_onboarding_value", "kept",
    "created_at", "resolved_at", "resolved_by",
)  # fmt: skip
OUTBOX_COLUMNS = (
    "id", "person_id", "platform", "operation", "payload", "status", "attempts", "last_error", "created_at",
    "updated_at",
)  # fmt: skip
_CHANGE_COLUMNS = (
    "id", "run_id", "platform", "field", "old_value", "new_value", "rule", "at", "source", "said_at", "losing_value",
)  # fmt: skip


def _rows(conn: Connection, query: Select[Any]) -> list[Row]:
    return [dict(row) for row in conn.execute(query).mappings()]


# --- status


def people(conn: Connection) -> dict[str, int]:
    """How many people there are by status; every status is named."""
    found = conn.execute(text("SELECT status, count(*) AS n FROM people GROUP BY status"))
    return dict.fromkeys(PEOPLE, 0) | {row.status: int(row.n) for row in found}


def cursors(conn: Connection, now: datetime) -> list[Row]:
    """Each stream with its lag: the age of what it has read up to or, where it is no time, of its last move."""
    rows = _rows(conn, select(t.cursors).order_by(t.cursors.c.stream))
    for row in rows:
        reached = _time(row["value"]) or row["updated_at"]
        row["lag_seconds"] = None if reached is None else max(0, int((now - reached).total_seconds()))
    return rows


def _time(value: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(value or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _kinds() -> Any:
    """The kinds of runs, one step along their index for each: there are few kinds, and many runs."""
    r = t.runs.c
    first = select(func.min(r.kind).label("kind")).cte("kinds", recursive=True)
    following = select(func.min(r.kind)).where(r.kind > first.c.kind).scalar_subquery()
    return first.union_all(select(following).where(first.c.kind.is_not(None)))


def last_runs(conn: Connection) -> list[Row]:
    """The last run of each kind."""
    kinds = _kinds()
    r = t.runs.alias()
    newest = select(func.max(r.c.id)).where(r.c.kind == kinds.c.kind).correlate(kinds).scalar_subquery()
    return _rows(conn, select(t.runs).select_from(kinds.join(t.runs, t.runs.c.id == newest)).order_by(t.runs.c.kind))


def runs_since(conn: Connection, since: datetime, limit: int) -> list[Row]:
    """The newest runs that have ended since then, newest first; no more than `limit` are looked at."""
    r = t.runs.c
    query = select(r.kind, r.finished_at, r.outcome, r.counts).order_by(r.id.desc()).limit(limit)
    return [row for row in _rows(conn, query) if row["finished_at"] is not None and row["finished_at"] >= since]


def waiting_since(conn: Connection) -> datetime | None:
    """Since when something stands that was not carried over: the oldest open push, open conflict, or hold."""
    o, c = t.outbox.c, t.conflicts.c
    first = select(func.min(o.id)).where(o.status.in_(WAITING)).scalar_subquery()
    oldest = (
        select(o.created_at).where(o.id == first),
        select(func.min(c.created_at)).where(c.status == "open"),
        select(func.min(t.holds.c.since)),
    )
    return min((at for query in oldest if (at := conn.execute(query).scalar()) is not None), default=None)


def last_successes(conn: Connection) -> dict[str, datetime]:
    """Kind of run -> when one last ended well (`health.ENDED_WELL`)."""
    r, kinds = t.runs.c, _kinds()
    well = select(r.finished_at).where(r.kind == kinds.c.kind, r.outcome.in_(ENDED_WELL))
    newest = well.order_by(r.id.desc()).limit(1).scalar_subquery()
    return {kind: at for kind, at in conn.execute(select(kinds.c.kind, newest).order_by(kinds.c.kind)) if at}


def verifications(conn: Connection) -> list[Row]:
    """The last one of each stream."""
    newest = select(func.max(t.verifications.c.id)).group_by(t.verifications.c.stream)
    v = t.verifications
    return _rows(conn, select(v).where(v.c.id.in_(newest)).order_by(v.c.stream))


def run_known(conn: Connection, run_id: int) -> bool:
    return count(conn, t.runs, t.runs.c.id == run_id) > 0


def outbox_counts(pushes: Iterable[Row]) -> dict[str, dict[str, int]]:
    """Rows of `health.pushes` -> platform -> status -> how many pushes."""
    found: dict[str, Counter[str]] = {"onvoard": Counter(), "digital_onboarding": Counter()}
    for row in pushes:
        found.setdefault(row["platform"], Counter())[row["status"]] += row["pushes"]
    return {platform: dict(sorted(counts.items())) for platform, counts in found.items()}


def open_conflicts(conn: Connection) -> int:
    return count(conn, t.conflicts, t.conflicts.c.status == "open")


def holds(conn: Connection, hold_opt_outs_for: timedelta | None) -> list[Row]:
    """The brake, by platform: how many people, pushes and opt-outs it holds, when the opt-outs leave by themselves, and
    the `changes` of the first pushes (person_id, email, field, old, new, why); `left_out` counts the other pushes."""
    rows = _rows(conn, select(t.holds).order_by(t.holds.c.platform))
    return [row | _held_back(conn, row, hold_opt_outs_for) for row in rows]


def _held_back(conn: Connection, hold: Row, hold_opt_outs_for: timedelta | None) -> Row:
    o, p, ov, do = t.outbox, t.persons, t.onvoard_contacts, t.digital_onboarding_contacts
    held = (o.c.platform == hold["platform"], o.c.status == "held")
    out = case((o.c.lane == int(Lane.OPT_OUT), o.c.person_id))
    figures = select(func.count(o.c.person_id.distinct()), func.count(), func.count(out.distinct())).where(*held)
    people_, pushes, opt_outs = conn.execute(figures).one()
    source = (
        o.outerjoin(p, p.c.id == o.c.person_id)
        .outerjoin(ov, ov.c.id == p.c.onvoard_contact_id)
        .outerjoin(do, do.c.unique_id == p.c.unique_id)
    )
    email = func.coalesce(ov.c.email, do.c.email).label("email")
    shown = select(o.c.person_id, email, o.c.details).select_from(source).where(*held)
    rows = _rows(conn, shown.order_by(o.c.lane, o.c.id).limit(HELD_SHOWN))
    return {
        "people": people_,
        "opt_outs": opt_outs,
        "opt_outs_leave_at": hold["since"] + hold_opt_outs_for if opt_outs and hold_opt_outs_for is not None else None,
        "release_with": RELEASE,
        "changes": [
            {"person_id": row["person_id"], "email": row["email"]}
            | {key: detail[key] for key in ("field", "old", "new", "why")}
            for row in rows
            for detail in row["details"] or ()
        ],
        "left_out": pushes - len(rows),
    }


def surprises(conn: Connection) -> list[Row]:
    """What the platforms' answers held beyond their documents, the newest kind first."""
    return _rows(conn, select(t.surprises).order_by(t.surprises.c.first_seen_at.desc(), t.surprises.c.what))


def leases(conn: Connection, now: datetime) -> list[Row]:
    """Who does what at the moment; a lease that has run out belongs to a process that died."""
    rows = _rows(conn, select(t.leases).order_by(t.leases.c.name))
    return [row | {"running": row["expires_at"] > now} for row in rows]


def unseen(conn: Connection) -> dict[str, int]:
    """Contacts that changed and that no cycle has looked at yet, by platform."""
    ov, do = t.onvoard_contacts, t.digital_onboarding_contacts
    return {"onvoard": count(conn, ov, ov.c.dirty), "digital_onboarding": count(conn, do, do.c.dirty)}


# --- conflicts and outbox


def conflicts(
    conn: Connection, *, everything: bool = False, after: int = 0, limit: int | None = None
) -> list[Row]:
    """Oldest first; the open ones unless `everything`. A page of `limit`: those after this id."""
    query = select(*(t.conflicts.c[name] for name in CONFLICT_COLUMNS)).where(t.conflicts.c.id > after)
    query = query.order_by(t.conflicts.c.id).limit(limit)
    return _rows(conn, query if everything else query.where(t.conflicts.c.status == "open"))


def conflict(conn: Connection, conflict_id: int) -> Row | None:
    """With the note of whoever resolved it."""
    query = select(*(t.conflicts.c[name] for name in (*CONFLICT_COLUMNS, "note")))
    query = query.where(t.conflicts.c.id == conflict_id)
    return next(iter(_rows(conn, query)), None)


def frozen_by(conn: Connection, conflict_id: int) -> list[int]:
    """The persons for whom nothing but opt-outs is pushed until this conflict is resolved."""
    query = select(t.persons.c.id).where(t.persons.c.conflict_id == conflict_id).order_by(t.persons.c.id)
    return list(conn.execute(query).scalars())


def outbox(conn: Connection, *, everything: bool = False) -> list[Row]:
    """Oldest first; what is neither done nor cancelled unless `everything`."""
    query = select(*(t.outbox.c[name] for name in OUTBOX_COLUMNS)).order_by(t.outbox.c.id)
    return _rows(conn, query if everything else query.where(t.outbox.c.status.not_in(CLOSED)))


def outbox_page(conn: Connection, status: str, after: int, limit: int) -> list[Row]:
    """The pushes of one status after this id, oldest first."""
    o = t.outbox.c
    query = select(*(o[name] for name in OUTBOX_COLUMNS)).where(o.status == status, o.id > after)
    return _rows(conn, query.order_by(o.id).limit(limit))


def push(conn: Connection, push_id: int) -> Row | None:
    """With what it changes (`details`), and when it did not get through and why (`reasons`), oldest first."""
    columns = [t.outbox.c[name] for name in (*OUTBOX_COLUMNS, "run_id", "target", "sync_id", "cause", "details")]
    found = _one(conn, select(*columns).where(t.outbox.c.id == push_id))
    if found is not None:
        a = t.outbox_attempts.c
        found["reasons"] = _rows(conn, select(a.at, a.status, a.reason).where(a.push_id == push_id).order_by(a.id))
    return found


# --- explain


def find(conn: Connection, who: str) -> list[Row]:
    """Everybody who may be meant by an e-mail, a unique_id or a platform id, as (person_id, onvoard_contact_id,
    unique_id). A contact that no cycle has looked at yet has no person."""
    ov = _contacts_called(t.onvoard_contacts, who, "id")
    do = _contacts_called(t.digital_onboarding_contacts, who, "unique_id")
    onvoard_ids, unique_ids = (list(conn.execute(query).scalars()) for query in (ov, do))
    p, tomb = t.persons.c, t.tombstones.c
    buried = select(tomb.person_id).where(
        or_(tomb.onvoard_contact_id == who, tomb.digital_onboarding_id == who, tomb.unique_id == who)
    )
    query = select(p.id.label("person_id"), p.onvoard_contact_id, p.unique_id).where(
        or_(
            p.onvoard_contact_id.in_({who, *onvoard_ids}),
            p.unique_id.in_({who, *unique_ids}),
            p.former_onvoard_contact_id.in_({who, *onvoard_ids}),
            p.id.in_(buried),
        )
    )
    found = _rows(conn, query.order_by(p.id))
    return found + _without_person(conn, found, onvoard_ids, unique_ids)


def _contacts_called(table: Any, who: str, key: str) -> Any:
    """The keys of the contacts that have this address or one of these ids; each arm finds its index."""
    column = table.c[key]
    arms = [select(column).where(column == who)]
    if email := normal_email(who):
        arms.append(select(column).where(table.c.email_key == email))
    if "unique_id_key" in table.c:
        arms.append(select(column).where(table.c.unique_id_key == normal_email(who)))
        arms.append(select(column).where(table.c.id == who))
    return union(*arms)


def _without_person(
    conn: Connection, found: Iterable[Row], onvoard_ids: Iterable[str], unique_ids: Iterable[str]
) -> list[Row]:
    """The contacts that no person holds; a deleted one only where nobody else is meant."""
    of_onvoard, of_digital = _held(conn, onvoard_ids, unique_ids)
    ov = t.onvoard_contacts.c
    lonely = select(ov.id, ov.deleted_at).where(ov.id.in_(set(onvoard_ids) - of_onvoard)).order_by(ov.id)
    contacts = conn.execute(lonely).all()
    living = [row.id for row in contacts if row.deleted_at is None]
    digital = sorted(set(unique_ids) - of_digital)
    if not (found or living or digital):
        living = [row.id for row in contacts]
    alone = [{"person_id": None, "onvoard_contact_id": key, "unique_id": None} for key in living]
    return alone + [{"person_id": None, "onvoard_contact_id": None, "unique_id": key} for key in digital]


def _held(conn: Connection, onvoard_ids: Iterable[str], unique_ids: Iterable[str]) -> tuple[set[str], set[str]]:
    """Which of these contacts belong to a person."""
    p = t.persons.c
    rows = conn.execute(
        select(p.onvoard_contact_id, p.former_onvoard_contact_id, p.unique_id).where(
            or_(
                p.onvoard_contact_id.in_(list(onvoard_ids)),
                p.former_onvoard_contact_id.in_(list(onvoard_ids)),
                p.unique_id.in_(list(unique_ids)),
            )
        )
    ).all()
    return {key for row in rows for key in row[:2] if key}, {row[2] for row in rows if row[2]}


def person(conn: Connection, person_id: int) -> Row | None:
    """A person as `people` shows them, with what only the bridge knows: the tombstone, the freezing conflict."""
    p, tomb = t.persons, t.tombstones
    query = (
        select(
            p, tomb.c.erased_at, tomb.c.onvoard_contact_id.label("erased_onvoard_contact_id"),
            tomb.c.digital_onboarding_id.label("erased_digital_onboarding_id"),
            tomb.c.unique_id.label("erased_unique_id"),
        )
        .select_from(p.outerjoin(tomb, tomb.c.person_id == p.c.id))
        .where(p.c.id == person_id)
    )  # fmt: skip
    found = next(iter(_rows(conn, query)), None)
    if found is not None:
        found["status"] = conn.execute(
            text("SELECT status FROM people WHERE person_id = :id"), {"id": person_id}
        ).scalar()
    return found


def onvoard_contact(conn: Connection, contact_id: str | None) -> Row | None:
    return _one(conn, select(t.onvoard_contacts).where(t.onvoard_contacts.c.id == contact_id))


def digital_onboarding_contact(conn: Connection, unique_id: str | None) -> Row | None:
    table = t.digital_onboarding_contacts
    return _one(conn, select(table).where(table.c.unique_id == unique_id))


def _one(conn: Connection, query: Select[Any]) -> Row | None:
    return next(iter(_rows(conn, query)), None)


def changes(conn: Connection, person_id: int) -> list[Row]:
    """What the bridge wrote about a person, newest first."""
    query = select(*(t.changes.c[name] for name in _CHANGE_COLUMNS)).where(t.changes.c.person_id == person_id)
    return _rows(conn, query.order_by(t.changes.c.at.desc(), t.changes.c.id.desc()))


def pushes_of(conn: Connection, person_id: int) -> list[Row]:
    """What is still to be said about a person, or could not be."""
    columns = [t.outbox.c[name] for name in (*OUTBOX_COLUMNS, "details")]
    query = select(*columns).where(t.outbox.c.person_id == person_id, t.outbox.c.status.not_in(CLOSED))
    return _rows(conn, query.order_by(t.outbox.c.id))


def conflicts_of(conn: Connection, person_id: int) -> list[Row]:
    """All conflicts of a person, and the one shared with others that freezes them; newest first."""
    c = t.conflicts.c
    freezing = select(t.persons.c.conflict_id).where(t.persons.c.id == person_id, t.persons.c.conflict_id.is_not(None))
    columns = [c[name] for name in (*CONFLICT_COLUMNS, "run_id")]
    query = select(*columns).where(or_(c.person_id == person_id, c.id.in_(freezing)))
    return _rows(conn, query.order_by(c.id.desc()))
