"""What a change costs follows from what changed, and not from who exists: no statement walks through a whole table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import pytest
from sqlalchemy import Connection, event

from service import jobs, planning, state
from service.core.records import Platform
from service.store import consent_report, outbox
from tests.cycle.world import World

LARGE = (
    "persons|former_persons|bases|outbox|changes|opt_outs|onvoard_(?:contacts|activities|reviews)|rule_firings|loader_rows|"
    "digital_onboarding_(?:contacts|journeys|objective_completions)|webhook_events"
)
# What goes through an index that holds those alone that are asked for is none.
FEW = "dirty|unseen|unannounced|unexamined|untold|pending|open|dead|cause|sync_id"
SCAN = re.compile(rf"SCAN ({LARGE})(?! USING (?:COVERING )?INDEX \w+_(?:{FEW}))\b|SEARCH (?!anon)\w+$")
SEQ_SCAN = re.compile(rf"Seq Scan on ({LARGE})\b")
# Before the first sync nobody has a partner: such a search is a walk through everybody.
WALK = re.compile(r"persons\.(unique_id|onvoard_contact_id) IS NULL")
Said = dict[str, Any]


@contextmanager
def noted(world: World) -> Iterator[Said]:
    """Each statement of the block, with values that it was said with."""
    said: Said = {}

    def note(_conn: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
        said[statement] = values[0] if many else values

    event.listen(world.db.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(world.db.engine, "before_cursor_execute", note)


def walked(world: World, said: Said) -> list[tuple[str, list[str]]]:
    found = []
    with world.db.begin(write=False) as conn:
        for statement, values in said.items():
            if statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
                plan = _plan(conn, statement, values)
                if any(map((SCAN if world.db.dialect == "sqlite" else SEQ_SCAN).search, plan)):
                    found.append((statement, plan))
    return found


def _plan(conn: Connection, statement: str, values: Any) -> list[str]:
    if conn.dialect.name == "sqlite":
        return [str(row[3]) for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(values))]
    conn.exec_driver_sql("SET LOCAL enable_seqscan = off")  # by which a table of three rows would be read
    plan = [str(row[0]).strip() for row in conn.exec_driver_sql(f"EXPLAIN {statement}", values)]
    # What a subplan reads at once it would ask row by row where there are few.
    return list(takewhile(lambda line: not line.startswith("SubPlan"), plan))


async def a_busy_day(world: World) -> None:
    world.configure(digital_onboarding__refresh="off")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    world.do.edit_contact("crm-ben", city="Bern")
    world.ov.unsubscribe("cid@example.com")
    world.ov.add_contact("dan@example.com", name="Dan Lee")
    world.do.add_contact(unique_id="crm-dan", email="dan@example.com", name_first="Dan")
    world.do.add_contact(unique_id="crm-eve", email="eve@example.com", name_first="Eve")
    await world.import_export()


async def test_a_sync_walks_through_no_table(both: World) -> None:
    await both.setup()
    await both.linked("ann", "ben", "cid")
    await a_busy_day(both)
    with noted(both) as said:
        await both.sync(full=False)
    assert len(said) > 50
    assert walked(both, said) == []
    assert [statement for statement in said if WALK.search(statement) and "DISTINCT" not in statement] == []


OF_EVERYBODY = ("verify", "retention")
"""Once a day, and by their nature: a sample of all that there is, and what is old of it."""


@pytest.mark.parametrize("name", [job.name for job in jobs.JOBS if job.name not in OF_EVERYBODY])
async def test_a_job_of_the_daemon_walks_through_no_table(world: World, name: str) -> None:
    await world.setup()
    await world.linked("ann", "ben", "cid")
    await a_busy_day(world)
    with noted(world) as said:
        await jobs.work(world.bridge, jobs.named(name))
    assert walked(world, said) == []


async def test_neither_does_a_plan(world: World) -> None:
    await world.setup()
    await world.linked("ann", "ben", "cid")
    await a_busy_day(world)
    with noted(world) as said:
        await planning.plan(world.bridge)
    assert walked(world, said) == []


async def test_a_look_at_the_state_counts_people_and_pushes_and_walks_through_nothing_else(both: World) -> None:
    await both.linked("ann", "ben", "cid")
    with noted(both) as said, both.db.begin(write=False) as conn:
        state.gather(conn, both.clock.now(), both.bridge.settings)
    walks = [statement for statement, _ in walked(both, said)]
    counts = ("count(*)", "max(rule_firings.id)")
    assert [each for each in walks if not any(count in each for count in counts)] == []


async def test_a_consent_report_looks_up_whose_an_opt_out_is(both: World) -> None:
    """It walks through all opt-outs and pushes, and through nothing else."""
    await both.linked("ann", "ben", "cid")
    both.ov.unsubscribe("cid@example.com")
    await both.sync()
    with noted(both) as said, both.db.begin(write=False) as conn:
        assert len(list(consent_report.report(conn))) == 1
    people = "persons|onvoard_contacts|digital_onboarding_contacts"
    whole = re.compile(rf"(SCAN|Seq Scan on) ({people})\b|SEARCH (?!anon)\w+$")
    assert [line for _, plan in walked(both, said) for line in plan if whole.search(line)] == []


async def test_whether_an_opt_out_waits_is_asked_of_its_contact_alone(world: World) -> None:
    """And not of all whose opt-out waits: thousands, on the day on which somebody empties a list."""
    with noted(world) as said, world.db.begin(write=False) as conn:
        assert not outbox.opt_out_open(conn, Platform.ONVOARD, "c1")
    ((statement, values),) = said.items()
    with world.db.begin(write=False) as conn:
        assert "INDEX ix_outbox_opt_outs (target=?)" in str(_plan(conn, statement, values))
