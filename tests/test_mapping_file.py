"""The mapping file that an operator edits: what it may say, and every mistake at once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from service import resources
from service.cli.main import cli
from service.core.mapping import Authority, CannotTake, FieldMap, FieldRule, Kind
from service.core.records import Platform
from service.errors import SettingsError
from service.formats import FORMATS
from service.mapping_file import misfits, read_mapping
from service.sandbox import Sandbox
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
    assert {problem.partition(": ")[2].partition(" (")[0] for problem in found} == {"field 1", "field 2", "field 3"}


def test_two_rules_for_one_field_name_both_lines(tmp_path):
    assert len(problems(written(tmp_path, CITY, CITY))) == 3  # of one name, and for one field of each side
    other = CITY.replace('name = "city"', 'name = "town"')
    digital, onvoard = problems(written(tmp_path, CITY, other))
    assert "line 9: field 2 (town): two rules for digital_onboarding city: the other one is in line 4;" in digital
    assert "line 8: field 2 (town): two rules for onvoard properties.city: the other one is in line 3;" in onvoard


def test_half_a_name_that_another_rule_has(tmp_path):
    first = 'name = "first"\nonvoard = "properties.custom_first"\ndigital_onboarding = "name_first"\n'
    [problem] = problems(written(tmp_path, NAME, first))
    assert "line 10: field 2 (first): two rules for digital_onboarding name_first" in problem and "line 4" in problem


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('\n [[ fields ]]  # a comment\n name="city"\n\tonvoard="properties.city"\n digital_onboarding="cty"\n', 5),
        ('[["fields"]]\nname = "city"\n"onvoard" = "properties.city"\n\'digital_onboarding\' = "cty"\n', 4),
        ('fields = [{name = "city", onvoard = "properties.city", digital_onboarding = "cty"}]\n', 1),
        ('fields = [ # a\n\n  {name = "city", onvoard = "properties.city", digital_onboarding = "cty"}, # ]\n]\n', 3),
        ('fields = [\n{name = "city", onvoard = "properties.city", digital_onboarding = [\n"cty"\n]}\n]\n', 2),
        ('[[fields]]\nname = """\n[[fields]]"""\nonvoard = "properties.city"\ndigital_onboarding = [\n\n"cty"]\n', 5),
        ('\ufeff[[fields]]\r\nname = "c"\r\nonvoard = "properties.city"\r\ndigital_onboarding = "cty"\r\n', 4),
    ],
)
def test_the_line_is_right_however_the_table_is_written(tmp_path, text, line):
    file = tmp_path / "mapping.toml"
    file.write_bytes(text.encode())
    [problem] = problems(file)
    assert f"{file} line {line}: field 1" in problem
    assert "did you mean city?" in problem


@pytest.mark.parametrize(
    ("onvoard", "column", "more", "said"),
    [
        ("city", "city", "", "did you mean properties.city?"),
        ("properties.City", "city", "", "did you mean properties.city?"),
        ("suppressed", "city", "", "cannot be mapped"),
        ("properties.email", "city", "", "always mapped"),
        ("properties.phone", "phone_work", "", 'onvoard = "phone"'),
        ("properties.custom_digital_onboarding_unique_id", "county", "", "the bridge's own"),
        ("accepts_marketing_emails", "county", "", "never taken back"),
        ("properties.city", "zip", "", "there are address"),
        ("properties.city", "postcode", "", "did you mean post_code?"),
        ("properties.city", "unsubscribe_sms", "", "never taken back"),
        ("properties.city", "updated_at", "", "read-only on Digital Onboarding"),
        ("properties.city", "unique_id", "", "the bridge's own"),
        ("properties.city", "email", "", "always mapped"),
    ],
)
def test_an_unknown_field_on_either_side_is_named_with_the_way_out(tmp_path, onvoard, column, more, said):
    field = f'name = "a"\nonvoard = "{onvoard}"\ndigital_onboarding = "{column}"\n{more}'
    [problem] = problems(written(tmp_path, field))
    assert said in problem
    assert re.search(r" line [34]: ", problem)


@pytest.mark.parametrize("authority", ["both", "digital_onboarding", "onvoard"])
@pytest.mark.parametrize("key", ["first_name", "last_name", "is_from_eu", "age", "days_until_next_birthday"])
def test_what_onvoard_makes_itself_is_mapped_in_one_direction(tmp_path, key, authority):
    field = f'name = "a"\nonvoard = "properties.{key}"\ndigital_onboarding = "county"\nauthority = "{authority}"\n'
    file = written(tmp_path, field)
    if authority == "onvoard":
        assert [rule.onvoard for rule in read_mapping(file)] == [f"properties.{key}"]
    else:
        [problem] = problems(file)
        assert f'line 3: field 1 (a): OnVoard itself makes {key}' in problem and 'authority = "onvoard"' in problem


def test_nothing_is_ever_sent_to_what_onvoard_makes_itself(tmp_path):
    """Not even where it is blank there, and at no creation."""
    field = 'name = "a"\nonvoard = "properties.age"\ndigital_onboarding = "county"\nauthority = "onvoard"\n'
    mapping = FieldMap(read_mapping(written(tmp_path, field)), FORMATS)
    with pytest.raises(CannotTake):
        mapping.translate(mapping.by_name["a"], "42", Platform.ONVOARD)
    assert mapping.translate(mapping.by_name["a"], "42", Platform.DIGITAL_ONBOARDING) == "42"


@pytest.mark.parametrize(
    ("onvoard", "column", "kind", "said"),
    [
        ("properties.country", "post_code", "country", "it fits country"),
        ("properties.city", "city", "timezone", "it fits timezone"),
        ("phone", "address", "phone", "it fits phone_home, phone_mobile, phone_work"),
        ("phone", "country", "country", "write phone or text"),
        ("name", "phone_mobile", "phone", "write name or text"),
    ],
)
def test_a_kind_that_does_not_fit_the_field(tmp_path, onvoard, column, kind, said):
    field = f'name = "a"\nonvoard = "{onvoard}"\ndigital_onboarding = "{column}"\nkind = "{kind}"\n'
    [problem] = problems(written(tmp_path, field))
    assert f"kind {kind} does not fit" in problem and said in problem


@pytest.mark.parametrize(
    ("columns", "kind"),
    [("[]", "text"), ('["city", "county", "state"]', "text"), ('["name_first", "name_first"]', "name")],
)
def test_as_many_columns_as_the_kind_has(tmp_path, columns, kind):
    field = f'name = "a"\nonvoard = "properties.city"\ndigital_onboarding = {columns}\nkind = "{kind}"\n'
    [problem] = problems(written(tmp_path, field))
    assert "line 4: " in problem and "two columns" in problem


TYPES = {
    key: SimpleNamespace(value_type=value_type, field_type=field_type, definition_type=definition)
    for key, value_type, field_type, definition in (
        ("street_address", "STRING", "TEXT", "PREDEFINED"), ("dob", "DATETIME", "DATE", "PREDEFINED"),
        ("age", "NUMBER", "NUMBER", "PREDEFINED"), ("is_from_eu", "BOOLEAN", "SWITCH", "PREDEFINED"),
        ("country", "STRING", "COUNTRY", "PREDEFINED"), ("timezone", "STRING", "TIMEZONE", "PREDEFINED"),
        ("custom_points", "NUMBER", "", "CUSTOM"), ("custom_labels", "STRING_ARRAY", "TAGS", "CUSTOM"),
        ("custom_box", "OBJECT", "", "CUSTOM"), ("custom_site", "STRING", "URL", "CUSTOM"),
        ("custom_branch", "STRING", "", "CUSTOM"), ("custom_new", None, None, "CUSTOM"),
    )
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "more", "said"),
    [
        ("custom_branch", "", None),
        ("custom_new", "", None),
        ("custom_site", "", None),
        ("region", "", None),  # predefined, and not listed by this account
        ("age", 'authority = "onvoard"\n', None),
        ("dob", "", "is a DATETIME on OnVoard"),
        ("is_from_eu", 'authority = "onvoard"\n', "is a BOOLEAN"),
        ("custom_points", 'authority = "onvoard"\n', "is a NUMBER"),
        ("custom_labels", "", "is a STRING_ARRAY"),
        ("custom_box", "", "is a OBJECT"),
        ("country", "", 'write kind = "country"'),
        ("timezone", "", 'write kind = "timezone"'),
        ("custom_branhc", "", "did you mean properties.custom_branch?"),
        ("branch", "", "did you mean properties.custom_branch?"),
        ("citty", "", "did you mean properties.city?"),
        ("custom_zzz", "", "contact-bridge setup"),
    ],
)
def test_what_onvoard_says_of_a_property(tmp_path, key, more, said):
    field = f'name = "a"\nonvoard = "properties.{key}"\ndigital_onboarding = "county"\n{more}'
    file = written(tmp_path, CITY, field)
    told = misfits(file, TYPES)
    assert (f"{file} line 8: field 2 (a): " in told[0] and said in told[0]) if said else told == []


def test_an_account_that_lists_custom_properties_alone_is_not_asked_for_predefined_ones(tmp_path):
    custom = {key: each for key, each in TYPES.items() if each.definition_type == "CUSTOM"}
    known_to_the_vendor = CITY.replace("properties.city", "properties.gender")
    assert misfits(written(tmp_path, known_to_the_vendor), custom) == []
    assert len(misfits(written(tmp_path, known_to_the_vendor), TYPES)) == 1


def test_the_built_in_file_fits_a_new_account():
    with Sandbox() as sandbox:
        types = {each.key: each for each in sandbox.onvoard.contact_property_types.values()}
        assert misfits(resources.config_dir() / "mapping.toml", types) == []


@pytest.mark.parametrize("content", [b"", b"[field]\n", b"# nothing\n", b"fields = []\n"])
def test_a_file_without_fields(tmp_path, content):
    file = tmp_path / "mapping.toml"
    file.write_bytes(content)
    assert "[[fields]]" in problems(file)[0]


def test_what_else_stands_in_the_file_is_named_with_its_line(tmp_path):
    file = written(tmp_path, CITY)
    file.write_text(file.read_text("utf-8") + "\n[more]\n", "utf-8")
    assert "line 7: " in problems(file)[0]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[[fields]\n", 1),
        (b"\xff\xfe", 1),
        (b"[[fields]]\nname = \xff\n", 2),
        (b"\nname = \n", 2),
        (b"\n[[fields]]\nname = 1\nname = 2\n", 4),
        (b"fields = [\n{name = 1},\n\n", 2),
    ],
)
def test_a_file_that_is_no_toml_names_the_line(tmp_path, content, line):
    file = tmp_path / "mapping.toml"
    file.write_bytes(content)
    [problem] = problems(file)
    assert f"{file} line {line}: " in problem


def test_a_file_that_cannot_be_read(tmp_path):
    assert len(problems(tmp_path)) == 1
    assert len(problems(tmp_path / "missing.toml")) == 1


COMMANDS = (
    ("sync",), ("sync", "--full"), ("plan",), ("apply", "plan.json"), ("undo", "1"), ("backfill",), ("run",),
    ("explain", "ann@example.com"),
)  # fmt: skip


def test_nothing_runs_with_it(tmp_path, monkeypatch):
    """Each command ends with 2 and the same message, before any request; `check` says it too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_WEB__PORT", "0")
    with Sandbox() as sandbox:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        assert CliRunner().invoke(cli, ("sync",)).exit_code == 0
        assert CliRunner().invoke(cli, ("plan", "-o", "plan.json")).exit_code == 0
        file = written(tmp_path, CITY.replace("properties.city", "properties.age"))
        monkeypatch.setenv("BRIDGE_PATHS__MAPPING", str(file))
        [problem] = problems(file)
        mark = sandbox.journal.mark()
        for command in COMMANDS:
            result = CliRunner().invoke(cli, command)
            assert (command, result.exit_code, result.stdout) == (command, 2, "")
            assert f"Error: {problem}\n" in result.stderr
        assert sandbox.journal.entries(mark) == []
        result = CliRunner().invoke(cli, ("check", "--format", "json"))
        assert result.exit_code == 2
        assert [line["detail"] for line in json.loads(result.stdout) if line["check"] == "mapping"] == [problem]


def test_check_says_what_onvoard_cannot_take(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Sandbox() as sandbox:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        assert CliRunner().invoke(cli, ("setup",)).exit_code == 0
        file = written(tmp_path, CITY, 'name = "dob"\nonvoard = "properties.dob"\ndigital_onboarding = "county"\n')
        monkeypatch.setenv("BRIDGE_PATHS__MAPPING", str(file))
        result = CliRunner().invoke(cli, ("check", "--format", "json"))
        assert result.exit_code == 1
        [told] = [line for line in json.loads(result.stdout) if line["ok"] is False]
        assert f"{file} line 8: field 2 (dob): dob is a DATETIME on OnVoard" in told["detail"]
        assert str(file) in told["next"]
