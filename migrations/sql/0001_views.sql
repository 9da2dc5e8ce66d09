-- The views as revision 0001_mirror created them; service/store/views.py declares them as they are now.

CREATE VIEW people AS
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
WHERE o.id IS NOT NULL OR d.unique_id IS NOT NULL OR p.state <> 'active';

CREATE VIEW reviews AS
SELECT
    COALESCE(
        (SELECT p.id FROM persons p WHERE p.onvoard_contact_id = r.reviewer_contact_id),
        (SELECT MIN(p.id) FROM persons p WHERE p.former_onvoard_contact_id = r.reviewer_contact_id)
    ) AS person_id,
    r.id, r.title, r.content, r.rating, r.entity, r.status, r.is_verified, r.product_id, r.product_external_id,
    r.product_name, r.product_url, r.product_image_url, r.reviewer_id, r.reviewer_contact_id, r.reviewer_email,
    r.reviewer_display_name, r.num_upvotes, r.created_at, r.reply_at, r.reply_html, r.assets, r.deleted_at
FROM onvoard_reviews r;

CREATE VIEW activities AS
SELECT
    COALESCE(
        (SELECT p.id FROM persons p WHERE p.onvoard_contact_id = a.contact_id),
        (SELECT MIN(p.id) FROM persons p WHERE p.former_onvoard_contact_id = a.contact_id)
    ) AS person_id,
    a.id, a.contact_id, a.contact_email, a.type, a.occurred_at, a.record_data
FROM onvoard_activities a;

CREATE VIEW field_history AS
SELECT c.person_id, c.platform, c.field, c.old_value, c.new_value, c.rule, c.run_id, c.at
FROM changes c;
