"""What can be set, with its defaults. The names are those of the environment and of the TOML file:
`limits.max_wait` is `BRIDGE_LIMITS__MAX_WAIT` and `[limits] max_wait`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from platformdirs import user_state_path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from service.core import oscillation
from service.errors import SettingsError
from service.settings import turns, values
from service.settings.turns import Cron, Hours, Turn
from service.settings.values import (
    BaseAddress,
    Command,
    Duration,
    HookAddress,
    Moment,
    PublicAddress,
    Secret,
    is_loopback,
)

Interval = Annotated[Duration, AfterValidator(values.positive)]
JobTurn = Annotated[Turn, BeforeValidator(turns.turn)]
Count = Annotated[int, BeforeValidator(values.no_boolean), Field(ge=1)]
Number = BeforeValidator(values.no_boolean)
Share = Annotated[float, Number, Field(ge=0, le=1)]
Rate = Annotated[float, Number, Field(gt=0, allow_inf_nan=False)]


def every(default: str) -> timedelta:
    return values.duration(default)


class Group(BaseModel):
    # Inputs stay out of pydantic's messages: they may be secrets.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


class OnVoard(Group):
    base_url: BaseAddress = "https://api.onvoard.com"
    api_key: Secret | None = None
    webhook_secret: Secret | None = None
    webhook_secret_previous: Secret | None = None  # good as well, while it is exchanged
    # Undocumented: a guess that a 429 corrects.
    requests_per_second: Rate = 100.0
    concurrency: Count = 16
    timeout: Interval = every("30s")


class DigitalOnboarding(Group):
    base_url: BaseAddress = "https://api.digitalonboarding.com"
    client_id: Annotated[str, BeforeValidator(values.secret)] | None = None
    client_secret: Secret | None = None
    webhook_secret: Secret | None = None
    webhook_secret_previous: Secret | None = None  # good as well, while it is exchanged
    refresh: Literal["probe", "list", "off"] = "probe"
    clear_with: Literal["empty", "null", "never"] = "empty"
    batch_size: Annotated[Count, Field(le=10_000)] = 500
    journey_key: Literal["nested", "dotted"] = "nested"
    signed_string: Annotated[str, AfterValidator(values.signed)] = "{t}.{body}"
    requests_per_second: Rate = 20.0
    concurrency: Count = 4
    timeout: Interval = every("60s")


class Web(Group):
    host: Annotated[str, Field(min_length=1, pattern=r"^[^\s/@]+$")] = "127.0.0.1"
    port: Annotated[int, Number, Field(ge=0, le=65535)] = 8080  # 0: any free one
    token: Secret | None = None
    metrics_token: Secret | None = None  # for whoever may read /metrics and nothing else
    public_url: PublicAddress | None = None

    @field_validator("token")
    @classmethod
    def _needed_beyond_loopback(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        host = info.data.get("host")
        if token is None and host is not None and not is_loopback(host):
            raise ValueError(f"is required, because web.host is {host} and not loopback")
        return token


class Limits(Group):
    max_changed_share: Share = 0.30
    max_changed_count: Annotated[int, Number, Field(ge=0)] = 50
    hold_opt_outs_for: Duration = every("24h")
    max_wait: Duration = every("120s")


class Consent(Group):
    resubscribe: Literal["ask", "never"] = "ask"
    on_deletion: Literal["keep", "opt_out"] = "keep"


class Identity(Group):
    create_on_onvoard: bool = True
    create_on_digital_onboarding: bool = True


class Activities(Group):
    since: Moment | None = None  # None: the time of the first sync


class Schedule(Group):
    """`sweep_within` and `refresh_within` are the worst staleness; each job's name says when its turn is."""

    sweep_within: Interval = every("24h")
    sweep_budget: Annotated[float, Number, Field(gt=0, le=1)] = 0.25  # of `onvoard.requests_per_second`
    refresh_within: Interval = every("6h")
    contacts: JobTurn = every("5m")
    reviews: JobTurn = every("5m")
    activities: JobTurn = every("5m")
    resources: JobTurn = every("1h")
    summaries: JobTurn = every("1h")
    templates: JobTurn = every("1h")
    objectives: JobTurn = every("1h")
    refresh: JobTurn = every("10m")  # looks for Digital Onboarding contacts that are due
    reconcile: JobTurn = every("1m")  # reconciles and pushes
    inbox: JobTurn = every("5s")  # stored webhook events
    verify: JobTurn = every("24h")
    retention: JobTurn = every("24h")
    jitter: Share = 0.1  # of an interval, and for a cron of a minute
    timezone: Annotated[str, BeforeValidator(turns.zone_name)] = "UTC"  # of crons and quiet hours
    quiet_hours: Annotated[Hours | None, BeforeValidator(turns.hours)] = None  # for sweep, verify and retention

    @field_validator("quiet_hours")
    @classmethod
    def _leave_time_to_sweep(cls, hours: Hours | None, info: ValidationInfo) -> Hours | None:
        within = info.data.get("sweep_within")
        if hours is not None and within is not None and hours.length >= within:
            raise ValueError("must be shorter than schedule.sweep_within: nothing is swept in them")
        return hours

    def intervals(self) -> dict[str, Turn]:
        """Job name to its turn, without the two limits of staleness."""
        found = {name: value for name, value in self if isinstance(value, timedelta | Cron)}
        return {name: value for name, value in found.items() if not name.endswith("_within")}

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def longest(self, turn: Turn, now: datetime) -> timedelta:
        """From one turn to the next."""
        return turn.longest(now, self.zone) if isinstance(turn, Cron) else turn

    def quiet_until(self, now: datetime) -> datetime | None:
        """When the quiet hours end; None where it is none of them."""
        return self.quiet_hours.over_at(now, self.zone) if self.quiet_hours else None

    @property
    def sweep_after(self) -> timedelta:
        """So long after it was read a record is to be swept: the rest of `sweep_within` is for the work itself, and for
        the hours in which there is none."""
        return (self.sweep_within - self._quiet) * 3 / 4

    @property
    def sweep_every(self) -> timedelta:
        """From one turn of the sweep to the next."""
        return max(self.sweep_within / 96, every("1m"))

    @property
    def sweep_peak(self) -> float:
        """How many times as many requests an hour as without quiet hours: what fell into them is made up for at once,
        and what comes then goes on."""
        return 1 + self._quiet / (self.sweep_within - self._quiet - self.sweep_after)

    @property
    def _quiet(self) -> timedelta:
        return self.quiet_hours.length if self.quiet_hours else timedelta()


