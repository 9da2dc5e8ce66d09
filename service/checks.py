"""`contact-bridge check`: is everything in place, and what to do about each thing that is not.

Reads only: no check claims the mirror, probes a contact, or sends a POST other than for the token.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from service import app, setup
from service.core.mapping import FieldMap
from service.errors import BridgeError, DatabaseError, Denied, NotFound, PlatformError, SettingsError, Unreachable
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.platforms.transport import Limits
from service.settings import Settings
from service.setup import State, What
from service.store import cursors, migrate
from service.store.database import Database

SETUP = "contact-bridge setup"
ATTEMPTS = 2
"""A command that asks whether the platforms are there does not wait for them to come back."""
PLATFORMS = ("onvoard", "digital_onboarding")
_BLOCKED = "see the checks above"


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `ok` None: it could not be checked, because of another failure. `next` beside a good one is advice.

    `exit_code` is what a failure ends the command with.
    """

    check: str
    ok: bool | None
    detail: str
    next: str = ""
    exit_code: int = 1

    def as_row(self) -> dict[str, Any]:
        return {"check": self.check, "ok": self.ok, "detail": self.detail, "next": self.next}


def exit_code(checks: Sequence[Check]) -> int:
    """0 where none failed; wrong settings (2) before anything else."""
    return max((check.exit_code for check in checks if check.ok is False), default=0)


async def all_checks(settings: Settings, *, limits: Limits | None = None) -> list[Check]:
    """Every check, whatever came of the others. `limits` in place of those of the settings."""
    mapping, about_mapping = check_mapping(settings)
    onvoard, digital = await asyncio.gather(
        check_onvoard(settings, mapping, limits), check_digital_onboarding(settings, limits)
    )
    return [*check_settings(settings), about_mapping, *check_database(settings), *onvoard, *digital]


def check_settings(settings: Settings) -> list[Check]:
    source = str(settings.config_file) if settings.config_file else "environment and defaults (no settings file)"
    checks = [Check("settings", True, source)]
    return checks + [
        Check(f"settings {key}", False, "missing", f"set {variable}", exit_code=2)
        for platform in PLATFORMS
        for key, variable in _missing(settings, platform)
    ]


def _missing(settings: Settings, platform: str) -> list[tuple[str, str]]:
    """A platform's credentials that are not set: (key, variable)."""
    group = getattr(settings, platform)
    names = {"onvoard": ("api_key",), "digital_onboarding": ("client_id", "client_secret")}[platform]
    absent = [name for name in names if getattr(group, name) is None]
    return [(f"{platform}.{name}", f"BRIDGE_{platform}__{name}".upper()) for name in absent]


def check_mapping(settings: Settings) -> tuple[FieldMap | None, Check]:
    path = settings.paths.mapping
    where = str(path) if path.exists() else f"built in (there is no {path})"
    try:
        mapping = app.field_map(settings)
    except SettingsError as error:
        return None, Check("mapping", False, "; ".join(error.problems), f"mend {path}", exit_code=2)
    return mapping, Check("mapping", True, f"{where}: {len(mapping.rules)} fields")


def check_database(settings: Settings) -> list[Check]:
    """Reachable, migrated, and of these accounts."""
    try:
        database = app.open_database(settings)
    except BridgeError as error:
        return [Check("database", False, str(error), error.hint, exit_code=2)]
    try:
        if _will_be_created(settings, database):
            detail = f"{database.name} will be created by the first import, backfill, sync or run"
            return [Check("database", True, detail), *(_account_line(name, True, "none yet") for name in PLATFORMS)]
        migrate.require_current(database)
        here = Check("database", True, f"{database.name} is at {migrate.head()}")
        with database.begin(write=False) as conn:
            return [here, *(check_account(conn, settings, name) for name in PLATFORMS)]
    except DatabaseError as error:
        advice = error.hint or "check BRIDGE_DATABASE_URL, and whether the database is up"
        blocked = [_account_line(name, None, "not checked: it is in the database") for name in PLATFORMS]
        return [Check("database", False, str(error), advice), *blocked]
    finally:
        database.close()


def _will_be_created(settings: Settings, database: Database) -> bool:
    """Only SQLite's default file is."""
    is_default = settings.database_url == Settings.model_fields["database_url"].default
    return is_default and database.file is not None and not database.file.exists()


def _account_line(platform: str, ok: bool | None, detail: str, advice: str = "") -> Check:
    return Check(f"mirrored {platform} account", ok, detail, advice)


