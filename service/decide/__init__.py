"""Between the ends: what the mirror holds is put before the core, and what the core decides is put on record."""
