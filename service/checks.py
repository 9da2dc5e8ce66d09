"""`contact-bridge check`: is everything in place, and what to do about each thing that is not.

Reads only: no check claims the mirror, probes a contact, or sends a POST other than for the token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from service import app, setup
from service.bridge import accounts
from service.core.mapping import FieldMap
from service.errors import (
    BridgeError,
    DatabaseError,
    Denied,
    NotFound,
    PlatformError,
    RuleBroken,
    SettingsError,
    Unreachable,
)
from service.mapping_file import field_map, misfits, path_of
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.onvoard.client import OnVoard
from service.platforms.transport import Limits
from service.settings import Settings
from service.setup import State, What
from service.store import cursors, migrate
from service.store.cursors import ANOTHER_MIRROR
from service.store.database import Connection, Database

SETUP = "contact-bridge setup"
ATTEMPTS = 2  # who asks whether a platform is there does not wait for it to come back
PLATFORMS = ("onvoard", "digital_onboarding")
_LATER = {
    "onvoard": ("onvoard schema", "onvoard webhook"),
    "digital_onboarding": tuple(f"digital_onboarding {what}" for what in ("templates", "objectives", "contact list")),
}
_CREDENTIALS = {"onvoard": ("api_key",), "digital_onboarding": ("client_id", "client_secret")}
BLOCKED = "not checked: see the failure above"
_DO_RIGHTS = "check BRIDGE_DIGITAL_ONBOARDING__CLIENT_ID and its secret (admin interface: Settings, API Access)"


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


async def all_checks(settings: Settings) -> list[Check]:
    """Every check, whatever came of the others."""
    mapping, about_mapping = check_mapping(settings)
    both = await asyncio.gather(
        _of_platform(settings, "onvoard", lambda: check_onvoard(settings, mapping)),
        _of_platform(settings, "digital_onboarding", lambda: check_digital_onboarding(settings)),
    )
    return [*check_settings(settings), about_mapping, *check_database(settings), *both[0], *both[1]]


async def _of_platform(settings: Settings, platform: str, look: Callable[[], Awaitable[list[Check]]]) -> list[Check]:
    """The platform's lines, also where it cannot be asked."""
    reachable, tls, credentials = (f"{platform} {what}" for what in ("reachable", "TLS", "credentials"))
    if missing := lacking(settings, platform):
        why = f"not checked: {' and '.join(key for key, _ in missing)} missing"
        return [Check(name, None, why) for name in (reachable, tls, credentials, *_LATER[platform])]
    try:
        return await look()
    except RuleBroken as error:  # credentials that no header can hold
        wrong = Check(credentials, False, str(error), "check the settings", exit_code=2)
        return [wrong, *(Check(name, None, BLOCKED) for name in (reachable, tls, *_LATER[platform]))]


def check_settings(settings: Settings) -> list[Check]:
    source = str(settings.config_file) if settings.config_file else "environment and defaults: no settings file"
    missing = [each for platform in PLATFORMS for each in lacking(settings, platform)]
    return [
        Check("settings", True, source),
        *(Check(f"settings {key}", False, "missing", f"set {name}", exit_code=2) for key, name in missing),
    ]


def lacking(settings: Settings, platform: str) -> list[tuple[str, str]]:
    """A platform's credentials that are not set: (key, variable)."""
    absent = [name for name in _CREDENTIALS[platform] if getattr(getattr(settings, platform), name) is None]
    return [(f"{platform}.{name}", f"BRIDGE_{platform}__{name}".upper()) for name in absent]


def check_mapping(settings: Settings) -> tuple[FieldMap | None, Check]:
    path = settings.paths.mapping
    try:
        mapping = field_map(settings)
    except SettingsError as error:
        return None, Check("mapping", False, "; ".join(error.problems), f"mend {path}", exit_code=2)
    where = str(path) if path.exists() else f"built in, as there is no {path}"
    return mapping, Check("mapping", True, f"{where}: {len(mapping.rules)} fields")


def check_database(settings: Settings) -> list[Check]:
    """Reachable, migrated, and of these accounts."""
    try:
        database = app.open_database(settings)
    except BridgeError as error:
        return [Check("database", False, str(error), error.hint, exit_code=2)]
    try:
        if will_be_created(settings, database):
            told = Check(
                "database", True, f"{database.name} will be created by the first import, backfill, sync or run"
            )
            return [told, *(_account(name, True, "none yet") for name in PLATFORMS)]
        migrate.require_current(database)
        told = Check("database", True, f"{database.name} is at {migrate.head()}")
        with database.begin(write=False) as conn:
            return [told, *(check_account(conn, settings, name) for name in PLATFORMS)]
    except DatabaseError as error:
        advice = error.hint or "check BRIDGE_DATABASE_URL, and that the database is up"
        return [Check("database", False, str(error), advice), *(_account(name, None, BLOCKED) for name in PLATFORMS)]
    finally:
        database.close()