def check_account(conn: Any, settings: Settings, platform: str) -> Check:
    """Law 11, as `cycle.claim_accounts` has it, without claiming anything."""
    known, key = cursors.account(conn, platform), cursors.fact(conn, "hash_key")
    if known is None or key is None:
        return _account_line(platform, True, "none yet")
    if settings_missing := _missing(settings, platform):
        return _account_line(platform, None, f"not checked: {settings_missing[0][0]} is missing")
    base_url, credential = _account_of(settings, platform)
    fingerprint = hmac.new(bytes.fromhex(key), credential.encode(), hashlib.sha256).hexdigest()[:16]
    if known == (base_url, fingerprint):
        return _account_line(platform, True, base_url)
    what = "address" if known[0] != base_url else "credentials"
    return _account_line(
        platform, False, f"another one: its {what} differ, this mirror is of {known[0]}",
        "point BRIDGE_DATABASE_URL at a mirror of this account, or start a new one",
    )  # fmt: skip


def _account_of(settings: Settings, platform: str) -> tuple[str, str]:
    """(base URL, what its fingerprint is made of)"""
    if platform == "onvoard":
        key = settings.onvoard.api_key
        return settings.onvoard.base_url.rstrip("/"), key.get_secret_value() if key else ""
    return settings.digital_onboarding.base_url.rstrip("/"), settings.digital_onboarding.client_id or ""


async def check_onvoard(settings: Settings, mapping: FieldMap | None, limits: Limits | None = None) -> list[Check]:
    ov, name = settings.onvoard, "onvoard"
    later = (f"{name} schema", f"{name} webhook")
    if ov.api_key is None:
        return _not_asked(settings, name, later)
    async with OnVoard(ov.base_url, ov.api_key.get_secret_value(), limits=limits or _limits(ov, settings)) as client:
        error = await _error_of(lambda: client.contacts.list(page_size=1))
        lines = _connection(name, ov.base_url, error, "check BRIDGE_ONVOARD__API_KEY")
        if error is not None:
            return [*lines, *(Check(check, None, f"not checked: {_BLOCKED}") for check in later)]
        return [*lines, await _schema(client, mapping), await _webhook(client, settings)]


async def check_digital_onboarding(settings: Settings, limits: Limits | None = None) -> list[Check]:
    do, name = settings.digital_onboarding, "digital_onboarding"
    later = tuple(f"{name} {call}" for call in ("templates", "objectives", "list of contacts"))
    if do.client_id is None or do.client_secret is None:
        return _not_asked(settings, name, later)
    # Without the kept token: it would hide that the secret is no longer the right one.
    async with DigitalOnboarding(
        do.base_url, do.client_id, do.client_secret.get_secret_value(), limits=limits or _limits(do, settings)
    ) as client:
        error = await _error_of(client.list_templates)
        rights = "check BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID and __CLIENT_SECRET (its Settings, API Access)"
        granted = isinstance(error, Denied) and "token" not in error.call
        lines = _connection(name, do.base_url, None if granted else error, rights)
        if error is not None and not granted:
            return [*lines, *(Check(check, None, f"not checked: {_BLOCKED}") for check in later)]
        return [
            *lines,
            await _readable(later[0], client.list_templates, "journeys"),
            await _readable(later[1], client.list_objectives, "objectives and their completions"),
            await _contact_list(later[2], client, settings),
        ]


def _limits(group: Any, settings: Settings) -> Limits:
    return Limits(
        requests_per_second=group.requests_per_second,
        max_in_flight=group.concurrency,
        attempts=ATTEMPTS,
        read_timeout=group.timeout.total_seconds(),
        max_wait=min(10.0, settings.limits.max_wait.total_seconds()),
    )


async def _error_of(call: Callable[[], Awaitable[object]]) -> PlatformError | None:
    try:
        await call()
    except PlatformError as error:
        return error
    return None


def _not_asked(settings: Settings, platform: str, later: Sequence[str]) -> list[Check]:
    why = f"not checked: {' and '.join(key for key, _ in _missing(settings, platform))} missing"
    names = (f"{platform} reachable", f"{platform} TLS", f"{platform} credentials", *later)
    return [Check(name, None, why) for name in names]


def _connection(platform: str, base_url: str, error: PlatformError | None, rights: str) -> list[Check]:
    """Reachability, TLS and credentials, as one call's ending tells them."""
    variable = f"BRIDGE_{platform}__BASE_URL".upper()
    tls_failed = isinstance(error, Unreachable) and "SSL" in error.detail.upper()
    answered = error is None or error.status is not None
    if answered or tls_failed:
        reachable = Check(f"{platform} reachable", True, base_url)
    else:
        reachable = Check(f"{platform} reachable", False, str(error), f"check {variable}, the network and any proxy")
    return [reachable, _tls(platform, base_url, answered, error if tls_failed else None), _credentials(platform, error, rights, variable)]


