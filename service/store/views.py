"""The views that analysts query: contract section 3, the same columns and results on SQLite and on Postgres.

This is the declaration; each migration that touches a view keeps its own copy of the text it created, and a test holds
the newest of them against this module.
"""

from __future__ import annotations

from sqlalchemy import Connection

# One flat join. A union with an arm for each side's e-mail would let `WHERE email = ...` use an index (1 ms at a
# million people instead of 1.3 s), but what counts, groups, joins or orders it then takes 6 s instead of 1 s on SQLite.
# Counts are correlated subqueries: whoever does not select them does not pay for them, and each costs one index range.
_PEOPLE = """
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
    (SELECT COUNT(*) FROM onvoard_reviews r
        WHERE r.reviewer_contact_id IN (p.onvoard_contact_id, p.former_onvoard_contact_id)
        AND r.status = 'PUBLISHED' AND r.deleted_at IS NULL) AS review_count,
    (SELECT AVG(r.rating) FROM onvoard_reviews r
        WHERE r.reviewer_contact_id IN (p.onvoard_contact_id, p.former_onvoard_contact_id)
        AND r.status = 'PUBLISHED' AND r.deleted_at IS NULL) AS avg_rating,
    (SELECT MAX(a.occurred_at) FROM onvoard_activities a
        WHERE a.contact_id IN (p.onvoard_contact_id, p.former_onvoard_contact_id)) AS last_activity_at
FROM persons p
LEFT JOIN onvoard_contacts o ON o.id = p.onvoard_contact_id AND o.deleted_at IS NULL
LEFT JOIN digital_onboarding_contacts d ON d.unique_id = p.unique_id
LEFT JOIN tombstones t ON t.person_id = p.id
WHERE o.id IS NOT NULL OR d.unique_id IS NOT NULL OR p.state <> 'active'
"""

# A contact that was deleted and came back under a new id: what the old one wrote is still that person's.
_PERSON = """COALESCE(
        (SELECT p.id FROM persons p WHERE p.onvoard_contact_id = {contact}),
        (SELECT MIN(p.id) FROM persons p WHERE p.former_onvoard_contact_id = {contact})
    )"""

_REVIEWS = f"""
SELECT
    {_PERSON.format(contact="r.reviewer_contact_id")} AS person_id,
    r.id, r.title, r.content, r.rating, r.entity, r.status, r.is_verified, r.product_id, r.product_external_id,
    r.product_name, r.product_url, r.product_image_url, r.reviewer_id, r.reviewer_contact_id, r.reviewer_email,
    r.reviewer_display_name, r.num_upvotes, r.created_at, r.reply_at, r.reply_html, r.assets, r.deleted_at
FROM onvoard_reviews r
"""

_ACTIVITIES = f"""
SELECT
    {_PERSON.format(contact="a.contact_id")} AS person_id,
    a.id, a.contact_id, a.contact_email, a.type, a.occurred_at, a.record_data
FROM onvoard_activities a
"""

_FIELD_HISTORY = """
SELECT c.person_id, c.platform, c.field, c.old_value, c.new_value, c.rule, c.run_id, c.at
FROM changes c
"""

VIEWS = {
    "people": _PEOPLE,
    "reviews": _REVIEWS,
    "activities": _ACTIVITIES,
    "field_history": _FIELD_HISTORY,
}

# Columns that no table declares: SQLite cannot tell that these are booleans.
COMPUTED_BOOLEANS = frozenset({"email_opted_out", "sms_opted_out"})


def statements() -> list[str]:
    """CREATE VIEW for each, the same text for both databases."""
    return [f"CREATE VIEW {name} AS{query.rstrip()}" for name, query in VIEWS.items()]


def create(conn: Connection) -> None:
    for statement in statements():
        conn.exec_driver_sql(statement)


def drop(conn: Connection) -> None:
    """SQLite rebuilds a table by renaming it, which a view in its way forbids: a migration drops the views first."""
    for name in reversed(VIEWS):
        conn.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
