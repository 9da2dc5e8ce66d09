"""`contact-bridge consent report`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from click.testing import Result
from sqlalchemy import insert

from service.store import tables as t
from service.store.consent_report import COLUMNS
from service.store.database import Database
from tests.cli.filled import NOW

Run = Callable[..., Result]


def opt_out(url: str) -> None:
    """Ann, on OnVoard and five minutes later on Digital Onboarding."""
    db = Database(url)
    seen = (("onvoard", "ov-1", NOW), ("digital_onboarding", "a-1", NOW + timedelta(minutes=5)))
    with db.begin() as conn:
        for platform, contact, at in seen:
            row = {"platform": platform, "contact": contact, "channel": "email", "seen_at": at}
            conn.execute(insert(t.opt_outs).values(email_key="ann@example.com", source="unsubscribed", **row))
    db.close()


def test_one_line_per_opt_out(run: Run, run_json: Callable[..., Any], sqlite_url: str) -> None:
    opt_out(sqlite_url)
    (row,) = run_json("consent", "report")
    assert tuple(row) == COLUMNS
    assert row["person_id"] == 1 and row["state"] == "confirmed" and row["delay_seconds"] == 300
    assert row["first_seen_on"] == "onvoard" and row["first_seen_at"].endswith("Z")
    assert run_json("consent", "report", "--open") == []
    assert run_json("consent", "--since", "2999-01-01") == []
    shown = run("consent").stdout
    assert "1 opt-outs, 1 confirmed" in shown and "300 s" in shown


def test_nobody_opted_out(run: Run) -> None:
    assert "0 opt-outs" in run("consent", "report").stdout
