"""The OAuth2 token: reuse, renewal, the file, and what it must never do."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from starlette.responses import Response

from service import errors
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.transport import Limits

from .servers import Fake, Seen, reply

SECRET = "s3cret-Value"


class Platform:
    """Grants tokens t1, t2, ...; only `valid` ones open anything."""

    def __init__(self, fake: Fake, expires_in: object = 3600) -> None:
        self.fake, self.granted, self.valid, self.expires_in = fake, 0, set[str](), expires_in
        fake.routes = {"/oauth2/token": self.grant}
        fake.answers(self.templates)

    def grant(self, seen: Seen) -> Response:
        self.granted += 1
        self.valid = {f"t{self.granted}"}
        body = {"access_token": f"t{self.granted}", "token_type": "bearer"}
        return reply(body if self.expires_in is None else body | {"expires_in": self.expires_in})

    def templates(self, seen: Seen) -> Response:
        if seen.headers["authorization"].removeprefix("Bearer ") not in self.valid:
            return reply({"error": "invalid_token"}, 401)
        return reply({"templates": []})

    def client(self, quick: Limits, state_dir: Path | None = None, **more: object) -> DigitalOnboarding:
        return DigitalOnboarding(self.fake.url, "id", SECRET, state_dir=state_dir, limits=quick, **more)  # type: ignore[arg-type]


def files(state_dir: Path) -> list[Path]:
    return list(state_dir.iterdir())


async def test_neither_secret_nor_token_is_logged(
    fake: Fake, quick: Limits, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    platform = Platform(fake)
    fake.routes["/oauth2/token"] = reply({"access_token": "T0ken-Value", "token_type": "bearer"})
    async with platform.client(quick) as client:
        with pytest.raises(errors.Denied):
            await client.list_templates()
    basic = base64.b64encode(f"id:{SECRET}".encode()).decode()
    for text in (caplog.text, *capfd.readouterr()):
        assert not any(secret in text for secret in (SECRET, "T0ken-Value", basic))


async def test_asked_for_by_basic_auth_and_never_in_a_url(fake: Fake, quick: Limits) -> None:
    async with Platform(fake).client(quick) as client:
        await client.list_templates()
    asked = fake.to("/oauth2/token")[0]
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(f"id:{SECRET}".encode()).decode()
    assert parse_qs(asked.body.decode()) == {"grant_type": ["client_credentials"]}
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert all(not seen.query for seen in fake.seen)


async def test_reused_within_and_across_invocations(fake: Fake, quick: Limits, tmp_path: Path) -> None:
    platform = Platform(fake)
    for _ in range(3):
        async with platform.client(quick, tmp_path / "state") as client:
            await client.list_templates()
            await client.list_templates()
    assert platform.granted == 1


async def test_the_file_is_private_and_named_by_a_fingerprint(fake: Fake, quick: Limits, tmp_path: Path) -> None:
    async with Platform(fake).client(quick, tmp_path / "state") as client:
        await client.list_templates()
    (file,) = files(tmp_path / "state")
    assert file.name.startswith("token-") and file.suffix == ".json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET not in file.read_text()


async def test_another_account_has_another_file(fake: Fake, quick: Limits, tmp_path: Path) -> None:
    platform = Platform(fake)
    async with platform.client(quick, tmp_path) as client:
        await client.list_templates()
    async with DigitalOnboarding(fake.url, "other", SECRET, state_dir=tmp_path, limits=quick) as other:
        await other.list_templates()
    assert platform.granted == 2 and len(files(tmp_path)) == 2


def loosen(file: Path) -> None:
    file.chmod(0o644)


def scramble(file: Path) -> None:
    file.write_text('{"access_token": ')


def empty(file: Path) -> None:
    file.write_text(json.dumps({"access_token": "a b\n", "expires_at": None}))


@pytest.mark.parametrize("harm", [loosen, scramble, empty, Path.unlink])
async def test_a_file_that_cannot_be_trusted_only_costs_a_token(
    fake: Fake, quick: Limits, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    platform = Platform(fake)
    async with platform.client(quick, tmp_path) as client:
        await client.list_templates()
    harm(files(tmp_path)[0])
    async with platform.client(quick, tmp_path) as client:
        await client.list_templates()
    assert platform.granted == 2
    assert [stat.S_IMODE(file.stat().st_mode) for file in files(tmp_path)] == [0o600]


async def test_an_unwritable_state_directory_does_no_harm(fake: Fake, quick: Limits, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory belongs")
    async with Platform(fake).client(quick, tmp_path / "state") as client:
        await client.list_templates()


async def test_honoured_until_it_expires(fake: Fake, quick: Limits) -> None:
    platform, at = Platform(fake, expires_in=1000), [datetime(2026, 1, 1, tzinfo=UTC)]
    async with platform.client(quick, now=lambda: at[0]) as client:
        await client.list_templates()
        at[0] += timedelta(seconds=960)
        await client.list_templates()
        assert platform.granted == 1
        at[0] += timedelta(seconds=30)
        await client.list_templates()
    assert platform.granted == 2


@pytest.mark.parametrize("expires_in", [None, "3600", 3600.5, "soon", [], 0, -5, 1e400])
async def test_odd_life_times(fake: Fake, quick: Limits, expires_in: object) -> None:
    platform = Platform(fake, expires_in if expires_in != 1e400 else 10**300)
    async with platform.client(quick) as client:
        await client.list_templates()


async def test_renewed_once_for_all_parallel_workers(fake: Fake, quick: Limits, tmp_path: Path) -> None:
    platform = Platform(fake)
    async with platform.client(quick, tmp_path) as client:
        await client.list_templates()
        platform.valid = set()  # revoked there
        await asyncio.gather(*(client.list_templates() for _ in range(40)))
    assert platform.granted == 2
    async with platform.client(quick, tmp_path) as later:
        await later.list_templates()
    assert platform.granted == 2


async def test_many_workers_wait_for_the_first_token_without_a_deadlock(fake: Fake, quick: Limits) -> None:
    from dataclasses import replace

    platform = Platform(fake)
    async with platform.client(replace(quick, max_in_flight=1)) as client:
        await asyncio.wait_for(asyncio.gather(*(client.list_templates() for _ in range(10))), 5)
    assert platform.granted == 1


async def test_another_process_has_renewed_it(fake: Fake, quick: Limits, tmp_path: Path) -> None:
    platform = Platform(fake)
    async with platform.client(quick, tmp_path) as first, platform.client(quick, tmp_path) as second:
        await first.list_templates()
        await second.list_templates()
        platform.valid = set()
        await first.list_templates()
        await second.list_templates()
    assert platform.granted == 2


async def test_a_second_401_is_denied_and_asks_for_no_third_token(fake: Fake, quick: Limits) -> None:
    platform = Platform(fake)
    fake.answers(reply({"error": "invalid_token"}, 401))
    async with platform.client(quick) as client:
        with pytest.raises(errors.Denied):
            await client.list_templates()
    assert platform.granted == 2 and len(fake.to("/v1/templates")) == 2


@pytest.mark.parametrize(
    "answer", [reply({"error": "forbidden"}, 401), reply([], 401), Response("<html>", 401), reply({}, 403)]
)
async def test_another_refusal_is_no_reason_to_renew(fake: Fake, quick: Limits, answer: Response) -> None:
    platform = Platform(fake)
    fake.answers(answer)
    async with platform.client(quick) as client:
        with pytest.raises(errors.Denied):
            await client.list_templates()
    assert platform.granted == 1 and len(fake.to("/v1/templates")) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply({"error": "invalid_client"}, 401), errors.Denied),
        (reply({"error": "unauthorized_client"}, 400), errors.Denied),
        (reply(status=404), errors.Denied),
        (reply({"token": "x"}), errors.Garbled),
        (reply({"access_token": "a\r\nX-Evil: 1"}), errors.Garbled),
        (reply({"access_token": 7}), errors.Garbled),
        (Response("<html>maintenance</html>"), errors.Garbled),
        (reply(status=503), errors.ServerFailed),
        (reply(status=429, retry_after="999"), errors.RateLimited),
    ],
)
async def test_no_token_to_be_had(
    fake: Fake, quick: Limits, answer: Response, error: type[errors.PlatformError]
) -> None:
    fake.routes = {"/oauth2/token": answer}
    async with DigitalOnboarding(fake.url, "id", SECRET, limits=quick) as client:
        with pytest.raises(error) as caught:
            await client.create_journey("tm1", contact={"unique_id": "u1"})
    assert caught.value.call == "POST /oauth2/token"
    assert len(fake.seen) <= 3  # its own attempts, not multiplied by those of the call that needed it
    assert SECRET not in str(caught.value) + repr(client) + repr(vars(client))