class Verify(Group):
    sample: Count = 200  # records a stream
    repair: bool = False


class Alerts(Group):
    """Who is told when the bridge degrades, and when it has recovered."""

    url: HookAddress | None = None
    secret: Secret | None = None  # signs what is posted
    command: Command | None = None
    after: Duration = every("5m")


class Retention(Group):
    """How long what is over stays on record; None: for good."""

    runs: Annotated[timedelta | None, values.kept(timedelta(days=7))] = every("120d")
    webhook_events: Annotated[timedelta | None, values.kept(timedelta(days=7))] = every("30d")
    outbox: Annotated[timedelta | None, values.kept(oscillation.MEMORY)] = every("120d")
    changes: Annotated[timedelta | None, values.kept(timedelta(days=30))] = every("730d")


class Paths(Group):
    """Absolute once loaded. What is absent there has a built-in default."""

    mapping: Path = Path("config/mapping.toml")
    rules: Path = Path("config/rules.toml")
    loaders: Path = Path("config/loaders")


class Log(Group):
    format: Literal["console", "json"] | None = None  # None: console on a terminal, else json
    level: Literal["debug", "info", "warning", "error", "critical"] = "info"


class Telemetry(Group):
    """What leaves for elsewhere; each needs an extra (see `service.telemetry`)."""

    otlp_endpoint: PublicAddress | None = None
    sentry_dsn: Secret | None = None


class Settings(Group):
    """Everything an operator may set; frozen. Build it with `load`."""

    database_url: Annotated[SecretStr, BeforeValidator(values.database)] = SecretStr("sqlite:///bridge.db")
    onvoard: OnVoard = OnVoard()
    digital_onboarding: DigitalOnboarding = DigitalOnboarding()
    web: Web = Web()
    limits: Limits = Limits()
    consent: Consent = Consent()
    identity: Identity = Identity()
    activities: Activities = Activities()
    schedule: Schedule = Schedule()
    verify: Verify = Verify()
    alerts: Alerts = Alerts()
    retention: Retention = Retention()
    paths: Paths = Paths()
    log: Log = Log()
    telemetry: Telemetry = Telemetry()
    state_dir: Path = Field(default_factory=lambda: user_state_path("contact-bridge", appauthor=False))
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)
    _config_file: Path | None = PrivateAttr(default=None)

    @property
    def config_file(self) -> Path | None:
        """The TOML file that was read, as it was named; None where there was none."""
        return self._config_file

    def source_of(self, key: str) -> str:
        """Where `limits.max_wait` comes from: `command line`, `environment variable BRIDGE_…`,
        `config/bridge.toml line 12` or `default`. KeyError for what is no setting."""
        if key not in KNOWN:
            raise KeyError(key)
        return self._sources.get(key, "default")

    def require_platforms(self) -> None:
        """SettingsError that names each missing credential of both platforms with its variable."""
        needed = {
            "onvoard.api_key": self.onvoard.api_key,
            "digital_onboarding.client_id": self.digital_onboarding.client_id,
            "digital_onboarding.client_secret": self.digital_onboarding.client_secret,
        }
        missing = [f"{key}: missing; set {variable(key)}" for key, value in needed.items() if value is None]
        if missing:
            raise SettingsError(missing)

    def secrets(self) -> tuple[str, ...]:
        """Every secret value that is set, the database's password included: for the logs to mask."""
        found = [_at(self, key) for key in sorted(SECRETS - {"database_url"})]
        texts = [value.get_secret_value() for value in found if isinstance(value, SecretStr)]
        password = urlsplit(self.database_url.get_secret_value()).password
        return (*texts, *({password, unquote(password)} if password else ()))


def variable(key: str) -> str:
    """`limits.max_wait` → `BRIDGE_LIMITS__MAX_WAIT`."""
    return "BRIDGE_" + key.upper().replace(".", "__")


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each setting's dotted name with its annotation as text."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            yield from _leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, repr(field.annotation)


def _at(settings: Settings, key: str) -> object:
    value: object = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


KNOWN = tuple(key for key, _ in _leaves(Settings))
SECRETS = frozenset(key for key, annotation in _leaves(Settings) if "SecretStr" in annotation)
PATHS = frozenset(key for key, annotation in _leaves(Settings) if "Path" in annotation)
GROUPS = frozenset(key.split(".")[0] for key in KNOWN if "." in key)
