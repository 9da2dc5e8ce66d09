"""How the suite begins: nothing but a word of its own sets it on servers that it has not started."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.platforms.onvoard.enums import (
    PropertyValueType,
    ResourceIconType,
    ResourceKind,
    ReviewEntity,
    ReviewStatus,
    WebhookEventType,
)
from service.sandbox import Sandbox
from tests.conformance import __main__ as command
from tests.conformance.conftest import settings_of
from tests.conformance.removing import sweep
from tests.conformance.target import CONSENT, Target

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEPT = (
    "contacts", "contact_property_types", "resources", "resource_property_types", "resource_records", "activities",
    "activity_types", "reviews", "webhooks", "tags",
)  # fmt: skip


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Servers that somebody else runs, here another sandbox, and all that could set the suite on them by accident."""
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    with Sandbox() as sandbox:
        exported = sandbox.environment() | {
            "CONFIRM": "yes",
            "ALLOW": "all",
            "ARGS": "--confirm yes",
            "PYTHONPATH": str(ROOT),
        }
        for name, value in exported.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        yield sandbox


def _python(*args: str) -> subprocess.CompletedProcess[str]:
    settings = ("-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider")
    return subprocess.run([sys.executable, "-m", *args, *settings], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("words", [(), ("--confirm", ""), ("--confirm", "no"), ("--allow", "all")])
def test_without_a_confirmation_it_says_what_it_would_do_and_sends_nothing(
    words: tuple[str, ...], strangers: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(words) == 2
    said = capsys.readouterr()
    for each in (strangers.onvoard_url, strangers.digital_onboarding_url, *CONSENT.values()):
        assert each in " ".join(said.out.split())
    assert "make conformance CONFIRM=yes" in said.err
    assert strangers.journal.entries() == []


def test_make_takes_no_confirmation_from_the_environment(strangers: Sandbox) -> None:
    for words, confirm, allow in (((), "", ""), (("CONFIRM=yes", "ALLOW=tags"), "yes", "tags")):
        make = [shutil.which("make") or "make", "-C", str(ROOT), "--dry-run", "conformance", *words]
        done = subprocess.run(make, capture_output=True, text=True, timeout=60)
        assert f"--confirm '{confirm}' --allow '{allow}'\n" in done.stdout, "the last word, after ARGS"


def test_pytest_alone_never_talks_to_the_servers_of_the_settings(strangers: Sandbox) -> None:
    done = _python("pytest", str(HERE / "test_onvoard_webhooks.py"))
    assert done.returncode == 0, done.stdout
    assert strangers.journal.entries() == []


def test_against_strangers_it_leaves_nothing_behind_and_says_what_it_did_not_try(strangers: Sandbox) -> None:
    strangers.load_world()
    before = {kind: set(getattr(strangers.onvoard, kind)) for kind in KEPT}
    people = set(strangers.digital_onboarding.contacts)
    chosen = "comes_back or a_tag or unsuppressed or webhook or status_of_a_review or journey_is or helper_text"
    done = _python("tests.conformance", "--confirm", "yes", "-k", chosen)
    assert done.returncode == 0, done.stdout
    assert "Removed only now" not in done.stdout
    assert all(f"needs ALLOW={word}" in done.stdout for word in CONSENT if word != "journeys")
    assert {kind: set(getattr(strangers.onvoard, kind)) for kind in KEPT} == before
    assert set(strangers.digital_onboarding.contacts) == people
    assert strangers.journal.writes(platform="onvoard"), "it did try the rest"
    assert not [entry.path for entry in strangers.journal.entries() if entry.path.startswith("/_sandbox")]


async def test_what_a_killed_run_has_left_is_found_by_its_name(strangers: Sandbox, tmp_path: Path) -> None:
    strangers.load_world()
    killed = Target(settings_of(strangers, tmp_path), frozenset(CONSENT))
    icon = {"icon_type": ResourceIconType.NATIVE, "icon_class": "add"}
    kinds = set(KEPT) - {"resources", "resource_property_types", "tags"}
    before = {kind: set(getattr(strangers.onvoard, kind)) for kind in kinds}
    async with killed.clients() as bridge:
        ov = bridge.onvoard
        people = [await ov.contacts.create(email=killed.email()) for _ in range(2)]
        await ov.contact_property_types.create(key=killed.key(), label="x", value_type=PropertyValueType.STRING)
        await ov.webhooks.create(
            url=f"https://{killed.name()}.invalid", event_types=[WebhookEventType.CONTACT_SAVED], active=False
        )
        await ov.reviews.create(
            content=killed.run, rating=1, entity=ReviewEntity.SITE, status=ReviewStatus.PENDING,
            reviewer_email=people[0].email or "", reviewer_display_name="x",
        )  # fmt: skip
        thing = await ov.resources.create(key=killed.key(), name="x", kind=ResourceKind.OBJECT, **icon)
        await ov.resource_records.create(resource=thing, context_id="x")
        happening = await ov.resources.create(key=killed.key(), name="x", kind=ResourceKind.ACTIVITY, **icon)
        await ov.contact_activity_types.create(resource=happening)
        await ov.contact_activities.create(type=f"custom.{happening.key}", contact_id=people[0].id)
        await ov.contacts.suppress(people[1].id)
    removed, problems = await sweep(killed)
    assert (len(removed), problems) == (7, [])
    assert {kind: set(getattr(strangers.onvoard, kind)) for kind in kinds} == before
    assert await sweep(killed) == ([], [])
