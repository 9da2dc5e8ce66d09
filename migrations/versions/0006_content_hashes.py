"""Hashes of contacts' contents as they are computed since: of another, faster spelling of the same JSON.

Only those that are still the hash of the payload beside them; any other contact is looked at once more when it is read.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import context, op

from service.store.types import Json

revision = "0006_content_hashes"
down_revision = "0005_freshness"
branch_labels = None
depends_on = None

ROWS = 1_000
TIMES = ("modified_datetime", "updated_at")
TABLES = {"onvoard_contacts": "id", "digital_onboarding_contacts": "unique_id"}

Spell = Callable[[Any], bytes]


def by_json(said: Any) -> bytes:
    return json.dumps(said, sort_keys=True, default=str).encode()


def by_orjson(said: Any) -> bytes:
    try:
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return json.dumps(said, sort_keys=True).encode()


def hashed(raw: dict[str, Any], spell: Spell) -> str:
    said = {key: value for key, value in raw.items() if key not in TIMES}
    return hashlib.blake2b(spell(said), digest_size=16).hexdigest()


def rehash(old: Spell, new: Spell) -> None:
    if context.is_offline_mode():  # SQL cannot say it; each contact is then looked at once more when it is read
        return
    for name, key_name in TABLES.items():
        contacts = sa.table(name, sa.column(key_name), sa.column("raw", Json), sa.column("content_hash"))
        key, last = contacts.c[key_name], ""
        change = contacts.update().where(key == sa.bindparam("it")).values(content_hash=sa.bindparam("hash"))
        while rows := op.get_bind().execute(contacts.select().where(key > last).order_by(key).limit(ROWS)).all():
            last = rows[-1][0]
            same = [row for row in rows if isinstance(row.raw, dict) and row.content_hash == hashed(row.raw, old)]
            if same:
                op.get_bind().execute(change, [{"it": row[0], "hash": hashed(row.raw, new)} for row in same])


def upgrade() -> None:
    rehash(by_json, by_orjson)


def downgrade() -> None:
    rehash(by_orjson, by_json)
