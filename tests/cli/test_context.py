"""What commands share: settings, the mirror, and which of them may create it."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cli.context import Context
from service.errors import NotMigrated
from service.settings import Settings
from service.state import gather
from service.store import cursors, migrate
from service.store.database import Database
from tests.cli.filled import NOW


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_only_those_who_may_create_the_default_file(folder: Path) -> None:
    reader, writer = Context(), Context()
    with pytest.raises(NotMigrated):
        reader.database()
    assert list(folder.iterdir()) == []
    database = writer.database(create=True)
    assert migrate.current(database) == migrate.head()
    assert (folder / "bridge.db").exists()
    writer.close()
    assert reader.database().file == Path("bridge.db")
    reader.close()


def test_no_other_file_is_created(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_DATABASE_URL", "sqlite:///other.db")
    with pytest.raises(NotMigrated):
        Context().database(create=True)
    assert list(folder.iterdir()) == []


def test_the_command_line_overrides_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_LOG__LEVEL", "error")
    shared = Context()
    shared.override("log.level", "warning")
    assert shared.settings.log.level == "warning"
    assert shared.settings is shared.settings
    with pytest.raises(RuntimeError):
        shared.override("log.level", "debug")


def test_the_async_part_of_a_command(folder: Path) -> None:
    async def answer() -> int:
        return 3

    assert Context().run(answer()) == 3


def test_an_empty_mirror_is_not_in_sync_and_an_untroubled_one_is(mirror_url: str) -> None:
    database = Database(mirror_url)
    with database.begin() as conn:
        assert gather(conn, NOW, Settings())["reasons"] == ["nothing was pulled or synced yet"]
        cursors.put(conn, "onvoard.contacts", NOW, NOW)
        report = gather(conn, NOW, Settings())
    database.close()
    assert report["in_sync"] is True
    assert report["reasons"] == []
    assert report["cursors"][0]["lag_seconds"] == 0
