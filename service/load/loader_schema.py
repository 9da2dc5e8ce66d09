"""What the loaders need on OnVoard: a property type for each column, and for activities resources and types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.core import loaders
from service.core.loaders import OWN_PREFIX, Survey, Target, Types
from service.load import needs
from service.load.needs import CustomActivity, Known, Need, State, What
from service.platforms.onvoard.enums import PropertyValueType
from service.store import loaded, mirror
from service.store.database import Connection

if TYPE_CHECKING:
    from service.platforms.onvoard.client import OnVoard

SHOWN = 3
"""So many columns stand in a contact's timeline."""
_KINDS = (What.CONTACT_PROPERTY, What.RESOURCE, What.RESOURCE_PROPERTY, What.ACTIVITY_TYPE)
_MADE = (State.THERE, State.CREATED)


def of(survey: Survey) -> list[Need]:
    """Each after what it rests on. Properties that every account has are not made."""
    helper = f"Kept by contact-bridge (loader {survey.loader.name})."
    properties = [
        needs.contact_property(key.removeprefix(OWN_PREFIX), _label(key), helper, PropertyValueType(value_type))
        for name, value_type in survey.types.items()
        if (key := loaders.property_key(name)).startswith(OWN_PREFIX)
    ]
    return properties + [need for kind in survey.kinds for need in needs.activity(_activity(kind, survey.kinds[kind]))]


def _activity(kind: str, types: Types) -> CustomActivity:
    """`Branch: Oak Street, Advisor: Kim` beside the activity's name."""
    told = [f"{_label(name)}: {{{{ {name} }}}}" for name in list(types)[:SHOWN]]
    return CustomActivity(
        loaders.activity_type(kind), _label(kind), "automatic-updates", ", ".join(told) or _label(kind),
        {"sync_id": "Sync ID", **{name: _label(name) for name in types}},
        {name: PropertyValueType(value_type) for name, value_type in types.items()},
    )  # fmt: skip


def _label(key: str) -> str:
    return key.removeprefix(OWN_PREFIX).replace("_", " ").strip().capitalize() or key


def lacking(conn: Connection, survey: Survey) -> bool:
    """Whether something of it is not there, as far as the mirror knows."""
    there: set[tuple[What, str]] = set()
    if survey.loader.target is Target.CONTACT_PROPERTIES:
        there = {(What.CONTACT_PROPERTY, key) for key in loaded.property_types(conn)}
    if survey.kinds:
        types = mirror.activity_type_accessors(conn)
        there = {(what, each) for what in (What.RESOURCE, What.ACTIVITY_TYPE) for each in types}
        there |= {(What.RESOURCE_PROPERTY, f"{accessor}.{key}") for accessor, key in loaded.record_types(conn)}
    return not {need.key for need in of(survey)} <= there


async def make(client: OnVoard, survey: Survey) -> str:
    """Makes what is missing. -> why something cannot be had, "" where all is there. PlatformError as the client's."""
    wanted = of(survey)
    known: Known = await needs.known_of(client, *_KINDS)
    parts = [
        await needs.settle(client, need, part, known)
        for need, part in zip(wanted, needs.judge(wanted, known), strict=True)
    ]
    wrong = [part for part in parts if part.state not in _MADE]
    return "; ".join(f"{part.what} {part.name} {part.state}: {part.detail}" for part in wrong)

