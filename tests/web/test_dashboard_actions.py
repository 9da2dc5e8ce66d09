"""What the dashboard sets going on both emulated platforms: a release of the brake, and an erasure."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert, select

from service.sandbox import Sandbox
from service.store import tables as t
from service.store.database import Database
from service.store.lease import lease
from service.web import desk
from tests.web.dashboard import ANN, NO_LEEWAY, filled, served, synced, there, until


async def test_what_the_brake_holds_leaves_when_somebody_releases_it(linked: str, sandbox: Sandbox) -> None:
    sandbox.onvoard.edit_contact(ANN, name="Ann Changed")
    assert await synced(linked, sandbox, **NO_LEEWAY)
    async with served(linked, sandbox.environment(), now=None, running=True, **NO_LEEWAY) as dashboard:
        await dashboard.sign_in()
        page = (await dashboard.client.get("/brake")).text
        assert "Held towards Digital Onboarding" in page
        assert "Changed" in page
        assert there(sandbox)["name_last"] == "Able"
        for _ in range(2):  # twice is once
            assert (await dashboard.act("/brake/release")).status_code == 200
        await until(lambda: there(sandbox)["name_last"] == "Changed")
        await until(lambda: not any(turn["name"] == "sync" for turn in dashboard.jobs.turns()))
        assert "Nothing is held." in (await dashboard.client.get("/brake")).text
        with dashboard.db.begin(write=False) as conn:
            outcomes = conn.execute(select(t.runs.c.outcome).where(t.runs.c.kind == "sync").order_by(t.runs.c.id))
            assert list(outcomes.scalars()) == ["ok", "ok", "held", "ok"]
        assert '<th scope="row">contacts</th><td>5 min</td><td><time' in (await dashboard.client.get("/jobs")).text


async def test_an_erasure_is_typed_twice_carried_out_and_certified(linked: str, sandbox: Sandbox) -> None:
    async with served(linked, sandbox.environment(), now=None) as dashboard:
        await dashboard.sign_in()
        shown = await dashboard.act("/erasure/find", who=ANN)
        assert "Who would be erased" in shown.text
        nobody = await dashboard.act("/erasure/find", who="nobody@example.com")
        assert (nobody.status_code, "nobody is called this" in nobody.text) == (404, True)
        slip = await dashboard.act("/erasure/erase", who=ANN, typed="ann.abel@example.com")
        assert (slip.status_code, there(sandbox)["unsubscribe_email"]) == (400, False)
        done = await dashboard.act("/erasure/erase", who=ANN, typed=f" {ANN} ")
        assert done.status_code == 200, done.text
        assert "Certificate of erasure" in done.text
        assert "rows that still say something: none." in done.text
        assert not [word for word in ("Able", ANN, "5550123") if word in done.text]
        assert sandbox.onvoard.contact_list()[0]["suppressed"]
        assert there(sandbox)["unsubscribe_email"]
        assert "Personal data of this person is not kept." in (await dashboard.client.get("/people/1")).text


async def test_an_erasure_that_a_platform_breaks_off_says_how_far_it_went(
    linked: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Digital Onboarding refuses the credentials, and no earlier token is at hand."""
    refused = {"BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET": "wrong", "BRIDGE_STATE_DIR": str(tmp_path / "empty")}
    async with served(linked, {**sandbox.environment(), **refused}, now=None) as dashboard:
        await dashboard.sign_in()
        failed = await dashboard.act("/erasure/erase", who="person:1", typed="person:1")
        assert failed.status_code == 502
        assert "It did not come to its end" in failed.text
        assert "Person 1: failed" in failed.text
        assert "read back: suppressed" in failed.text
        assert "rows that still say something" not in failed.text


async def test_a_decision_does_not_come_between_those_of_another_process(
    sqlite_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "PATIENCE", 0.2)
    other = Database(filled(sqlite_mirror))
    with other.begin() as conn:
        conn.execute(insert(t.conflicts).values(person_id=1, kind="both_changed", field="city", status="open"))
    async with served(sqlite_mirror) as dashboard:
        await dashboard.sign_in()
        async with lease(other, "cycle"):
            assert (await dashboard.act("/conflicts/3/resolve", keep="onvoard")).status_code == 409
        assert (await dashboard.act("/conflicts/3/resolve", keep="onvoard")).status_code == 200
    other.close()
