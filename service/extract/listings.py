"""OnVoard's short lists, which no time filters: how each is read, and how it is known that a record is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.core.windows import PAGE
from service.errors import NotFound, RuleBroken
from service.platforms.onvoard.wire import Page
from service.store import tables as t
from service.store.tables import Table

if TYPE_CHECKING:
    from service.platforms.onvoard.client import OnVoard


@dataclass(frozen=True, slots=True)
class Listing:
    """`is_gone` asks for one record: a page that shifted while it was read proves nothing."""

    table: Table
    fetch: Callable[[int], Awaitable[Page[Any]]]
    is_gone: Callable[[str], Awaitable[bool]]
    key: str = "id"


def listings(client: OnVoard) -> dict[str, Listing]:
    summaries = client.product_reviews_summaries

    async def no_summary(product_id: str) -> bool:
        return not (await summaries.list(product_id=product_id)).items

    return {
        "contact_property_types": _by_id(t.onvoard_contact_property_types, client.contact_property_types),
        "activity_types": _by_id(t.onvoard_activity_types, client.contact_activity_types),
        "resources": _by_id(t.onvoard_resources, client.resources),
        "resource_property_types": _by_id(t.onvoard_resource_property_types, client.resource_property_types),
        "webhooks": _by_id(t.onvoard_webhooks, client.webhooks),
        "summaries": Listing(
            t.onvoard_product_reviews_summaries, _pages(summaries), no_summary, key="product_id"
        ),
    }  # fmt: skip


def _by_id(table: Table, chapter: Any) -> Listing:
    async def is_gone(record_id: str) -> bool:
        try:
            await chapter.retrieve(record_id)
        except NotFound:
            return True
        except RuleBroken:  # an id that no path can hold: nobody can tell
            return False
        return False

    return Listing(table, _pages(chapter), is_gone)


def _pages(chapter: Any) -> Callable[[int], Awaitable[Page[Any]]]:
    return lambda number: chapter.list(page=number, page_size=PAGE)
