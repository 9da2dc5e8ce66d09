CREATE FUNCTION people_rows_renew(ids bigint[]) RETURNS void LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off AS $$
BEGIN
IF cardinality(ids) = 0 THEN RETURN; END IF;
PERFORM 1 FROM persons WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
DELETE FROM people_rows WHERE person_id = ANY (ids);
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id = ANY (ids);
END $$
-- next
CREATE FUNCTION people_rows_active(ids bigint[]) RETURNS void LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off AS $$
BEGIN
IF cardinality(ids) = 0 THEN RETURN; END IF;
PERFORM 1 FROM persons WHERE id = ANY (ids) ORDER BY id FOR NO KEY UPDATE;
UPDATE people_rows r SET last_activity_at = s.last_activity_at FROM people_source s
WHERE s.person_id = r.person_id AND r.person_id = ANY (ids);
END $$
-- next
CREATE FUNCTION contact_owners_renew(contacts text[]) RETURNS void LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
IF cardinality(contacts) = 0 THEN RETURN; END IF;
DELETE FROM contact_owners WHERE contact_id = ANY (contacts);
INSERT INTO contact_owners (contact_id, person_id)
SELECT p.onvoard_contact_id, p.id FROM persons p WHERE p.onvoard_contact_id = ANY (contacts)
UNION ALL
SELECT f.former_onvoard_contact_id, MIN(f.id) FROM persons f WHERE f.former_onvoard_contact_id = ANY (contacts)
AND NOT EXISTS (SELECT 1 FROM persons p WHERE p.onvoard_contact_id = f.former_onvoard_contact_id)
GROUP BY f.former_onvoard_contact_id;
END $$
-- next
CREATE FUNCTION persons_turn() RETURNS trigger LANGUAGE plpgsql  AS $$
BEGIN
PERFORM pg_advisory_xact_lock(7265646374726548);
RETURN NULL;
END $$
-- next
CREATE TRIGGER persons_turn BEFORE INSERT OR DELETE OR UPDATE OF id, onvoard_contact_id, former_onvoard_contact_id, unique_id, matched_by, linked_at, state, conflict_id ON persons FOR EACH STATEMENT EXECUTE FUNCTION persons_turn()
-- next
CREATE FUNCTION persons_inserted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off AS $$
BEGIN
INSERT INTO people_rows (person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at)
SELECT person_id, email, unique_id, onvoard_contact_id, digital_onboarding_contact_id, name_first, name_last, phone, matched_by, linked_at, status, email_opted_out, sms_opted_out, review_count, avg_rating, last_activity_at FROM people_source WHERE person_id IN (SELECT id FROM fresh);
INSERT INTO contact_owners (contact_id, person_id)
SELECT onvoard_contact_id, id FROM fresh WHERE onvoard_contact_id IS NOT NULL
ON CONFLICT (contact_id) DO UPDATE SET person_id = EXCLUDED.person_id;
PERFORM contact_owners_renew(ARRAY(SELECT former_onvoard_contact_id FROM fresh WHERE former_onvoard_contact_id IS NOT NULL));
RETURN NULL;
END $$
-- next
CREATE TRIGGER persons_inserted AFTER INSERT ON persons REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION persons_inserted()
-- next
CREATE FUNCTION persons_updated() RETURNS trigger LANGUAGE plpgsql  AS $$
BEGIN
PERFORM people_rows_renew(ARRAY[NEW.id]);
RETURN NULL;
END $$
-- next
CREATE TRIGGER persons_updated AFTER UPDATE OF id, onvoard_contact_id, former_onvoard_contact_id, unique_id, matched_by, linked_at, state, conflict_id ON persons FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id OR OLD.onvoard_contact_id IS DISTINCT FROM NEW.onvoard_contact_id OR OLD.former_onvoard_contact_id IS DISTINCT FROM NEW.former_onvoard_contact_id OR OLD.unique_id IS DISTINCT FROM NEW.unique_id OR OLD.matched_by IS DISTINCT FROM NEW.matched_by OR OLD.linked_at IS DISTINCT FROM NEW.linked_at OR OLD.state IS DISTINCT FROM NEW.state OR OLD.conflict_id IS DISTINCT FROM NEW.conflict_id) EXECUTE FUNCTION persons_updated()
-- next
CREATE FUNCTION persons_moved() RETURNS trigger LANGUAGE plpgsql  AS $$
BEGIN
PERFORM contact_owners_renew(ARRAY[OLD.onvoard_contact_id, OLD.former_onvoard_contact_id, NEW.onvoard_contact_id, NEW.former_onvoard_contact_id]);
RETURN NULL;
END $$
-- next
CREATE TRIGGER persons_moved AFTER UPDATE OF onvoard_contact_id, former_onvoard_contact_id ON persons FOR EACH ROW WHEN (OLD.onvoard_contact_id IS DISTINCT FROM NEW.onvoard_contact_id OR OLD.former_onvoard_contact_id IS DISTINCT FROM NEW.former_onvoard_contact_id) EXECUTE FUNCTION persons_moved()
-- next
CREATE FUNCTION persons_deleted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
DELETE FROM people_rows WHERE person_id = OLD.id;
RETURN NULL;
END $$
-- next
CREATE TRIGGER persons_deleted AFTER DELETE ON persons FOR EACH ROW EXECUTE FUNCTION persons_deleted()
-- next
CREATE FUNCTION persons_left() RETURNS trigger LANGUAGE plpgsql  AS $$
BEGIN
PERFORM contact_owners_renew(ARRAY[OLD.onvoard_contact_id, OLD.former_onvoard_contact_id]);
RETURN NULL;
END $$
-- next
CREATE TRIGGER persons_left AFTER DELETE ON persons FOR EACH ROW WHEN (OLD.onvoard_contact_id IS NOT NULL OR OLD.former_onvoard_contact_id IS NOT NULL) EXECUTE FUNCTION persons_left()
-- next
CREATE FUNCTION onvoard_contacts_turn() RETURNS trigger LANGUAGE plpgsql  AS $$
BEGIN
PERFORM pg_advisory_xact_lock_shared(7265646374726548);
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_contacts_turn BEFORE INSERT OR DELETE OR UPDATE OF id, email, phone, properties, suppressed, email_unsubscribed, email_marked_as_spam, email_hard_bounced, deleted_at ON onvoard_contacts FOR EACH STATEMENT EXECUTE FUNCTION onvoard_contacts_turn()
-- next
CREATE FUNCTION onvoard_contacts_inserted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT p.id FROM fresh n JOIN persons p ON p.onvoard_contact_id IN (n.id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_contacts_inserted AFTER INSERT ON onvoard_contacts REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION onvoard_contacts_inserted()
-- next
CREATE FUNCTION onvoard_contacts_updated() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.id, NEW.id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_contacts_updated AFTER UPDATE OF id, email, phone, properties, suppressed, email_unsubscribed, email_marked_as_spam, email_hard_bounced, deleted_at ON onvoard_contacts FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id OR OLD.email IS DISTINCT FROM NEW.email OR OLD.phone IS DISTINCT FROM NEW.phone OR OLD.properties ->> 'first_name' IS DISTINCT FROM NEW.properties ->> 'first_name' OR OLD.properties ->> 'last_name' IS DISTINCT FROM NEW.properties ->> 'last_name' OR OLD.suppressed IS DISTINCT FROM NEW.suppressed OR OLD.email_unsubscribed IS DISTINCT FROM NEW.email_unsubscribed OR OLD.email_marked_as_spam IS DISTINCT FROM NEW.email_marked_as_spam OR OLD.email_hard_bounced IS DISTINCT FROM NEW.email_hard_bounced OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at) EXECUTE FUNCTION onvoard_contacts_updated()
-- next
CREATE FUNCTION onvoard_contacts_deleted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_contacts_deleted AFTER DELETE ON onvoard_contacts FOR EACH ROW EXECUTE FUNCTION onvoard_contacts_deleted()
-- next
CREATE FUNCTION digital_onboarding_contacts_turn() RETURNS trigger LANGUAGE plpgsql  AS $$
BEGIN
PERFORM pg_advisory_xact_lock_shared(7265646374726548);
RETURN NULL;
END $$
-- next
CREATE TRIGGER digital_onboarding_contacts_turn BEFORE INSERT OR DELETE OR UPDATE OF unique_id, id, email, name_first, name_last, phone_mobile, unsubscribe_email, unsubscribe_sms ON digital_onboarding_contacts FOR EACH STATEMENT EXECUTE FUNCTION digital_onboarding_contacts_turn()
-- next
CREATE FUNCTION digital_onboarding_contacts_inserted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT p.id FROM fresh n JOIN persons p ON p.unique_id IN (n.unique_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER digital_onboarding_contacts_inserted AFTER INSERT ON digital_onboarding_contacts REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION digital_onboarding_contacts_inserted()
-- next
CREATE FUNCTION digital_onboarding_contacts_updated() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT id FROM persons WHERE unique_id IN (OLD.unique_id, NEW.unique_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER digital_onboarding_contacts_updated AFTER UPDATE OF unique_id, id, email, name_first, name_last, phone_mobile, unsubscribe_email, unsubscribe_sms ON digital_onboarding_contacts FOR EACH ROW WHEN (OLD.unique_id IS DISTINCT FROM NEW.unique_id OR OLD.id IS DISTINCT FROM NEW.id OR OLD.email IS DISTINCT FROM NEW.email OR OLD.name_first IS DISTINCT FROM NEW.name_first OR OLD.name_last IS DISTINCT FROM NEW.name_last OR OLD.phone_mobile IS DISTINCT FROM NEW.phone_mobile OR OLD.unsubscribe_email IS DISTINCT FROM NEW.unsubscribe_email OR OLD.unsubscribe_sms IS DISTINCT FROM NEW.unsubscribe_sms) EXECUTE FUNCTION digital_onboarding_contacts_updated()
-- next
CREATE FUNCTION digital_onboarding_contacts_deleted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT id FROM persons WHERE unique_id IN (OLD.unique_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER digital_onboarding_contacts_deleted AFTER DELETE ON digital_onboarding_contacts FOR EACH ROW EXECUTE FUNCTION digital_onboarding_contacts_deleted()
-- next
CREATE FUNCTION onvoard_reviews_turn() RETURNS trigger LANGUAGE plpgsql  AS $$
BEGIN
PERFORM pg_advisory_xact_lock_shared(7265646374726548);
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_reviews_turn BEFORE INSERT OR DELETE OR UPDATE OF reviewer_contact_id, status, rating, deleted_at ON onvoard_reviews FOR EACH STATEMENT EXECUTE FUNCTION onvoard_reviews_turn()
-- next
CREATE FUNCTION onvoard_reviews_inserted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT p.id FROM fresh n JOIN contact_owners w ON w.contact_id = n.reviewer_contact_id JOIN persons p ON p.onvoard_contact_id IN (n.reviewer_contact_id) OR p.former_onvoard_contact_id IN (n.reviewer_contact_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_reviews_inserted AFTER INSERT ON onvoard_reviews REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION onvoard_reviews_inserted()
-- next
CREATE FUNCTION onvoard_reviews_updated() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.reviewer_contact_id, NEW.reviewer_contact_id) OR former_onvoard_contact_id IN (OLD.reviewer_contact_id, NEW.reviewer_contact_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_reviews_updated AFTER UPDATE OF reviewer_contact_id, status, rating, deleted_at ON onvoard_reviews FOR EACH ROW WHEN (OLD.reviewer_contact_id IS DISTINCT FROM NEW.reviewer_contact_id OR OLD.status IS DISTINCT FROM NEW.status OR OLD.rating IS DISTINCT FROM NEW.rating OR OLD.deleted_at IS DISTINCT FROM NEW.deleted_at) EXECUTE FUNCTION onvoard_reviews_updated()
-- next
CREATE FUNCTION onvoard_reviews_deleted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.reviewer_contact_id) OR former_onvoard_contact_id IN (OLD.reviewer_contact_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_reviews_deleted AFTER DELETE ON onvoard_reviews FOR EACH ROW EXECUTE FUNCTION onvoard_reviews_deleted()
-- next
CREATE FUNCTION tombstones_turn() RETURNS trigger LANGUAGE plpgsql  AS $$
BEGIN
PERFORM pg_advisory_xact_lock_shared(7265646374726548);
RETURN NULL;
END $$
-- next
CREATE TRIGGER tombstones_turn BEFORE INSERT OR DELETE OR UPDATE OF person_id, onvoard_contact_id, digital_onboarding_id, unique_id ON tombstones FOR EACH STATEMENT EXECUTE FUNCTION tombstones_turn()
-- next
CREATE FUNCTION tombstones_inserted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT p.id FROM fresh n JOIN persons p ON p.id IN (n.person_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER tombstones_inserted AFTER INSERT ON tombstones REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tombstones_inserted()
-- next
CREATE FUNCTION tombstones_updated() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT id FROM persons WHERE id IN (OLD.person_id, NEW.person_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER tombstones_updated AFTER UPDATE OF person_id, onvoard_contact_id, digital_onboarding_id, unique_id ON tombstones FOR EACH ROW WHEN (OLD.person_id IS DISTINCT FROM NEW.person_id OR OLD.onvoard_contact_id IS DISTINCT FROM NEW.onvoard_contact_id OR OLD.digital_onboarding_id IS DISTINCT FROM NEW.digital_onboarding_id OR OLD.unique_id IS DISTINCT FROM NEW.unique_id) EXECUTE FUNCTION tombstones_updated()
-- next
CREATE FUNCTION tombstones_deleted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_renew(ARRAY(SELECT id FROM persons WHERE id IN (OLD.person_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER tombstones_deleted AFTER DELETE ON tombstones FOR EACH ROW EXECUTE FUNCTION tombstones_deleted()
-- next
CREATE FUNCTION onvoard_activities_turn() RETURNS trigger LANGUAGE plpgsql  AS $$
BEGIN
PERFORM pg_advisory_xact_lock_shared(7265646374726548);
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_activities_turn BEFORE INSERT OR DELETE OR UPDATE OF contact_id, occurred_at ON onvoard_activities FOR EACH STATEMENT EXECUTE FUNCTION onvoard_activities_turn()
-- next
CREATE FUNCTION onvoard_activities_inserted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_active(ARRAY(SELECT p.id FROM fresh n JOIN contact_owners w ON w.contact_id = n.contact_id JOIN persons p ON p.onvoard_contact_id IN (n.contact_id) OR p.former_onvoard_contact_id IN (n.contact_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_activities_inserted AFTER INSERT ON onvoard_activities REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION onvoard_activities_inserted()
-- next
CREATE FUNCTION onvoard_activities_updated() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_active(ARRAY(SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.contact_id, NEW.contact_id) OR former_onvoard_contact_id IN (OLD.contact_id, NEW.contact_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_activities_updated AFTER UPDATE OF contact_id, occurred_at ON onvoard_activities FOR EACH ROW WHEN (OLD.contact_id IS DISTINCT FROM NEW.contact_id OR OLD.occurred_at IS DISTINCT FROM NEW.occurred_at) EXECUTE FUNCTION onvoard_activities_updated()
-- next
CREATE FUNCTION onvoard_activities_deleted() RETURNS trigger LANGUAGE plpgsql SET jit = off SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
PERFORM people_rows_active(ARRAY(SELECT id FROM persons WHERE onvoard_contact_id IN (OLD.contact_id) OR former_onvoard_contact_id IN (OLD.contact_id)));
RETURN NULL;
END $$
-- next
CREATE TRIGGER onvoard_activities_deleted AFTER DELETE ON onvoard_activities FOR EACH ROW EXECUTE FUNCTION onvoard_activities_deleted()
