-- How far somebody has come on Digital Onboarding, as properties that marketers segment by.
-- target: onvoard.contact_properties
-- key: person_id
-- missing: keep
SELECT
    p.person_id,
    CASE
        WHEN EXISTS (SELECT 1 FROM digital_onboarding_objective_completions c WHERE c.unique_id = p.unique_id)
            THEN 'objective completed'
        WHEN EXISTS (SELECT 1 FROM digital_onboarding_journeys j WHERE j.unique_id = p.unique_id)
            THEN 'journey started'
        ELSE 'invited'
    END AS onboarding_state,
    (SELECT COUNT(*) FROM digital_onboarding_objective_completions c WHERE c.unique_id = p.unique_id)
        AS objectives_completed
FROM people p
WHERE p.status = 'linked'
