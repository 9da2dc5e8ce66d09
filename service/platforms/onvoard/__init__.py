"""OnVoard: `client` and its chapters speak HTTP; `wire`, `rules`, `arguments`, `models` and `enums` are pure."""
