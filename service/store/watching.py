"""What the rules are on the watch for: by it, whoever saves a record marks the few at which a rule has to look.

What is saved while no rule asks for it stays unmarked, so that a first backfill of millions of old happenings leaves no
work behind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from service.core.records import Source
from service.store import cursors
from service.store.types import iso

_FACT = "rules_watch"


@dataclass(frozen=True, slots=True)
class Watch:
    """From when on happenings count, by what kind of record they are; a kind that is not there is not watched."""

    since: Mapping[Source, datetime] = field(default_factory=dict)

    def marks(self, source: Source, at: datetime | None) -> bool:
        """Whether a record of this time has to be examined; one without a time has."""
        since = self.since.get(source)
        return since is not None and (at is None or at >= since)


NOBODY = Watch()


def watch(conn: Connection) -> Watch:
    said = cursors.fact(conn, _FACT)
    if said is None:
        return NOBODY
    return Watch({Source(name): datetime.fromisoformat(since) for name, since in json.loads(said).items()})


def keep(conn: Connection, new: Watch) -> None:
    said = json.dumps({source.value: iso(since) for source, since in sorted(new.since.items())})
    if not new.since:
        cursors.forget_fact(conn, _FACT)
    elif cursors.fact(conn, _FACT) != said:
        cursors.set_fact(conn, _FACT, said)
