"""The views that analysts query: contract section 3, the same columns and results on SQLite and on Postgres.

This is the declaration; each migration that touches a view keeps its own copy of the text it created, and a test holds
the newest of them against this module.
"""

from __future__ import annotations

from sqlalchemy import Connection

from service.store import view_rows
from service.store.view_tables import people_rows

# What a person's row has to be. Triggers renew it by this (`view_rows`), so that `people` has indexes: through the
# joins, whoever looks for an address or counts would read all three tables. Which reviews count is asked row by row: of
# a condition, Postgres without figures about the table may make another index, and walk all reviews for everybody.
_PEOPLE_SOURCE = """
SELECT
    p.id AS person_id,
    COALESCE(NULLIF(TRIM(o.email), ''), NULLIF(TRIM(d.email), '')) AS email,
    COALESCE(d.unique_id, t.unique_id) AS unique_id,
    COALESCE(o.id, t.onvoard_contact_id) AS onvoard_contact_id,
    COALESCE(d.id, t.digital_onboarding_id) AS digital_onboarding_contact_id,
    COALESCE(
        NULLIF(TRIM(d.name_first), ''), NULLIF(TRIM(CAST(o.properties ->> 'first_name' AS TEXT)), '')
    ) AS name_first,
    COALESCE(
        NULLIF(TRIM(d.name_last), ''), NULLIF(TRIM(CAST(o.properties ->> 'last_name' AS TEXT)), '')
    ) AS name_last,
    COALESCE(NULLIF(TRIM(o.phone), ''), NULLIF(TRIM(d.phone_mobile), '')) AS phone,
    p.matched_by AS matched_by,
    p.linked_at AS linked_at,
    CASE
        WHEN p.state <> 'active' THEN p.state
        WHEN p.conflict_id IS NOT NULL THEN 'conflict'
        WHEN o.id IS NOT NULL AND d.unique_id IS NOT NULL THEN 'linked'
        WHEN o.id IS NOT NULL THEN 'onvoard_only'
        ELSE 'digital_onboarding_only'
    END AS status,
    p.state <> 'active'
        OR COALESCE(o.suppressed, false) OR COALESCE(o.email_unsubscribed, false)
        OR COALESCE(o.email_marked_as_spam, false) OR COALESCE(o.email_hard_bounced, false)
        OR COALESCE(d.unsubscribe_email, false) AS email_opted_out,
    p.state <> 'active' OR COALESCE(o.suppressed, false) OR COALESCE(d.unsubscribe_sms, false) AS sms_opted_out,
    (SELECT COUNT(CASE WHEN r.status = 'PUBLISHED' AND r.deleted_at IS NULL THEN 1 END) FROM onvoard_reviews r
        WHERE r.reviewer_contact_id IN (p.onvoard_contact_id, p.former_onvoard_contact_id)) AS review_count,
    (SELECT AVG(CASE WHEN r.status = 'PUBLISHED' AND r.deleted_at IS NULL THEN r.rating END) FROM onvoard_reviews r
        WHERE r.reviewer_contact_id IN (p.onvoard_contact_id, p.former_onvoard_contact_id)) AS avg_rating,
    (SELECT MAX(l.at) FROM (
        SELECT MAX(a.occurred_at) AS at FROM onvoard_activities a WHERE a.contact_id = p.onvoard_contact_id
        UNION ALL
        SELECT MAX(a.occurred_at) FROM onvoard_activities a WHERE a.contact_id = p.former_onvoard_contact_id
    ) l) AS last_activity_at
FROM persons p
LEFT JOIN onvoard_contacts o ON o.id = p.onvoard_contact_id AND o.deleted_at IS NULL
LEFT JOIN digital_onboarding_contacts d ON d.unique_id = p.unique_id
LEFT JOIN tombstones t ON t.person_id = p.id
WHERE o.id IS NOT NULL OR d.unique_id IS NOT NULL OR p.state <> 'active'
"""

_PEOPLE = f"""
SELECT
    {", ".join(f"p.{column.name}" for column in people_rows.c)}
FROM people_rows p
"""

