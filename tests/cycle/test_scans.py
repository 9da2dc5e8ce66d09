"""What a change costs follows from what changed, and not from who exists: no statement walks through a whole table."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import event

from tests.cycle.world import World

LARGE = "persons|bases|outbox|changes|opt_outs|onvoard_contacts|digital_onboarding_contacts"
# What goes through an index that holds those alone that are asked for is none.
SCAN = re.compile(rf"SCAN ({LARGE})(?! USING (?:COVERING )?INDEX \w+_(?:dirty|unseen|unannounced))\b")
# Before the first sync nobody has a partner: such a search is a walk through everybody.
WALK = re.compile(r"persons\.(unique_id|onvoard_contact_id) IS NULL")
ALLOWED = "count(*)"
"""For the brake, once in a run."""


async def test_a_sync_walks_through_no_table(world: World) -> None:
    await world.setup()
    await world.linked("ann", "ben", "cid")
    world.configure(digital_onboarding__refresh="off")
    world.ov.edit_contact("ann@example.com", city="Oslo")
    world.do.edit_contact("crm-ben", city="Bern")
    world.ov.unsubscribe("cid@example.com")
    await world.import_export()
    said: dict[str, Any] = {}

    def note(_conn: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
        said[statement] = values[0] if many else values

    event.listen(world.db.engine, "before_cursor_execute", note)
    try:
        await world.sync(full=False)
    finally:
        event.remove(world.db.engine, "before_cursor_execute", note)
    assert len(said) > 50
    walked = []
    with world.db.begin(write=False) as conn:
        for statement, values in said.items():
            if statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
                plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(values)).all()
                if any(SCAN.search(str(row[3])) for row in plan) and ALLOWED not in statement:
                    walked.append((statement, [row[3] for row in plan]))
    assert walked == []
    assert [statement for statement in said if WALK.search(statement) and "DISTINCT" not in statement] == []
