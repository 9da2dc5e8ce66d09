"""Is the mirror right? Records of the mirror and of both platforms are compared, all of them or a sample, and each
stream's share of wrong ones is put on record. Nothing in the mirror changes, but by a repair, and by what a probe of
Digital Onboarding answers: a probe is a write, and what it led to must be known."""

DIGITAL_ONBOARDING = "digital_onboarding.contacts"
STREAMS = ("onvoard.contacts", "onvoard.reviews", "onvoard.activities", "onvoard.records", DIGITAL_ONBOARDING)
