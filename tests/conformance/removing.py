"""How the suite takes back what it has made: record by record as soon as a test is over, and by the run's name at the
end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from service.errors import BridgeError, NotFound
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import ContactPropertyDefinitionType, ResourceType
from tests.conformance.asking import walk
from tests.conformance.target import Target

T = TypeVar("T")
_LONGER_THAN_ANY_RUN = timedelta(hours=3)


class Keep:
    """`contact = await keep(onvoard.contacts.create(...), onvoard.contacts.delete)`: removed when the test is over,
    in the reverse order."""

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[[str], Awaitable[Any]]]] = []

    async def __call__(self, creating: Awaitable[T], removing: Callable[[str], Awaitable[Any]]) -> T:
        made = await creating
        self._made.append((made, removing))
        return made

    async def remove(self) -> list[str]:
        """What could not be removed, and why."""
        problems = []
        while self._made:
            made, removing = self._made.pop()
            try:
                await removing(made.id)
            except NotFound:
                continue  # by the test itself, or together with something else
            except BridgeError as error:
                problems.append(f"{made!r}: {error}")
        return problems


async def remove_contact(onvoard: OnVoard, contact_id: str) -> None:
    """Also a suppressed one, which only Unsuppress Contact may touch."""
    if (await onvoard.contacts.retrieve(contact_id)).suppressed:
        await onvoard.contacts.unsuppress(contact_id)
    await onvoard.contacts.delete(contact_id)


async def sweep(target: Target) -> tuple[list[str], list[str]]:
    """Removes what still bears the run's name: (what was removed only now, what could not be)."""
    removed, problems = [], []
    async with target.clients() as bridge:
        for kind, finding, removing in _kinds(bridge.onvoard, target.run):
            try:
                left = [item async for item in finding]
            except BridgeError as error:
                problems.append(f"{kind}: {error}")
                continue
            for item in left:
                try:
                    await removing(item.id)
                    removed.append(repr(item))
                except BridgeError as error:
                    problems.append(f"{item!r}: {error}")
    return removed, problems


def _kinds(onvoard: OnVoard, run: str) -> list[tuple[str, AsyncIterator[Any], Callable[[str], Awaitable[Any]]]]:
    """What hangs on something else comes first."""

    async def named(list_: Any, field: str, **filters: Any) -> AsyncIterator[Any]:
        async for item in walk(list_, **filters):
            if run in (getattr(item, field) or ""):
                yield item

    async def recent(list_: Any, field: str) -> AsyncIterator[Any]:
        now = (await list_(page_size=1)).server_time
        async for item in named(list_, field, created_after=now - _LONGER_THAN_ANY_RUN):
            yield item

    async def contact(contact_id: str) -> None:
        await remove_contact(onvoard, contact_id)

    ov, types = onvoard, onvoard.contact_activity_types
    custom = {"resource_type": ResourceType.CUSTOM}
    own = {"definition_type": ContactPropertyDefinitionType.CUSTOM}
    return [
        ("webhooks", named(ov.webhooks.list, "url"), ov.webhooks.delete),
        ("reviews", recent(ov.reviews.list, "content"), ov.reviews.delete),
        ("resource records", recent(ov.resource_records.list, "resource_accessor"), ov.resource_records.delete),
        ("activity types", named(types.list, "accessor", **custom), types.delete),
        ("contacts", recent(ov.contacts.list, "email"), contact),
        ("property types", named(ov.contact_property_types.list, "key", **own), ov.contact_property_types.delete),
    ]
