"""`contact-bridge check`, the operator's rules: what the file says, and whether the platforms have what it names."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection

from service import checks
from service.checks import BLOCKED, Check, asked
from service.core.loaders import announced
from service.core.nearest import did_you_mean
from service.core.rules import ActivityOf, PropertyAt, Ruleset
from service.core.targets import unknown_targets
from service.errors import PlatformError, RuleBroken, SettingsError
from service.loader_files import read_loaders
from service.rules_file import Loaded, ruleset
from service.settings import Settings
from service.setup import What, known_of

FILE, TARGETS, CONDITIONS = "rules file", "rules' targets", "rules' conditions"
# What OnVoard's API document names; an account need not list them.
PREDEFINED = frozenset({"email_delivered", "email_opened", "email_link_clicked", "order_placed"})
# Whole keys, and parts of keys, that name somebody.
_PERSONAL = {"name", "mail"}
_PERSONAL_PARTS = {
    "email", "phone", "address", "street", "iban", "dob", "birth", "birthday", "birthdate", "ssn", "surname",
    "firstname", "lastname",
}  # fmt: skip


async def all_checks(settings: Settings) -> list[Check]:
    """The file, and asked live: templates and objectives, activity types and contact properties."""
    found, told = check_file(settings)
    if found is None:
        return [told, Check(TARGETS, None, BLOCKED), Check(CONDITIONS, None, BLOCKED)]
    if not found.enabled:
        nothing = "no rule is switched on"
        return [told, Check(TARGETS, True, nothing), Check(CONDITIONS, True, nothing)]
    return [told, *await asyncio.gather(check_targets(settings, found), check_conditions(settings, found))]


def check_file(settings: Settings) -> tuple[Ruleset | None, Check]:
    path = settings.paths.rules
    try:
        found = ruleset(settings, _loaded(settings))
    except SettingsError as error:
        return None, Check(FILE, False, "; ".join(error.problems), f"mend {path}", exit_code=2)
    if not path.exists():
        asked_for = settings.source_of("paths.rules") != "default"
        return found, Check(FILE, True, f"no rules: there is no {path}", "check paths.rules" if asked_for else "")
    told = f"{path}: {len(found.rules)} rules, {len(found.enabled)} of them switched on"
    named = ", ".join(personal(found.meta_public))
    advice = f"whoever opens a journey can read meta_public: keep {named} out of it" if named else ""
    return found, Check(FILE, True, told, advice)


def _loaded(settings: Settings) -> Loaded:
    """What loaders announce; files that cannot be read have a line of their own."""
    try:
        return announced(read_loaders(settings))
    except SettingsError:
        return {}


def personal(keys: Collection[str]) -> list[str]:
    """Those that by their name hold personal data."""
    return sorted(key for key in keys if (parts := _parts(key)) & _PERSONAL_PARTS or (
        "name" in parts and parts & {"first", "last", "full", "sur", "family", "given"}
    ) or key.lower() in _PERSONAL)  # fmt: skip


def _parts(key: str) -> set[str]:
    """`dateOfBirth` and `date_of_birth` are of the same parts."""
    return set(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()))


async def check_targets(settings: Settings, rules: Ruleset) -> Check:
    """Templates and objectives, as Digital Onboarding lists them now."""
    if checks.lacking(settings, "digital_onboarding"):
        return Check(TARGETS, None, BLOCKED)
    try:
        async with checks.digital_onboarding(settings) as client:
            templates = await asked(client.list_templates)
            objectives = await asked(client.list_objectives)
    except RuleBroken:  # credentials that no header can hold
        return Check(TARGETS, None, BLOCKED)
    if isinstance(templates, PlatformError) or isinstance(objectives, PlatformError):
        return Check(TARGETS, None, BLOCKED)
    there = [{"id": each.id, "name": each.name} for each in templates.items]
    aims = [{"id": each.id, "key": each.key, "name": each.name} for each in objectives.items]
    if unknown := unknown_targets(rules, there, aims):
        return Check(TARGETS, False, "; ".join(unknown), f"mend {settings.paths.rules}, or create them there")
    return Check(TARGETS, True, "Digital Onboarding has the templates and objectives that they name")


async def check_conditions(settings: Settings, rules: Ruleset) -> Check:
    """Activity types and properties, as OnVoard lists them now. One that is not there may come to be: a warning."""
    if checks.lacking(settings, "onvoard"):
        return Check(CONDITIONS, None, BLOCKED)
    try:
        async with checks.onvoard(settings) as client:
            known = await asked(lambda: known_of(client, What.ACTIVITY_TYPE, What.CONTACT_PROPERTY))
    except RuleBroken:
        return Check(CONDITIONS, None, BLOCKED)
    if isinstance(known, PlatformError):
        return Check(CONDITIONS, None, BLOCKED)
    types = {name for what, name in known if what is What.ACTIVITY_TYPE}
    keys = {name for what, name in known if what is What.CONTACT_PROPERTY}
    told = "OnVoard has the activity types and properties that they wait for"
    advice = "; ".join(unknown_conditions(rules, types, keys))
    return Check(CONDITIONS, True, "some wait for what OnVoard does not list" if advice else told, advice)


def unknown_conditions(rules: Ruleset, types: Collection[str], keys: Collection[str]) -> list[str]:
    """What the enabled rules wait for and is not among these accessors and keys, each with the rule."""
    accessors = {*types, *PREDEFINED}
    found = []
    for rule in rules.enabled:
        match rule.when:
            case ActivityOf(wanted):
                for each in sorted(wanted - accessors):
                    near = did_you_mean(each, accessors)
                    found.append(f"rule {rule.name}: OnVoard lists no activity type {each}{near}")
            case PropertyAt(key):
                if not {key, f"custom_{key}"} & {*keys}:
                    near = did_you_mean(key, keys)
                    found.append(f"rule {rule.name}: OnVoard lists no contact property {key}{near}")
    return found
