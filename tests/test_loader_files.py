"""The loaders' files that an operator edits: what they may say, and every mistake at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from service import resources, settings
from service.core.loaders import Key, Loader, Missing, Target
from service.errors import SettingsError
from service.loader_files import read_loaders

HEAD = "-- target: onvoard.contact_properties\n-- key: person_id\n"
SELECT = "SELECT 1 AS person_id, 2 AS level"


def read(folder: Path) -> tuple[Loader, ...]:
    return read_loaders(settings.load({"paths.loaders": str(folder)}, environ={}))


def written(tmp_path: Path, text: str, name: str = "one.sql") -> Path:
    (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def problems(folder: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(folder)
    return list(caught.value.problems)


def test_without_a_folder_there_are_none(tmp_path):
    assert read(tmp_path / "loaders") == () == read(tmp_path)


def test_a_file_says_what_its_head_says(tmp_path):
    head = "\ufeff-- What it is for, in words\n--target:digital_onboarding.meta_public (or another one)\r\n\n"
    head += "-- KEY: email   (or unique_id)\n-- missing: clear\n-- schedule: 15m\n-- timeout: 2m\n-- enabled: false\n"
    written(tmp_path, head + SELECT + "\n-- a remark: of mine\n;\n ; ")
    written(tmp_path, HEAD + SELECT, "another.sql")
    written(tmp_path, "no loader", "README.md")
    assert read(tmp_path) == (
        Loader("another", Target.CONTACT_PROPERTIES, Key.PERSON_ID, SELECT),
        Loader(
            "one", Target.META_PUBLIC, Key.EMAIL, SELECT + "\n-- a remark: of mine", Missing.CLEAR,
            timedelta(minutes=15), timedelta(minutes=2), enabled=False,
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("-- key: email\n" + SELECT, 1, ["target: is missing", "onvoard.activities"]),
        ("-- target: onvoard.activities\n" + SELECT, 1, ["key: is missing", "person_id, email, unique_id"]),
        (HEAD + "-- tagret: onvoard.activities\n" + SELECT, 3, ["unknown key tagret", "did you mean target?"]),
        (HEAD + "-- key: email\n" + SELECT, 3, ["key stands in line 2 already"]),
        ("-- key: email\n\n-- target: onvoard.propertys\n" + SELECT, 3, ["onvoard.contact_properties"]),
        (HEAD.replace("person_id", "person") + SELECT, 2, ["key 'person'", "did you mean person_id?"]),
        (HEAD + "-- missing: drop\n" + SELECT, 3, ["keep, clear"]),
        (HEAD + "-- timeout: soon\n" + SELECT, 3, ["duration such as"]),
        (HEAD + "-- schedule: 0s\n" + SELECT, 3, ["at least 1s"]),
        (HEAD + "-- enabled: yes\n" + SELECT, 3, ["true or false"]),
        (HEAD + "\n;", 4, ["no SELECT"]),
        ("-- missing: clear\n" + HEAD.replace("contact_properties", "activities") + SELECT, 1, ["write keep"]),
    ],
)
def test_a_mistake_names_its_file_and_line_and_what_may_stand_there(tmp_path, text, line, said):
    [problem] = problems(written(tmp_path, text))
    assert problem.startswith(f"{tmp_path / 'one.sql'} line {line}: ")
    assert all(word in problem for word in said), problem


def test_every_mistake_of_every_file_at_once(tmp_path):
    written(tmp_path, "-- timeout: soon\n")
    written(tmp_path, HEAD + "-- missing: drop\n", "two.sql")
    (tmp_path / "three.sql").write_bytes(b"-- key: \xe9mail\n")
    found = problems(tmp_path)
    assert [problem.rpartition("/")[2].partition(":")[0] for problem in found] == [
        "one.sql line 1", "one.sql line 1", "one.sql line 1", "one.sql line 1", "three.sql line 1",
        "two.sql line 3", "two.sql line 3",
    ]  # fmt: skip


def test_a_file_where_the_folder_should_be(tmp_path):
    [problem] = problems(written(tmp_path, SELECT) / "one.sql")
    assert "is no folder" in problem


def test_the_worked_examples_can_be_read():
    examples = resources.config_dir() / "examples" / "loaders"
    assert {loader.name: loader.target for loader in read(examples)} == {
        "journey_state": Target.CONTACT_PROPERTIES,
        "onboarding_finished": Target.ACTIVITIES,
        "review_figures": Target.META_PUBLIC,
    }
