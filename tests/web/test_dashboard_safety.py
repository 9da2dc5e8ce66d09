"""Who may see the dashboard and who may act on it, over real HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from service.store import tables as t
from service.web.desk import LARGEST
from service.web.session import COOKIE
from tests.cli.filled import NOW
from tests.web.dashboard import TOKEN, Served, filled, served

PAGES = (
    "/", "/jobs", "/streams", "/outbox", "/outbox/2", "/conflicts", "/conflicts/1", "/brake", "/rules", "/people",
    "/people/1", "/erasure",
)  # fmt: skip
ACTIONS = (
    "/outbox/2/retry", "/outbox/2/discard", "/conflicts/1/resolve", "/conflicts/1/relink", "/brake/release",
    "/erasure/find", "/erasure/erase", "/logout",
)  # fmt: skip
BEYOND = {"web.host": "0.0.0.0"}  # as it is set; the tests' socket is on loopback all the same


@pytest.fixture
def mirror(sqlite_mirror: str) -> str:
    return filled(sqlite_mirror)


def status_of(dashboard: Served) -> str:
    with dashboard.db.begin(write=False) as conn:
        return str(conn.execute(select(t.outbox.c.status).where(t.outbox.c.id == 2)).scalar_one())


async def test_without_a_token_one_reads_and_is_told_how_to_act(mirror: str) -> None:
    async with served(mirror, token=None) as dashboard:
        for path in PAGES:
            assert (await dashboard.client.get(path)).status_code == 200, path
        for path in ACTIONS:
            answer = await dashboard.client.post(path, data={"form_token": "", "keep": "onvoard"})
            assert answer.status_code == 403, path
            assert "set BRIDGE_WEB__TOKEN" in answer.text, path
        assert "set BRIDGE_WEB__TOKEN" in (await dashboard.client.get("/outbox")).text
        signed_in = await dashboard.client.post("/login", data={"token": ""})
        assert (signed_in.status_code, "set-cookie" in signed_in.headers) == (403, False)
        assert status_of(dashboard) == "dead"


async def test_a_wrong_token_opens_nothing(mirror: str) -> None:
    async with served(mirror, **BEYOND) as dashboard:
        for wrong in ("", "wrong", TOKEN[:-1], TOKEN + "x", "ä" * 20):
            answer = await dashboard.sign_in(wrong)
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False), wrong
            assert "This is not the token." in answer.text
        assert (await dashboard.client.get("/")).headers["location"] == "/login"


async def test_beyond_loopback_nothing_is_read_before_signing_in(mirror: str) -> None:
    async with served(mirror, **BEYOND) as dashboard:
        for path in PAGES:
            answer = await dashboard.client.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path
        search = await dashboard.client.post("/people", data={"who": "ann@example.com"})
        assert search.headers["location"] == "/login"
        assert 'aria-label="Pages"' not in (await dashboard.client.get("/login")).text
        assert (await dashboard.client.get("/static/style.css")).status_code == 200
        await dashboard.sign_in()
        for path in PAGES:
            assert (await dashboard.client.get(path)).status_code == 200, path


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"}, {"Host": "evil.example:8080"}, {"Host": "[bad"}, {"X-Forwarded-For": "1.2.3.4"},
        {"Forwarded": "for=1.2.3.4"}, {"Via": "1.1 proxy"},
    ],
)  # fmt: skip
async def test_on_loopback_a_foreign_name_or_a_proxy_has_to_sign_in(mirror: str, headers: dict[str, str]) -> None:
    async with served(mirror) as dashboard:
        assert (await dashboard.client.get("/people/1")).status_code == 200
        answer = await dashboard.client.get("/people/1", headers=headers)
        assert (answer.status_code, answer.headers.get("location")) == (303, "/login")


async def test_an_action_needs_the_session_and_the_token_of_its_form(mirror: str) -> None:
    async with served(mirror) as dashboard:
        for path in ACTIONS:
            assert (await dashboard.client.post(path, data={"keep": "onvoard"})).status_code == 403, path
        await dashboard.sign_in()
        own = await dashboard.form_token()
        for given in ("", "0" * 64, own[:-1], "ä"):
            for path in ACTIONS:
                answer = await dashboard.client.post(path, data={"form_token": given, "keep": "onvoard"})
                assert answer.status_code == 403, path
        dashboard.client.cookies.clear()
        await dashboard.sign_in()
        assert own != await dashboard.form_token()  # each session has its own
        assert (await dashboard.client.post("/outbox/2/retry", data={"form_token": own})).status_code == 403
        assert status_of(dashboard) == "dead"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)  # fmt: skip
async def test_a_form_from_another_site_is_refused(mirror: str, headers: dict[str, str]) -> None:
    async with served(mirror) as dashboard:
        await dashboard.sign_in()
        fields = {"form_token": await dashboard.form_token()}
        refused = await dashboard.client.post("/outbox/2/retry", data=fields, headers=headers)
        assert (refused.status_code, status_of(dashboard)) == (403, "dead")
        for path, more in (("/login", {"token": TOKEN}), ("/people", {"who": "person:1"})):
            assert (await dashboard.client.post(path, data=more, headers=headers)).status_code == 403
        own = {"Origin": dashboard.address, "Sec-Fetch-Site": "same-origin"}
        assert (await dashboard.client.post("/outbox/2/retry", data=fields, headers=own)).status_code == 200


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(mirror: str) -> None:
    async with served(mirror) as dashboard:
        cookie = (await dashboard.sign_in()).headers["set-cookie"]
        parts = {part.strip().lower() for part in cookie.split(";")}
        assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= parts
        assert "secure" not in parts
        assert TOKEN not in cookie
        secure = await dashboard.client.post("/login", data={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"})
        assert "; secure" in secure.headers["set-cookie"].lower()


async def test_a_session_ends(mirror: str) -> None:
    async with served(mirror, **BEYOND) as dashboard:
        value = (await dashboard.sign_in()).cookies[COOKIE]
        until, nonce, signature = value.split(".")
    async with served(mirror, now=NOW + timedelta(hours=11, minutes=59), **BEYOND) as later:
        later.client.cookies.set(COOKIE, value)
        assert (await later.client.get("/")).status_code == 200
    async with served(mirror, now=NOW + timedelta(hours=12), **BEYOND) as too_late:
        prolonged = f"{int(until) + 3600}.{nonce}.{signature}"
        for given in (value, prolonged, f"..{signature}", f"{until}.{nonce}.", "", "x"):
            too_late.client.cookies.clear()
            too_late.client.cookies.set(COOKIE, given)
            assert (await too_late.client.get("/")).status_code == 303, given
    async with served(mirror, token="another-token", **BEYOND) as renewed:
        renewed.client.cookies.set(COOKIE, value)
        assert (await renewed.client.get("/")).status_code == 303


async def test_signing_out(mirror: str) -> None:
    async with served(mirror, **BEYOND) as dashboard:
        await dashboard.sign_in()
        assert (await dashboard.act("/logout")).status_code == 303
        assert (await dashboard.client.get("/")).status_code == 303


async def test_every_answer_forbids_scripts_frames_and_caches(mirror: str) -> None:
    async with served(mirror) as dashboard:
        answers = [await dashboard.client.get(path) for path in (*PAGES, "/login", "/outbox/999")]
        answers += [await dashboard.client.post(path) for path in (*ACTIONS, "/people")]
        answers.append(await dashboard.client.post("/people", data={"who": "person:1"}))
        answers.append(await dashboard.client.get("/", headers={"Via": "1.1 proxy"}))
        await dashboard.sign_in()
        answers += [await dashboard.act(path) for path in ACTIONS]
    for answer in answers:
        policy = set(answer.headers["content-security-policy"].split("; "))
        assert policy == {
            "default-src 'none'", "style-src 'self'", "img-src 'self'", "form-action 'self'", "frame-ancestors 'none'",
            "base-uri 'none'",
        }  # fmt: skip
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "<script" not in answer.text
        assert " style=" not in answer.text


async def test_nothing_is_loaded_from_elsewhere(mirror: str) -> None:
    async with served(mirror) as dashboard:
        for path in (*PAGES, "/static/style.css"):
            page = (await dashboard.client.get(path)).text
            assert "http://" not in page.replace("http://www.w3.org", ""), path
            assert "https://" not in page, path


async def test_files_beside_the_style_sheet_are_not_served(mirror: str) -> None:
    async with served(mirror) as dashboard:
        for name in ("..%2fdesk.py", "style.css%00", "nothing.css"):
            assert (await dashboard.client.get(f"/static/{name}")).status_code == 404, name


async def test_a_form_that_is_too_large_or_no_form_is_refused(mirror: str) -> None:
    async with served(mirror) as dashboard:
        assert (await dashboard.client.post("/people", data={"who": "x" * LARGEST})).status_code == 413
        assert (await dashboard.client.post("/people", content=b"who=\xff")).status_code in (200, 400)
        many = "&".join(f"f{number}=1" for number in range(100))
        assert (await dashboard.client.post("/people", content=many)).status_code == 400
