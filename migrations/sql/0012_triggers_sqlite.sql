CREATE TRIGGER persons_inserted AFTER INSERT ON persons FOR EACH ROW
BEGIN
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id = NEW.id;
END
-- next
CREATE TRIGGER persons_owning AFTER INSERT ON persons FOR EACH ROW
WHEN NEW.onvoard_contact_id IS NOT NULL AND NEW.former_onvoard_contact_id IS NULL
BEGIN
INSERT INTO contact_owners (contact_id, person_id) VALUES (NEW.onvoard_contact_id, NEW.id)
ON CONFLICT (contact_id) DO UPDATE SET person_id = excluded.person_id;
END
-- next
CREATE TRIGGER persons_owning_again AFTER INSERT ON persons FOR EACH ROW
WHEN NEW.former_onvoard_contact_id IS NOT NULL
BEGIN
DELETE FROM contact_owners WHERE contact_id IN (NEW.onvoard_contact_id, NEW.former_onvoard_contact_id);
INSERT INTO contact_owners (contact_id, person_id)
SELECT p.onvoard_contact_id, p.id FROM persons p WHERE p.onvoard_contact_id IN (NEW.onvoard_contact_id, NEW.former_onvoard_contact_id)
UNION ALL
SELECT f.former_onvoard_contact_id, MIN(f.id) FROM persons f WHERE f.former_onvoard_contact_id IN (NEW.onvoard_contact_id, NEW.former_onvoard_contact_id)
AND NOT EXISTS (SELECT 1 FROM persons p WHERE p.onvoard_contact_id = f.former_onvoard_contact_id)
GROUP BY f.former_onvoard_contact_id;
END
-- next
CREATE TRIGGER persons_updated AFTER UPDATE OF id, onvoard_contact_id, former_onvoard_contact_id, unique_id, matched_by, linked_at, state, conflict_id ON persons FOR EACH ROW
WHEN OLD.id IS NOT NEW.id OR OLD.onvoard_contact_id IS NOT NEW.onvoard_contact_id OR OLD.former_onvoard_contact_id IS NOT NEW.former_onvoard_contact_id OR OLD.unique_id IS NOT NEW.unique_id OR OLD.matched_by IS NOT NEW.matched_by OR OLD.linked_at IS NOT NEW.linked_at OR OLD.state IS NOT NEW.state OR OLD.conflict_id IS NOT NEW.conflict_id
BEGIN
DELETE FROM people_rows WHERE person_id = NEW.id;
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id = NEW.id;
END
-- next
CREATE TRIGGER persons_moved AFTER UPDATE OF onvoard_contact_id, former_onvoard_contact_id ON persons FOR EACH ROW
WHEN OLD.onvoard_contact_id IS NOT NEW.onvoard_contact_id OR OLD.former_onvoard_contact_id IS NOT NEW.former_onvoard_contact_id
BEGIN
DELETE FROM contact_owners WHERE contact_id IN (OLD.onvoard_contact_id, OLD.former_onvoard_contact_id, NEW.onvoard_contact_id, NEW.former_onvoard_contact_id);
INSERT INTO contact_owners (contact_id, person_id)
SELECT p.onvoard_contact_id, p.id FROM persons p WHERE p.onvoard_contact_id IN (OLD.onvoard_contact_id, OLD.former_onvoard_contact_id, NEW.onvoard_contact_id, NEW.former_onvoard_contact_id)
UNION ALL
SELECT f.former_onvoard_contact_id, MIN(f.id) FROM persons f WHERE f.former_onvoard_contact_id IN (OLD.onvoard_contact_id, OLD.former_onvoard_contact_id, NEW.onvoard_contact_id, NEW.former_onvoard_contact_id)
AND NOT EXISTS (SELECT 1 FROM persons p WHERE p.onvoard_contact_id = f.former_onvoard_contact_id)
GROUP BY f.former_onvoard_contact_id;
END
-- next
CREATE TRIGGER persons_deleted AFTER DELETE ON persons FOR EACH ROW
BEGIN
DELETE FROM people_rows WHERE person_id = OLD.id;
END
-- next
CREATE TRIGGER persons_left AFTER DELETE ON persons FOR EACH ROW
WHEN OLD.onvoard_contact_id IS NOT NULL OR OLD.former_onvoard_contact_id IS NOT NULL
BEGIN
DELETE FROM contact_owners WHERE contact_id IN (OLD.onvoard_contact_id, OLD.former_onvoard_contact_id);
INSERT INTO contact_owners (contact_id, person_id)
SELECT p.onvoard_contact_id, p.id FROM persons p WHERE p.onvoard_contact_id IN (OLD.onvoard_contact_id, OLD.former_onvoard_contact_id)
UNION ALL
SELECT f.former_onvoard_contact_id, MIN(f.id) FROM persons f WHERE f.former_onvoard_contact_id IN (OLD.onvoard_contact_id, OLD.former_onvoard_contact_id)
AND NOT EXISTS (SELECT 1 FROM persons p WHERE p.onvoard_contact_id = f.former_onvoard_contact_id)
GROUP BY f.former_onvoard_contact_id;
END
-- next
CREATE TRIGGER onvoard_contacts_inserted AFTER INSERT ON onvoard_contacts FOR EACH ROW
WHEN EXISTS (SELECT 1 FROM persons WHERE onvoard_contact_id IN (NEW.id))
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (NEW.id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (NEW.id));
END
-- next
CREATE TRIGGER onvoard_contacts_updated AFTER UPDATE OF id, email, phone, properties, suppressed, email_unsubscribed, email_marked_as_spam, email_hard_bounced, deleted_at ON onvoard_contacts FOR EACH ROW
WHEN OLD.id IS NOT NEW.id OR OLD.email IS NOT NEW.email OR OLD.phone IS NOT NEW.phone OR OLD.properties ->> 'first_name' IS NOT NEW.properties ->> 'first_name' OR OLD.properties ->> 'last_name' IS NOT NEW.properties ->> 'last_name' OR OLD.suppressed IS NOT NEW.suppressed OR OLD.email_unsubscribed IS NOT NEW.email_unsubscribed OR OLD.email_marked_as_spam IS NOT NEW.email_marked_as_spam OR OLD.email_hard_bounced IS NOT NEW.email_hard_bounced OR OLD.deleted_at IS NOT NEW.deleted_at
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.id, NEW.id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.id, NEW.id));
END
-- next
CREATE TRIGGER onvoard_contacts_deleted AFTER DELETE ON onvoard_contacts FOR EACH ROW
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.id));
END
-- next
CREATE TRIGGER digital_onboarding_contacts_inserted AFTER INSERT ON digital_onboarding_contacts FOR EACH ROW
WHEN EXISTS (SELECT 1 FROM persons WHERE unique_id IN (NEW.unique_id))
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE unique_id IN (NEW.unique_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE unique_id IN (NEW.unique_id));
END
-- next
CREATE TRIGGER digital_onboarding_contacts_updated AFTER UPDATE OF unique_id, id, email, name_first, name_last, phone_mobile, unsubscribe_email, unsubscribe_sms ON digital_onboarding_contacts FOR EACH ROW
WHEN OLD.unique_id IS NOT NEW.unique_id OR OLD.id IS NOT NEW.id OR OLD.email IS NOT NEW.email OR OLD.name_first IS NOT NEW.name_first OR OLD.name_last IS NOT NEW.name_last OR OLD.phone_mobile IS NOT NEW.phone_mobile OR OLD.unsubscribe_email IS NOT NEW.unsubscribe_email OR OLD.unsubscribe_sms IS NOT NEW.unsubscribe_sms
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE unique_id IN (OLD.unique_id, NEW.unique_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE unique_id IN (OLD.unique_id, NEW.unique_id));
END
-- next
CREATE TRIGGER digital_onboarding_contacts_deleted AFTER DELETE ON digital_onboarding_contacts FOR EACH ROW
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE unique_id IN (OLD.unique_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE unique_id IN (OLD.unique_id));
END
-- next
CREATE TRIGGER onvoard_reviews_inserted AFTER INSERT ON onvoard_reviews FOR EACH ROW
WHEN EXISTS (SELECT 1 FROM contact_owners WHERE contact_id = NEW.reviewer_contact_id)
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (NEW.reviewer_contact_id) OR former_onvoard_contact_id IN (NEW.reviewer_contact_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (NEW.reviewer_contact_id) OR former_onvoard_contact_id IN (NEW.reviewer_contact_id));
END
-- next
CREATE TRIGGER onvoard_reviews_updated AFTER UPDATE OF reviewer_contact_id, status, rating, deleted_at ON onvoard_reviews FOR EACH ROW
WHEN OLD.reviewer_contact_id IS NOT NEW.reviewer_contact_id OR OLD.status IS NOT NEW.status OR OLD.rating IS NOT NEW.rating OR OLD.deleted_at IS NOT NEW.deleted_at
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.reviewer_contact_id, NEW.reviewer_contact_id) OR former_onvoard_contact_id IN (OLD.reviewer_contact_id, NEW.reviewer_contact_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.reviewer_contact_id, NEW.reviewer_contact_id) OR former_onvoard_contact_id IN (OLD.reviewer_contact_id, NEW.reviewer_contact_id));
END
-- next
CREATE TRIGGER onvoard_reviews_deleted AFTER DELETE ON onvoard_reviews FOR EACH ROW
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.reviewer_contact_id) OR former_onvoard_contact_id IN (OLD.reviewer_contact_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.reviewer_contact_id) OR former_onvoard_contact_id IN (OLD.reviewer_contact_id));
END
-- next
CREATE TRIGGER tombstones_inserted AFTER INSERT ON tombstones FOR EACH ROW
WHEN EXISTS (SELECT 1 FROM persons WHERE id IN (NEW.person_id))
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE id IN (NEW.person_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE id IN (NEW.person_id));
END
-- next
CREATE TRIGGER tombstones_updated AFTER UPDATE OF person_id, onvoard_contact_id, digital_onboarding_id, unique_id ON tombstones FOR EACH ROW
WHEN OLD.person_id IS NOT NEW.person_id OR OLD.onvoard_contact_id IS NOT NEW.onvoard_contact_id OR OLD.digital_onboarding_id IS NOT NEW.digital_onboarding_id OR OLD.unique_id IS NOT NEW.unique_id
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE id IN (OLD.person_id, NEW.person_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE id IN (OLD.person_id, NEW.person_id));
END
-- next
CREATE TRIGGER tombstones_deleted AFTER DELETE ON tombstones FOR EACH ROW
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE id IN (OLD.person_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE id IN (OLD.person_id));
END
-- next
CREATE TRIGGER onvoard_activities_inserted AFTER INSERT ON onvoard_activities FOR EACH ROW
WHEN EXISTS (SELECT 1 FROM contact_owners WHERE contact_id = NEW.contact_id)
BEGIN
UPDATE people_rows SET last_activity_at = NEW.occurred_at
WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (NEW.contact_id) OR former_onvoard_contact_id IN (NEW.contact_id)) AND (last_activity_at IS NULL OR last_activity_at < NEW.occurred_at);
END
-- next
CREATE TRIGGER onvoard_activities_updated AFTER UPDATE OF contact_id, occurred_at ON onvoard_activities FOR EACH ROW
WHEN OLD.contact_id IS NOT NEW.contact_id OR OLD.occurred_at IS NOT NEW.occurred_at
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.contact_id, NEW.contact_id) OR former_onvoard_contact_id IN (OLD.contact_id, NEW.contact_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.contact_id, NEW.contact_id) OR former_onvoard_contact_id IN (OLD.contact_id, NEW.contact_id));
END
-- next
CREATE TRIGGER onvoard_activities_deleted AFTER DELETE ON onvoard_activities FOR EACH ROW
BEGIN
DELETE FROM people_rows WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.contact_id) OR former_onvoard_contact_id IN (OLD.contact_id));
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.contact_id) OR former_onvoard_contact_id IN (OLD.contact_id));
END
