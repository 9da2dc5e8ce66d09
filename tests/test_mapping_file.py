"""The mapping file that an operator edits: what it may say, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from service import resources
from service.core.mapping import Authority, FieldRule, Kind
from service.errors import SettingsError
from service.mapping_file import read_mapping
from tests.core.making import RULES

CITY = 'name = "city"\nonvoard = "properties.city"\ndigital_onboarding = "city"\n'
NAME = 'name = "name"\nonvoard = "name"\ndigital_onboarding = ["name_first", "name_last"]\nkind = "name"\n'


def written(tmp_path: Path, *fields: str) -> Path:
    file = tmp_path / "mapping.toml"
    file.write_text("".join(f"[[fields]]\n{field}\n" for field in fields), "utf-8")
    return file


def problems(file: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_mapping(file)
    assert caught.value.exit_code == 2
    assert all(str(file) in problem for problem in caught.value.problems)
    return list(caught.value.problems)


def test_the_built_in_file_is_the_contracts_table():
    assert read_mapping(resources.config_dir() / "mapping.toml") == list(RULES)


def test_a_file_of_ones_own(tmp_path):
    own = 'name = "since"\nonvoard = "properties.custom_since"\ndigital_onboarding = "county"\nauthority = "onvoard"\n'
    assert read_mapping(written(tmp_path, NAME, own)) == [
        FieldRule("name", "name", ("name_first", "name_last"), Kind.NAME),
        FieldRule("since", "properties.custom_since", ("county",), Kind.TEXT, Authority.ONVOARD),
    ]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (CITY + 'direction = "both"\n', ["direction"]),
        (CITY + 'kind = "town"\n', ["town"]),
        (CITY + 'authority = "me"\n', ["me"]),
        (CITY + 'kind = "name"\n', ["two columns"]),
        (CITY + 'kind = "email"\n', ["email", "text, name"]),
        (CITY.replace('name = "city"', 'name = "email"'), ["always mapped"]),
        (CITY.replace('"properties.city"', '"email_unsubscribed"'), ["email_unsubscribed"]),
        (CITY.replace('ing = "city"', 'ing = "unsubscribe_email"'), ["unsubscribe_email"]),
        (NAME.replace('kind = "name"\n', ""), ["two columns"]),
        ('name = "city"\ndigital_onboarding = "city"\n', ["onvoard", "missing"]),
        ('onvoard = "properties.city"\ndigital_onboarding = "city"\n', ["name", "missing"]),
        ('name = "city"\nonvoard = "properties.city"\n', ["digital_onboarding", "missing"]),
    ],
)
def test_a_mistake_names_its_field(tmp_path, field, said):
    [problem] = problems(written(tmp_path, NAME if "city" in field else CITY, field))
    assert "field 2" in problem
    assert all(word in problem for word in said)


def test_every_mistake_at_once(tmp_path):
    found = problems(written(tmp_path, CITY + 'kind = "town"\n', NAME + 'authority = "me"\n', "colour = 1\n"))
    assert len(found) == 3


def test_two_rules_for_one_field(tmp_path):
    assert len(problems(written(tmp_path, CITY, CITY))) >= 2  # of one name, and for one field of OnVoard
    other = CITY.replace('name = "city"', 'name = "town"')
    found = problems(written(tmp_path, CITY, other))
    assert "two rules for onvoard properties.city" in found[0]
    assert "two rules for digital_onboarding city" in found[1]


@pytest.mark.parametrize("content", [b"", b"[field]\n", b"# nothing\n", b"fields = []\n"])
def test_a_file_without_fields(tmp_path, content):
    file = tmp_path / "mapping.toml"
    file.write_bytes(content)
    assert "[[fields]]" in problems(file)[0]


@pytest.mark.parametrize("content", [b"[[fields]\n", b"\xff\xfe", b"name = \n"])
def test_a_file_that_is_no_toml(tmp_path, content):
    file = tmp_path / "mapping.toml"
    file.write_bytes(content)
    assert len(problems(file)) == 1


def test_a_file_that_cannot_be_read(tmp_path):
    assert len(problems(tmp_path)) == 1
    assert len(problems(tmp_path / "missing.toml")) == 1