def will_be_created(settings: Settings, database: Database) -> bool:
    """Only SQLite's default file is."""
    is_default = settings.database_url == Settings.model_fields["database_url"].default
    return is_default and database.file is not None and not database.file.exists()


def _account(platform: str, ok: bool | None, detail: str, advice: str = "") -> Check:
    return Check(f"{platform} account of the mirror", ok, detail, advice)


def check_account(conn: Connection, settings: Settings, platform: str) -> Check:
    """Law 11, as `bridge.claim_accounts` has it, without claiming anything."""
    known, key = cursors.account(conn, platform), cursors.fact(conn, "hash_key")
    if known is None or key is None:
        return _account(platform, True, "none yet")
    if lacking(settings, platform):
        return _account(platform, None, BLOCKED)
    base_url, fingerprint = accounts(settings, bytes.fromhex(key))[platform]
    if known == (base_url, fingerprint):
        return _account(platform, True, f"the one at {base_url}")
    if known[0] == base_url and platform == "onvoard":
        return _account(platform, True, "another API key; the next run asks whether the account is the same")
    what = "address" if known[0] != base_url else "credentials"
    return _account(platform, False, f"another one: its {what} differ, the mirror is of {known[0]}", ANOTHER_MIRROR)


async def check_onvoard(settings: Settings, mapping: FieldMap | None) -> list[Check]:
    async with onvoard(settings) as client:
        answer = await asked(lambda: client.contacts.list(page_size=1))
        lines = _connection("onvoard", settings.onvoard.base_url, answer, "check BRIDGE_ONVOARD__API_KEY")
        if isinstance(answer, PlatformError):
            return [*lines, *(Check(name, None, BLOCKED) for name in _LATER["onvoard"])]
        return [*lines, await _schema(client, settings, mapping), await _webhook(client, settings)]


async def check_digital_onboarding(settings: Settings) -> list[Check]:
    do, later = settings.digital_onboarding, _LATER["digital_onboarding"]
    async with digital_onboarding(settings) as client:
        templates = await asked(client.list_templates)
        # Denied by any other call than the token's: the credentials are good, and the right is missing.
        granted = isinstance(templates, Denied) and "token" not in templates.call
        lines = _connection("digital_onboarding", do.base_url, None if granted else templates, _DO_RIGHTS)
        if isinstance(templates, PlatformError) and not granted:
            return [*lines, *(Check(name, None, BLOCKED) for name in later)]
        objectives = await asked(client.list_objectives)
        contacts = await asked(lambda: client.list_contacts(limit=1, offset=0))
        return [
            *lines,
            _readable(later[0], templates),
            _readable(later[1], objectives),
            _contact_list(later[2], contacts, do.refresh),
        ]


def onvoard(settings: Settings) -> OnVoard:
    ov = settings.onvoard
    assert ov.api_key
    return OnVoard(ov.base_url, ov.api_key.get_secret_value(), limits=_limits(ov, settings))


def digital_onboarding(settings: Settings) -> DigitalOnboarding:
    """Without the kept token, which would hide that the secret is no longer the right one."""
    do = settings.digital_onboarding
    assert do.client_id and do.client_secret
    secret, limits = do.client_secret.get_secret_value(), _limits(do, settings)
    return DigitalOnboarding(do.base_url, do.client_id, secret, limits=limits)


def _limits(group: Any, settings: Settings) -> Limits:
    return Limits(
        requests_per_second=group.requests_per_second,
        attempts=ATTEMPTS,
        read_timeout=group.timeout.total_seconds(),
        max_wait=min(10.0, settings.limits.max_wait.total_seconds()),
    )


async def asked(call: Callable[[], Awaitable[Any]]) -> Any:
    """The answer, or the PlatformError in its place."""
    try:
        return await call()
    except PlatformError as error:
        return error


