"""`contact-bridge check`, the operator's loaders: what their files say, and whether their results can be."""

from __future__ import annotations

from contextlib import suppress

from service import app
from service.checks import BLOCKED, Check
from service.core.loaders import Loader, Stopped
from service.core.mapping import FieldMap
from service.core.rules import NO_RULES, Ruleset
from service.errors import BridgeError, DatabaseError, SettingsError, UsageError
from service.extract.loaders import mapped, survey
from service.loader_files import read_loaders
from service.mapping_file import field_map
from service.rules_file import ruleset
from service.settings import Settings
from service.store import migrate
from service.store.database import Database

NAME = "loaders"


def check(settings: Settings) -> Check:
    """Each SELECT is run as a whole, as a sync would, and what it may not be is named."""
    folder = settings.paths.loaders
    try:
        found = read_loaders(settings)
    except SettingsError as error:
        return Check(NAME, False, "; ".join(error.problems), f"mend {folder}", exit_code=2)
    if not found:
        return Check(NAME, True, f"none: no .sql file in {folder}")
    try:
        database = app.open_database(settings)
    except BridgeError:
        return Check(NAME, None, BLOCKED)
    try:
        migrate.require_current(database)
        told = [_run(database, loader, *_beside(settings)) for loader in found]
    except DatabaseError:
        return Check(NAME, None, "not checked: there is no mirror to ask")
    finally:
        database.close()
    bad = [line for ok, line in told if not ok]
    return Check(NAME, not bad, "; ".join(bad or [line for _, line in told]), f"mend {folder}" if bad else "")


def _beside(settings: Settings) -> tuple[FieldMap | None, Ruleset]:
    """The mapping and the rules, as far as they can be read: other lines tell of them."""
    mapping, rules = None, NO_RULES
    with suppress(SettingsError):
        mapping = field_map(settings)
    with suppress(SettingsError):
        rules = ruleset(settings)
    return mapping, rules


def _run(database: Database, loader: Loader, mapping: FieldMap | None, rules: Ruleset) -> tuple[bool, str]:
    if not loader.enabled:
        return True, f"{loader.name}: switched off"
    try:
        found = survey(database, loader, rules.meta_public, mapped(mapping) if mapping else ())
    except (Stopped, UsageError) as error:
        return False, f"{loader.name}.sql: {error}"
    nobody = f", and {found.about_nobody} without {loader.key}, left out" if found.about_nobody else ""
    return True, f"{loader.name}: {found.rows} rows{nobody}"