_REVIEWS = """
SELECT
    w.person_id,
    r.id, r.title, r.content, r.rating, r.entity, r.status, r.is_verified, r.product_id, r.product_external_id,
    r.product_name, r.product_url, r.product_image_url, r.reviewer_id, r.reviewer_contact_id, r.reviewer_email,
    r.reviewer_display_name, r.num_upvotes, r.created_at, r.reply_at, r.reply_html, r.assets, r.deleted_at
FROM onvoard_reviews r
LEFT JOIN contact_owners w ON w.contact_id = r.reviewer_contact_id
"""

_ACTIVITIES = """
SELECT
    w.person_id,
    a.id, a.contact_id, a.contact_email, a.type, a.occurred_at, a.record_data
FROM onvoard_activities a
LEFT JOIN contact_owners w ON w.contact_id = a.contact_id
"""

# What was carried over, and what could not be: `losing_value` is what gave way, or went nowhere.
_FIELD_HISTORY = """
SELECT
    c.person_id, c.platform, c.field, c.old_value, c.new_value, c.rule, c.run_id, c.at, c.source, c.said_at,
    c.losing_value
FROM changes c
UNION ALL
SELECT
    k.person_id, NULL AS platform, k.field, NULL AS old_value, NULL AS new_value, k.reason AS rule, k.run_id,
    k.created_at AS at, CASE WHEN k.onvoard_value IS NULL THEN 'digital_onboarding' ELSE 'onvoard' END AS source,
    NULL AS said_at, COALESCE(k.onvoard_value, k.digital_onboarding_value) AS losing_value
FROM conflicts k
WHERE k.kind = 'not_transferable'
"""

# OnVoard has no endpoint for lists, tags and segments: they are found only on contacts (its "Contact Object").
_ELEMENTS = {
    "sqlite": "json_each(CASE json_type(c.{0}) WHEN 'array' THEN c.{0} ELSE '[]' END)",
    "postgresql": "jsonb_array_elements(CASE jsonb_typeof(c.{0}) WHEN 'array' THEN c.{0} ELSE '[]' END)",
}
_GROUPS = ("list", "tag", "segment")


def _memberships(dialect: str) -> str:
    return "\nUNION ALL".join(
        f"""
SELECT
    c.id AS contact_id, '{kind}' AS kind, CAST(g.value ->> 'id' AS TEXT) AS id, CAST(g.value ->> 'name' AS TEXT) AS name
FROM onvoard_contacts c CROSS JOIN {_ELEMENTS[dialect].format(f"{kind}s")} g
WHERE c.deleted_at IS NULL"""
        for kind in _GROUPS
    )


def _group(kind: str) -> str:
    return f"""
SELECT id, MAX(name) AS name, COUNT(*) AS contact_count
FROM onvoard_memberships
WHERE kind = '{kind}'
GROUP BY id
"""


def declared(dialect: str) -> dict[str, str]:
    """Name -> query, each after what it reads."""
    return {
        "people_source": _PEOPLE_SOURCE,
        "people": _PEOPLE,
        "reviews": _REVIEWS,
        "activities": _ACTIVITIES,
        "field_history": _FIELD_HISTORY,
        "onvoard_memberships": _memberships(dialect),
        **{f"onvoard_{kind}s": _group(kind) for kind in _GROUPS},
    }


def create(conn: Connection) -> None:
    """With what keeps their rows."""
    dialect = conn.dialect.name
    for name, query in declared(dialect).items():
        conn.exec_driver_sql(f"CREATE VIEW {name} AS{query.rstrip()}")
    for statement in view_rows.declared(dialect).values():
        conn.exec_driver_sql(statement)


def drop(conn: Connection) -> None:
    """SQLite rebuilds a table by renaming it, which a view or a trigger in its way forbids: a migration drops them
    first."""
    for statement in reversed(view_rows.declared(conn.dialect.name)):
        conn.exec_driver_sql(statement)
    for name in reversed(declared(conn.dialect.name)):
        conn.exec_driver_sql(f"DROP VIEW {name}")
