INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IS NOT NULL
-- next
INSERT INTO contact_owners (contact_id, person_id)
SELECT p.onvoard_contact_id, p.id FROM persons p WHERE p.onvoard_contact_id IS NOT NULL
UNION ALL
SELECT f.former_onvoard_contact_id, MIN(f.id) FROM persons f WHERE f.former_onvoard_contact_id IS NOT NULL
AND NOT EXISTS (SELECT 1 FROM persons p WHERE p.onvoard_contact_id = f.former_onvoard_contact_id)
GROUP BY f.former_onvoard_contact_id