def _tls(platform: str, base_url: str, answered: bool, error: PlatformError | None) -> Check:
    name = f"{platform} TLS"
    if urlsplit(base_url).scheme == "http":
        return Check(name, True, "plain http to this machine: fine for a sandbox")
    if error is not None:
        advice = "check the address, and that this machine trusts the certificate (SSL_CERT_FILE)"
        return Check(name, False, error.detail, advice)
    return Check(name, True, "https, certificate valid") if answered else Check(name, None, f"not checked: {_BLOCKED}")


def _credentials(platform: str, error: PlatformError | None, rights: str, variable: str) -> Check:
    name = f"{platform} credentials"
    if error is None:
        return Check(name, True, "accepted")
    if isinstance(error, Denied):
        return Check(name, False, str(error), rights)
    if error.status is None:
        return Check(name, None, f"not checked: {_BLOCKED}")
    # It answered, but not as this platform does.
    return Check(name, False, str(error), error.hint or f"check {variable}; if it is right, try again later")


async def _schema(client: OnVoard, mapping: FieldMap | None) -> Check:
    name, kinds = "onvoard schema", tuple(what for what in What if what is not What.WEBHOOK)
    try:
        known = await setup.known_of(client, kinds)
    except PlatformError as error:
        return Check(name, False, str(error), error.hint or "check the rights of BRIDGE_ONVOARD__API_KEY")
    parts = setup.judge(setup.schema(), known)
    if wrong := [part for part in parts if part.state is State.WRONG]:
        told = "; ".join(f"{part.what} {part.name} {part.detail}" for part in wrong)
        return Check(name, False, told, "rename or remove it on OnVoard, or ask its support; then " + SETUP)
    if missing := [part for part in parts if part.state is State.MISSING]:
        detail = f"{len(missing)} of {len(parts)} parts are missing, first the {missing[0].what} {missing[0].name}"
        return Check(name, False, detail, SETUP)
    if unknown := _unknown_properties(mapping, known):
        return Check(name, False, f"the mapping names {', '.join(unknown)}, which OnVoard does not have",
                     "create it on OnVoard, or mend the mapping")  # fmt: skip
    return Check(name, True, f"all {len(parts)} parts are there")


def _unknown_properties(mapping: FieldMap | None, known: setup.Known) -> list[str]:
    """Custom ones only: which of the predefined ones an account lists is not documented."""
    named = [rule.onvoard.removeprefix("properties.") for rule in (mapping.rules if mapping else ())]
    return [key for key in named if key.startswith("custom_") and (What.CONTACT_PROPERTY, key) not in known]


async def _webhook(client: OnVoard, settings: Settings) -> Check:
    name, unset = "onvoard webhook", setup.webhooks_need(settings)
    if unset:
        detail = "none is asked for: edits on OnVoard are found by the sweep"
        return Check(name, True, detail, f"for edits at once set {' and '.join(unset)}, then {SETUP}")
    try:
        [part] = setup.judge(setup.webhook(settings), await setup.known_of(client, (What.WEBHOOK,)))
    except PlatformError as error:
        return Check(name, False, str(error), error.hint or "check the rights of BRIDGE_ONVOARD__API_KEY")
    if part.state is State.THERE:
        return Check(name, True, f"{part.name} is switched on")
    return Check(name, False, f"{part.name}: {part.detail or part.state}", SETUP)


async def _readable(name: str, call: Callable[[], Awaitable[Any]], what: str) -> Check:
    try:
        listing = await call()
    except PlatformError as error:
        advice = "ask Digital Onboarding for that right" if isinstance(error, Denied) else "try again later"
        return Check(name, False, f"{error}: no {what}", advice)
    return Check(name, True, f"the token may list them: {len(listing.items)}")


async def _contact_list(name: str, client: DigitalOnboarding, settings: Settings) -> Check:
    """Undocumented, and only of use where `refresh` is `list`."""
    error, wanted = await _error_of(lambda: client.list_contacts(limit=1, offset=0)), settings.digital_onboarding.refresh
    if error is None:
        advice = "" if wanted == "list" else "BRIDGE_DIGITAL_ONBOARDING__REFRESH=list would read without probes"
        return Check(name, True, "the token may list contacts (undocumented)", advice)
    if wanted == "list":
        return Check(name, False, str(error), "set BRIDGE_DIGITAL_ONBOARDING__REFRESH=probe")
    refused = "the token may not list contacts" if isinstance(error, Denied | NotFound) else f"no answer: {error.detail}"
    return Check(name, True, f"{refused} (undocumented, and not needed: refresh is {wanted})")
