"""OnVoard: `client` and its chapters speak HTTP; `wire`, `rules`, `models` and `enums` are pure."""
