-- How many reviews somebody has published and what they give on average, for texts in a journey.
-- target: digital_onboarding.meta_public
-- key: person_id
-- missing: clear
SELECT person_id, COUNT(*) AS review_count, ROUND(AVG(rating) * 10) / 10 AS average_rating
FROM reviews
WHERE person_id IS NOT NULL AND status = 'PUBLISHED' AND deleted_at IS NULL
GROUP BY person_id