def _connection(platform: str, base_url: str, answer: Any, rights: str) -> list[Check]:
    """Reachability, TLS and credentials, as the ending of one call tells them."""
    error = answer if isinstance(answer, PlatformError) else None
    address = f"check BRIDGE_{platform}__BASE_URL".upper().replace("CHECK", "check")
    bad_tls = isinstance(error, Unreachable) and "SSL" in error.detail.upper()
    there = error is None or error.status is not None
    reachable = Check(f"{platform} reachable", True, base_url)
    if not there and not bad_tls:
        reachable = Check(reachable.check, False, str(error), f"{address}, the network and any proxy")
    tls = Check(f"{platform} TLS", True, "https, and the certificate is valid")
    if urlsplit(base_url).scheme == "http":
        tls = Check(tls.check, True, "plain http to this machine: fine for a sandbox")
    elif bad_tls and error:
        tls = Check(tls.check, False, error.detail, f"{address}; does this machine trust it (SSL_CERT_FILE)?")
    elif not there:
        tls = Check(tls.check, None, BLOCKED)
    return [reachable, tls, _credentials(platform, error, rights, address)]


def _credentials(platform: str, error: PlatformError | None, rights: str, address: str) -> Check:
    name = f"{platform} credentials"
    if error is None:
        return Check(name, True, "accepted")
    if isinstance(error, Denied):
        return Check(name, False, str(error), rights)
    if error.status is None:
        return Check(name, None, BLOCKED)
    # It answered, but not as this platform does.
    return Check(name, False, str(error), error.hint or f"{address}; if it is right, try again later")


async def _schema(client: OnVoard, settings: Settings, mapping: FieldMap | None) -> Check:
    name = "onvoard schema"
    known = await asked(lambda: setup.known_of(client, *(what for what in What if what is not What.WEBHOOK)))
    if isinstance(known, PlatformError):
        return Check(name, False, str(known), known.hint or "check the rights of BRIDGE_ONVOARD__API_KEY")
    parts = setup.judge(setup.schema(), known)
    if wrong := [part for part in parts if part.state is State.WRONG]:
        told = "; ".join(f"{part.what} {part.name} {part.detail}" for part in wrong)
        return Check(name, False, told, setup.REMEDY)
    if missing := [part for part in parts if part.state is State.MISSING]:
        told = f"{len(missing)} of {len(parts)} parts are missing, the first: {missing[0].what} {missing[0].name}"
        return Check(name, False, told, SETUP)
    types = {key: each for (what, key), each in known.items() if what is What.CONTACT_PROPERTY}
    path = path_of(settings)
    if mapping and (unfit := misfits(path, types)):
        return Check(name, False, "; ".join(unfit), f"mend {path}, or the contact properties on OnVoard")
    changed = sum(bool(part.detail) for part in parts)
    others = f", {changed} with texts changed on OnVoard" if changed else ""
    return Check(name, True, f"all {len(parts)} parts are there{others}")


async def _webhook(client: OnVoard, settings: Settings) -> Check:
    name = "onvoard webhook"
    if lacking := setup.webhooks_lack(settings):
        told = "none is asked for: edits on OnVoard are found by the sweep"
        return Check(name, True, told, f"to hear of edits at once, set {' and '.join(lacking)}, then {SETUP}")
    known = await asked(lambda: setup.known_of(client, What.WEBHOOK))
    if isinstance(known, PlatformError):
        return Check(name, False, str(known), known.hint or "check the rights of BRIDGE_ONVOARD__API_KEY")
    needs = setup.webhook(settings)
    [part] = setup.judge(needs, known)
    if part.state is not State.THERE:
        return Check(name, False, f"{part.name}: {part.detail if part.state is State.STALE else part.state}", SETUP)
    advice = ["set BRIDGE_WEB__PUBLIC_URL to an https address"] if setup.is_exposed(part.name) else []
    advice += [f"{other.name} is {other.detail}" for other in setup.elsewhere(needs, known)]
    return Check(name, True, f"{part.name} is switched on; {part.detail}", "; ".join(advice))


def _readable(name: str, answer: Any) -> Check:
    if isinstance(answer, PlatformError):
        advice = "ask Digital Onboarding for the right to it" if isinstance(answer, Denied) else "try again later"
        return Check(name, False, str(answer), advice)
    return Check(name, True, f"the token may list them: {len(answer.items)}")


def _contact_list(name: str, answer: Any, refresh: str) -> Check:
    """Undocumented, and only needed where `refresh` is `list`."""
    if not isinstance(answer, PlatformError):
        advice = "" if refresh == "list" else "BRIDGE_DIGITAL_ONBOARDING__REFRESH=list reads them without a write"
        return Check(name, True, "the token may list contacts (undocumented)", advice)
    if refresh == "list":
        return Check(name, False, str(answer), "set BRIDGE_DIGITAL_ONBOARDING__REFRESH=probe")
    told = "the token may not list contacts" if isinstance(answer, Denied | NotFound) else answer.detail
    return Check(name, True, f"{told} (undocumented, and not needed: refresh is {refresh})")
