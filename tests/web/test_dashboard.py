"""Each page of the dashboard and each action, on a mirror in which something of everything is the case."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from service.store import tables as t
from service.store.database import Database
from tests.cli.filled import EVIL, NOW, SECRET_OF_THE_SUPPRESSED
from tests.web.dashboard import Served, filled, served

PAGES = (
    "/", "/jobs", "/streams", "/outbox", "/outbox?status=pending", "/outbox/2", "/conflicts", "/conflicts?all=1",
    "/conflicts/1", "/conflicts/2", "/brake", "/rules", "/people", "/people/1", "/people/2", "/people/3", "/erasure",
    "/erasure?person=1", "/login",
)  # fmt: skip
HAPPENED = NOW - timedelta(days=1)
MARKUP = "<img src=x onerror=alert(1)>\"'&"


@pytest.fixture
def mirror(sqlite_mirror: str) -> str:
    return filled(sqlite_mirror)


async def text(dashboard: Served, path: str, status: int = 200) -> str:
    answer = await dashboard.client.get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def push_status(db: Database, push_id: int) -> str:
    with db.begin(write=False) as conn:
        return str(conn.execute(select(t.outbox.c.status).where(t.outbox.c.id == push_id)).scalar_one())


async def test_every_page_answers_on_both_databases(mirror_url: str) -> None:
    async with served(filled(mirror_url)) as dashboard:
        for signed_in in (False, True):
            for path in PAGES:
                page = await text(dashboard, path)
                assert page.count("<h1") == 1, path
                assert '<main id="content"' in page, path
            if not signed_in:
                assert (await dashboard.sign_in()).status_code == 303


async def test_the_overview_says_why_it_is_not_in_sync_since_when_and_what_needs_a_person(mirror: str) -> None:
    async with served(mirror) as dashboard:
        page = await text(dashboard, "/")
    assert '<h1 id="state">Not in sync</h1>' in page
    assert "1 dead letter: see contact-bridge outbox list" in page
    assert "1 dead letter: see contact-bridge outbox list, since <time" in page
    assert '<td>change</td><td>pending</td><td>2</td><td><time' in page.replace("\n    ", "")
    assert "pushes to Digital Onboarding: 2 left, by the settings" in page
    assert "The last run: backfill, run 4, ok" in page
    assert 'Something has been waiting since <time datetime="2026-03-01T12:00:00Z">' in page
    for link in ('href="/brake"', 'href="/conflicts">1 open conflict<', 'href="/outbox?status=dead">1 dead letter<'):
        assert link in page


async def test_an_empty_mirror_has_pages_too(sqlite_mirror: str) -> None:
    async with served(sqlite_mirror) as dashboard:
        for path in ("/", "/jobs", "/streams", "/outbox", "/conflicts", "/brake", "/rules", "/people", "/erasure"):
            await text(dashboard, path)


async def test_jobs_show_their_last_run_and_their_next_turn(mirror: str) -> None:
    async with served(mirror) as dashboard:
        page = await text(dashboard, "/jobs")
        assert "The scheduler is not running." in page
        assert '<th scope="row">reconcile</th><td>1 min</td>' in page
        assert '<th scope="row">sync</th><td>3</td><td class="bad">failed</td>' in page


async def test_streams_show_their_lag_and_the_last_day_by_the_hour(mirror: str) -> None:
    database = Database(mirror)
    with database.begin() as conn:
        ended = [("contacts", 5), ("contacts", 2)]
        for kind, hours in ended:
            at = NOW - timedelta(hours=hours, minutes=1)
            counts = {"pulled": {"contacts": 40 + hours}, "pushed": {"onvoard.patch_contact.done": 7}}
            conn.execute(insert(t.runs).values(kind=kind, outcome="ok", started_at=at, finished_at=at, counts=counts))
    database.close()
    async with served(mirror) as dashboard:
        page = await text(dashboard, "/streams")
    assert '<th scope="row">contacts</th><td>2026-03-01T11:00:00.000000Z</td><td>1 h</td>' in page
    assert "<title>06:00: 45 records</title>" in page
    assert "<title>09:00: 42 records</title>" in page
    assert "<title>09:00: 7 pushes</title>" in page
    assert "at most 10800 seconds" in page  # from 06:59 to 09:59


async def test_a_push_tells_its_story(mirror: str) -> None:
    async with served(mirror) as dashboard:
        page = await text(dashboard, "/outbox/2")
        assert "upsert_contact" in page
        await text(dashboard, "/outbox/999", 404)
        await text(dashboard, f"/outbox/{2**63}", 404)


async def test_a_dead_letter_is_retried(mirror: str) -> None:
    async with served(mirror) as dashboard:
        await dashboard.sign_in()
        assert "/outbox/2/retry" in await text(dashboard, "/outbox")
        answer = await dashboard.act("/outbox/2/retry")
        assert (answer.status_code, push_status(dashboard.db, 2)) == (200, "pending")
        again = await dashboard.act("/outbox/2/retry")
        assert again.status_code == 409
        assert "only dead pushes can be retried" in again.text


async def test_a_dead_letter_is_discarded(mirror: str) -> None:
    async with served(mirror) as dashboard:
        await dashboard.sign_in()
        assert (await dashboard.act("/outbox/2/discard")).status_code == 200
        assert push_status(dashboard.db, 2) == "cancelled"
        assert (await dashboard.act("/outbox/1/discard")).status_code == 409
        assert push_status(dashboard.db, 1) == "pending"


async def test_long_lists_come_in_pages(mirror: str) -> None:
    database = Database(mirror)
    with database.begin() as conn:
        row = {"platform": "onvoard", "operation": "patch_contact", "payload": {}, "lane": 2, "status": "dead"}
        conn.execute(insert(t.outbox), [row] * 60)
        conflict = {"person_id": 1, "kind": "both_changed", "field": "city", "status": "open"}
        conn.execute(insert(t.conflicts), [conflict] * 60)
    database.close()
    async with served(mirror) as dashboard:
        for path, link in (("/outbox?status=dead", "/outbox/"), ("/conflicts", "/conflicts/")):
            first = await text(dashboard, path)
            assert first.count(f'<th scope="row"><a href="{link}') == 50
            assert "Next page" in first
        rest = await text(dashboard, "/outbox?status=dead&after=53")
        assert rest.count('<th scope="row"><a href="/outbox/') == 11
        assert "Next page" not in rest


async def test_a_conflict_about_a_field_is_resolved_with_one_click(mirror: str) -> None:
    database = Database(mirror)
    with database.begin() as conn:
        values = {"onvoard_value": "Rome", "digital_onboarding_value": "Paris", "created_at": NOW, "status": "open"}
        conn.execute(insert(t.conflicts).values(person_id=1, kind="both_changed", field="city", **values))
    database.close()
    async with served(mirror) as dashboard:
        await dashboard.sign_in()
        page = await text(dashboard, "/conflicts/3")
        assert "Keep OnVoard" in page
        assert "<td>Ann Lee</td><td>Anna Lee\\x1b]0;owned\\x07</td>" in page  # both sides, side by side
        assert (await dashboard.act("/conflicts/3/resolve", keep="nobody")).status_code == 400
        answer = await dashboard.act("/conflicts/3/resolve", keep="digital_onboarding", reason="she said so")
        assert answer.status_code == 200, answer.text
        assert "the city of Digital Onboarding goes to OnVoard" in answer.text
        with dashboard.db.begin(write=False) as conn:
            row = conn.execute(select(t.conflicts).where(t.conflicts.c.id == 3)).mappings().one()
        assert (row["status"], row["kept"], row["note"]) == ("resolved", "digital_onboarding", "she said so")
        assert (await dashboard.act("/conflicts/3/resolve", keep="onvoard")).status_code == 409


async def test_who_is_who_is_decided_by_linking(mirror: str) -> None:
    database = Database(mirror)
    with database.begin() as conn:
        conn.execute(update(t.conflicts).where(t.conflicts.c.id == 1).values(kind="ambiguous_identity"))
    database.close()
    async with served(mirror) as dashboard:
        await dashboard.sign_in()
        assert "Link ov-3 and b-3" in await text(dashboard, "/conflicts/1")
        fields = {"verb": "link", "digital_onboarding": "b-3"}
        strangers = await dashboard.act("/conflicts/1/relink", onvoard="ov-1", **fields)
        assert (strangers.status_code, "no longer asked about" in strangers.text) == (409, True)
        answer = await dashboard.act("/conflicts/1/relink", onvoard="ov-3", **fields)
        assert "ov-3 and b-3 are one person" in answer.text
        with dashboard.db.begin(write=False) as conn:
            linked = conn.execute(select(t.persons.c.unique_id).where(t.persons.c.onvoard_contact_id == "ov-3"))
            assert linked.scalar_one() == "b-3"


async def test_the_brake_shows_what_it_holds(mirror: str) -> None:
    database = Database(mirror)
    details = [{"field": "city", "old": "Paris", "new": MARKUP, "why": "newer record"}]
    with database.begin() as conn:
        held = {"platform": "onvoard", "operation": "patch_contact", "payload": {}, "lane": 1, "status": "held"}
        conn.execute(insert(t.outbox).values(person_id=1, details=details, **held))
    database.close()
    async with served(mirror) as dashboard:
        page = await text(dashboard, "/brake")
        assert "60 of 100" in page
        assert "&lt;img src=x onerror=alert(1)&gt;" in page
        await dashboard.sign_in()
        answer = await dashboard.act("/brake/release")
        assert answer.status_code == 409  # nobody would do it
        assert "The jobs are not running" in answer.text


async def test_a_person_is_found_without_being_named_in_an_address(mirror: str) -> None:
    async with served(mirror) as dashboard:
        found = await dashboard.client.post("/people", data={"who": "ann@example.com"})
        assert (found.status_code, found.headers["location"]) == (303, "/people/1")
        several = await dashboard.client.post("/people", data={"who": "bob@example.com"})
        assert "3 found" in several.text
        new = await dashboard.client.post("/people", data={"who": "new@example.com"})
        assert "not reconciled yet" in new.text
        nobody = await dashboard.client.post("/people", data={"who": MARKUP})
        assert "Nobody in the mirror is called this." in nobody.text
        assert MARKUP not in nobody.text


async def test_a_person_has_both_sides_provenance_and_a_timeline(mirror: str) -> None:
    database = Database(mirror)
    with database.begin() as conn:
        review = {"rating": 5.0, "status": "PUBLISHED", "product_name": "Card", "title": MARKUP, "created_at": HAPPENED}
        conn.execute(insert(t.onvoard_reviews).values(id="r-1", reviewer_contact_id="ov-1", **review))
        activity = {"type": "order_placed", "occurred_at": HAPPENED + timedelta(hours=1)}
        conn.execute(insert(t.onvoard_activities).values(id="a-1", contact_id="ov-1", **activity))
        conn.execute(insert(t.digital_onboarding_journeys).values(id="j-1", unique_id="a-1", name="Go Mobile"))
        done = {"unique_id": "a-1", "objective_key": "online-banking", "completed_at": HAPPENED}
        conn.execute(insert(t.digital_onboarding_objective_completions).values(**done))
        fired = {"rule": "first-order", "happening": "a-1", "happened_at": HAPPENED, "status": "done"}
        conn.execute(insert(t.rule_firings).values(person_id=1, created_at=NOW, updated_at=NOW, **fired))
    database.close()
    async with served(mirror) as dashboard:
        page = await text(dashboard, "/people/1")
    assert "edited on Digital Onboarding after the bridge wrote it" in page
    assert "Rome" in page  # what gave way
    timeline = page[page.index("<h2>Timeline</h2>") :]
    order = ["the bridge wrote phone_mobile", "activity: order_placed", "review: 5 of 5 · Card", "journey: Go Mobile"]
    places = [timeline.index(each) for each in order]
    assert places == sorted(places)
    assert "objective: online-banking" in timeline
    assert "rule first-order fired: done" in timeline


async def test_of_somebody_suppressed_nothing_personal_is_shown(mirror: str) -> None:
    async with served(mirror) as dashboard:
        page = await text(dashboard, "/people/2")
        assert "Personal data of this person is not kept." in page
        assert SECRET_OF_THE_SUPPRESSED not in page
        await text(dashboard, "/people/999", 404)


async def test_what_platforms_say_is_escaped_and_breaks_no_page(mirror: str) -> None:
    database = Database(mirror)
    evil = MARKUP + EVIL + "\u202e</td></table><script>alert(2)</script>"
    with database.begin() as conn:
        conn.execute(update(t.conflicts).values(reason=evil, onvoard_value=evil))
        conn.execute(update(t.outbox).values(last_error=evil))
        conn.execute(update(t.onvoard_contacts).where(t.onvoard_contacts.c.id == "ov-1").values(raw={"name": evil}))
        conn.execute(update(t.holds).values(reason=evil))
        conn.execute(update(t.changes).values(rule=evil, new_value=evil))
        conn.execute(update(t.cursors).values(value=evil))
    database.close()
    async with served(mirror) as dashboard:
        await dashboard.sign_in()
        for path in PAGES:
            page = await text(dashboard, path)
            assert "<script" not in page, path
            assert "<img" not in page, path
            assert not [char for char in "\x1b\x07\u202e" if char in page], path


async def test_a_database_that_is_away_is_said_so(mirror: str) -> None:
    file = Path(mirror.removeprefix("sqlite:///"))
    async with served(mirror) as dashboard:
        await asyncio.to_thread(file.write_bytes, b"this is no database" * 1000)
        assert (await dashboard.client.get("/rules")).status_code == 503
