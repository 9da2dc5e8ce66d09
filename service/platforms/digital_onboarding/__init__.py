"""Digital Onboarding: `client` speaks HTTP, `wire` and `models` are pure, `token` keeps the OAuth2 token."""
