"""How Postgres keeps apart who would make people's rows wrong: modes of a lock on a table that is always empty.

A row is right only if whoever makes it anew sees all that others have committed, and nobody else is at the same row.
So who changes persons is alone with it. Who adds some may be at it with others who do, and who changes what persons
show with others who do that, but for the same person. (Of advisory locks no two modes shut out each other, and not
themselves.)
"""

from __future__ import annotations

ALONE, ADDING, SHOWING = (f"LOCK TABLE people_turn IN {mode} MODE" for mode in ("EXCLUSIVE", "SHARE", "ROW EXCLUSIVE"))
