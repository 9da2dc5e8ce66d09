"""Settings: who wins, what is refused, and that everything wrong is said at once without a secret."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from service.errors import SettingsError
from service.resources import config_dir
from service.settings import is_loopback, load
from service.settings.models import KNOWN, SECRETS, variable


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str, name: str = "config/bridge.toml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(environ: dict[str, str] | None = None, **kwargs) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ=environ or {}, **kwargs)
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def test_defaults_are_the_contract() -> None:
    settings = load(environ={})
    assert settings.database_url.get_secret_value() == "sqlite:///bridge.db"
    assert settings.onvoard.base_url == "https://api.onvoard.com"
    assert settings.digital_onboarding.base_url == "https://api.digitalonboarding.com"
    assert (settings.digital_onboarding.refresh, settings.digital_onboarding.clear_with) == ("probe", "empty")
    assert settings.digital_onboarding.batch_size == 500
    assert (settings.web.host, settings.web.port, settings.web.token) == ("127.0.0.1", 8080, None)
    assert (settings.limits.max_changed_share, settings.limits.max_changed_count) == (0.30, 50)
    assert settings.limits.hold_opt_outs_for == timedelta(hours=24)
    assert settings.limits.max_wait == timedelta(seconds=120)
    assert (settings.consent.resubscribe, settings.consent.on_deletion) == ("ask", "keep")
    assert settings.identity.create_on_onvoard and settings.identity.create_on_digital_onboarding
    assert settings.activities.since is None
    assert settings.schedule.sweep_within == timedelta(hours=24)
    assert settings.schedule.refresh_within == timedelta(hours=6)
    assert settings.schedule.sweep_budget == 0.25
    assert settings.schedule.sweep_after == timedelta(hours=18)
    assert settings.schedule.sweep_every == timedelta(minutes=15)
    assert "sweep_budget" not in settings.schedule.intervals()
    assert (settings.log.format, settings.log.level) == (None, "info")
    assert settings.source_of("limits.max_wait") == "default"


def test_precedence_and_sources() -> None:
    written('[limits]\nmax_wait = "1s"\nmax_changed_count = 1\n\n[log]\nlevel = "error"\n')
    environ = {"BRIDGE_LIMITS__MAX_WAIT": "2s", "BRIDGE_LIMITS__MAX_CHANGED_COUNT": "2"}
    settings = load({"limits.max_wait": "3s", "web.port": None}, environ=environ)
    assert settings.limits.max_wait == timedelta(seconds=3)
    assert settings.source_of("limits.max_wait") == "command line"
    assert settings.limits.max_changed_count == 2
    assert settings.source_of("limits.max_changed_count") == "environment variable BRIDGE_LIMITS__MAX_CHANGED_COUNT"
    assert settings.log.level == "error"
    assert settings.source_of("log.level") == "config/bridge.toml line 6"
    assert settings.config_file == Path("config/bridge.toml")
    with pytest.raises(KeyError):
        settings.source_of("limits.nothing")


def test_which_file_is_read() -> None:
    written("[web]\nport = 1")
    written("[web]\nport = 2", "two.toml")
    written("[web]\nport = 3", "three.toml")
    assert load(environ={}).web.port == 1
    assert load(environ={"BRIDGE_CONFIG": "two.toml"}).web.port == 2
    assert load(config="three.toml", environ={"BRIDGE_CONFIG": "two.toml"}).web.port == 3
    assert problems(config="four.toml") == ["--config: four.toml: no such file"]
    assert problems({"BRIDGE_CONFIG": "four.toml"}) == ["environment variable BRIDGE_CONFIG: four.toml: no such file"]


def test_every_problem_at_once() -> None:
    written('[limits]\nmax_wiat = "1s"\n\n[digital_onboarding]\nrefresh = "sometimes"\nbatch_size = true\n')
    found = problems(
        {"BRIDGE_WEB__HOST": "0.0.0.0", "BRIDGE_LIMIT__MAX_WAIT": "1", "BRIDGE_LIMITS__HOLD_OPT_OUTS_FOR": "soon"},
        overrides={"log.lvl": "info"},
    )
    text = "\n".join(found)
    assert len(found) == 7
    assert "log.lvl (command line): unknown setting; did you mean log.level?" in text
    assert "environment variable BRIDGE_LIMIT__MAX_WAIT: unknown setting; did you mean BRIDGE_LIMITS__MAX_WAIT?" in text
    assert "limits.max_wiat (config/bridge.toml line 2): unknown setting; did you mean limits.max_wait?" in text
    assert "digital_onboarding.refresh (config/bridge.toml line 5): must be 'probe', 'list' or 'off'" in text
    assert "digital_onboarding.batch_size (config/bridge.toml line 6): must be a number" in text
    assert "web.token (BRIDGE_WEB__TOKEN): is required, because web.host is 0.0.0.0" in text
    assert "limits.hold_opt_outs_for (environment variable BRIDGE_LIMITS__HOLD_OPT_OUTS_FOR): must be a dura" in text


def test_toml_syntax_names_file_and_line() -> None:
    written("[web]\nport = \n")
    [problem] = problems()
    assert problem.startswith("config/bridge.toml line 2: is not valid TOML: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limits = 3", "limits (config/bridge.toml line 1): is a table of settings, not a value: write [limits]"),
        ("[[limits]]\nmax_wait = 1", "limits (config/bridge.toml line 1): is a table of settings"),
        ("limits = { max_wiat = 1 }", "limits.max_wiat (config/bridge.toml line 1): unknown setting"),
        ("[limits.max_wait]\nseconds = 1", "limits.max_wait (config/bridge.toml line 1): must be a duration"),
        ('"limits" . max_wiat = 1', "limits.max_wiat (config/bridge.toml line 1): unknown setting"),
        ('a = """\nport = 1\n"""\n[web]\nport = "x"', "web.port (config/bridge.toml line 5)"),
    ],
)
def test_odd_toml(text: str, expected: str) -> None:
    written(text)
    assert any(problem.startswith(expected) for problem in problems()), problems()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = " + b"[" * 5000])
def test_a_file_that_is_no_toml(content: bytes) -> None:
    Path("x.toml").write_bytes(content)
    assert len(problems(config="x.toml")) == 1


@pytest.mark.parametrize("share", ["0", "-0.1", "1.01", "nan", "inf", True, "much"])
def test_no_share_for_the_sweep(share: object) -> None:
    assert len(problems(overrides={"schedule.sweep_budget": share})) == 1
    assert load({"schedule.sweep_budget": 1}, environ={}).schedule.sweep_budget == 1


def test_a_sweep_has_a_turn_a_minute_at_most() -> None:
    assert load({"schedule.sweep_within": "10m"}, environ={}).schedule.sweep_every == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("120s", 120),
        ("5m", 300),
        ("24h", 86400),
        ("7d", 604800),
        ("1h30m", 5400),
        ("1.5 h", 5400),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert load({"limits.max_wait": text}, environ={}).limits.max_wait == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["-1s", "1y", "s", "1s2", "1e9h", "9" * 30 + "d", "nan", "٣s", True, [1]])
def test_no_durations(text: object) -> None:
    assert len(problems(overrides={"limits.max_wait": text})) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ('"2026-01-02"', datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_since_is_aware(text: str, expected: datetime) -> None:
    written(f"[activities]\nsince = {text}")
    since = load(environ={}).activities.since
    assert since == expected
    assert since is not None and since.tzinfo is UTC


@pytest.mark.parametrize("text", ["tomorrow", "2026-13-01", "0001-01-01T00:00:00+05:00", "1700000000"])
def test_since_refuses(text: str) -> None:
    assert len(problems({"BRIDGE_ACTIVITIES__SINCE": text})) == 1


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com", "http://localhost:1", "http://127.1.2.3:1/x", "http://[::1]:1", "HTTP://LOCALHOST"],
)
def test_base_urls(url: str) -> None:
    assert load({"onvoard.base_url": url + "/"}, environ={}).onvoard.base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com", "http://127.0.0.1.example.com", "http://127.0.0.1@example.com", "ftp://localhost",
        "https://user:pw@example.com", "https://example.com?x=1", "https://example.com#x", "https://", "example.com",
        "http://example.com\\@127.0.0.1", "https://exa mple.com", "http://[::1", "https://example.com:99999", "",
        "http://127.1", "http://[::2]", "http://0.0.0.0",
    ],
)  # fmt: skip
def test_base_urls_refused(url: str) -> None:
    [problem] = problems(overrides={"onvoard.base_url": url})
    assert "pw" not in problem


@pytest.mark.parametrize(("host", "yes"), [("localhost", 1), ("127.9.9.9", 1), ("::1", 1), ("::", 0), ("0.0.0.0", 0)])
def test_loopback(host: str, yes: int) -> None:
    assert is_loopback(host) is bool(yes)
    if yes:
        assert load({"web.host": host}, environ={}).web.host == host
    else:
        assert len(problems(overrides={"web.host": host})) == 1
        assert load({"web.host": host, "web.token": "t"}, environ={}).web.host == host


def test_secrets_from_files() -> None:
    Path("key").write_text("  from-file\n")
    environ = {"BRIDGE_ONVOARD__API_KEY_FILE": "key", "BRIDGE_WEB__TOKEN": ""}
    settings = load(environ=environ)
    assert settings.onvoard.api_key is not None
    assert settings.onvoard.api_key.get_secret_value() == "from-file"
    assert settings.source_of("onvoard.api_key") == "environment variable BRIDGE_ONVOARD__API_KEY_FILE"
    assert settings.web.token is None

    Path("config").mkdir()
    Path("config/url").write_text("postgresql://u:hidden%21@/db")
    written('database_url_file = "url"\n[onvoard]\napi_key = "from-toml"')
    settings = load(environ=environ)
    assert settings.database_url.get_secret_value() == "postgresql://u:hidden%21@/db"
    assert settings.onvoard.api_key is not None and settings.onvoard.api_key.get_secret_value() == "from-file"
    assert set(settings.secrets()) == {"from-file", "hidden%21", "hidden!"}


def test_secret_files_that_are_wrong() -> None:
    Path("empty").write_text("\n")
    found = problems(
        {
            "BRIDGE_ONVOARD__API_KEY_FILE": "missing",
            "BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET_FILE": "empty",
            "BRIDGE_WEB__TOKEN": "a",
            "BRIDGE_WEB__TOKEN_FILE": "empty",
        }
    )
    assert [problem.split(" ")[0] for problem in found] == [
        "web.token",
        "onvoard.api_key",
        "digital_onboarding.client_secret",
    ]


@pytest.mark.parametrize("key", sorted(SECRETS))
def test_secrets_never_show(key: str) -> None:
    addresses = {"database_url": "postgresql://u:tr0ub4dor@h/d", "alerts.url": "https://hooks.example.com/tr0ub4dor"}
    settings = load(environ={variable(key): addresses.get(key, "tr0ub4dor")})
    assert "tr0ub4dor" not in f"{settings!r}{settings}{settings.model_dump()}"
    assert {"tr0ub4dor", addresses["alerts.url"]} & set(settings.secrets())
    assert "tr0ub4dor" not in "".join(problems({variable(key): "tr0ub4dor\x01\n!"}))


def test_missing_credentials_are_named_together() -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={"BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID": "id"}).require_platforms()
    assert len(caught.value.problems) == 2
    assert "BRIDGE_ONVOARD__API_KEY" in caught.value.problems[0]
    assert "BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET" in caught.value.problems[1]


def test_paths_stand_beside_the_file(here: Path) -> None:
    assert load(environ={}).paths.mapping == here / "config/mapping.toml"
    written('[paths]\nrules = "r.toml"', "elsewhere/b.toml")
    settings = load(config="elsewhere/b.toml", environ={"BRIDGE_PATHS__LOADERS": "l"})
    assert settings.paths.mapping == here / "elsewhere/mapping.toml"
    assert settings.paths.rules == here / "elsewhere/r.toml"
    assert settings.paths.loaders == here / "l"


@pytest.mark.parametrize(
    ("url", "ok"),
    [
        ("sqlite:///x.db", 1), ("sqlite://", 1), ("postgresql://u@/d?host=/run", 1), ("postgres://h/d", 1),
        ("mysql://h/d", 0), ("x.db", 0), ("", 0),
    ],
)  # fmt: skip
def test_database_urls(url: str, ok: int) -> None:
    if ok:
        assert not load({"database_url": url}, environ={}).database_url.get_secret_value().startswith("postgres:")
    else:
        assert len(problems(overrides={"database_url": url})) == 1


def test_the_example_loads_and_names_every_setting() -> None:
    text = (config_dir() / "bridge.toml").read_text(encoding="utf-8")
    defaults = load(environ={})
    assert load(config=written(text), environ={}).model_dump() == defaults.model_dump()
    settings = load(config=written(re.sub(r"(?m)^#(?=[a-z\[])", "", text)), environ={})
    assert {key for key in KNOWN if settings.source_of(key) == "default"} == set()
    assert settings.limits == defaults.limits
    assert settings.schedule == defaults.schedule
    assert settings.digital_onboarding.signed_string == defaults.digital_onboarding.signed_string
