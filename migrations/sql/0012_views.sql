CREATE VIEW people_source AS
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
-- next
CREATE VIEW people AS
SELECT
    p.person_id, p.email, p.unique_id, p.onvoard_contact_id, p.digital_onboarding_contact_id, p.name_first, p.name_last, p.phone, p.matched_by, p.linked_at, p.status, p.email_opted_out, p.sms_opted_out, p.review_count, p.avg_rating, p.last_activity_at
FROM people_rows p
-- next
CREATE VIEW reviews AS
SELECT
    w.person_id,
    r.id, r.title, r.content, r.rating, r.entity, r.status, r.is_verified, r.product_id, r.product_external_id,
    r.product_name, r.product_url, r.product_image_url, r.reviewer_id, r.reviewer_contact_id, r.reviewer_email,
    r.reviewer_display_name, r.num_upvotes, r.created_at, r.reply_at, r.reply_html, r.assets, r.deleted_at
FROM onvoard_reviews r
LEFT JOIN contact_owners w ON w.contact_id = r.reviewer_contact_id
-- next
CREATE VIEW activities AS
SELECT
    w.person_id,
    a.id, a.contact_id, a.contact_email, a.type, a.occurred_at, a.record_data
FROM onvoard_activities a
LEFT JOIN contact_owners w ON w.contact_id = a.contact_id
