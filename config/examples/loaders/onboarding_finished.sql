-- An entry in the contact's timeline, which a workflow may wait for: three objectives are completed.
-- target: onvoard.activities
-- key: person_id
-- schedule: 15m
SELECT
    p.person_id,
    'onboarding-finished-' || CAST(p.person_id AS TEXT) AS id,
    'onboarding_finished' AS type,
    MAX(c.completed_at) AS occurred_at,
    COUNT(*) AS objectives
FROM people p
JOIN digital_onboarding_objective_completions c ON c.unique_id = p.unique_id
WHERE p.status = 'linked' AND c.completed_at IS NOT NULL
GROUP BY p.person_id
HAVING COUNT(*) >= 3
