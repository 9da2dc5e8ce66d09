"""What only Postgres needs, and the only importer of psycopg: commands on SQLite come here never."""
