"""The chapters "Contact Activities" and "Contact Activity Types"."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from service.errors import NotFound, Rejected
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import PropertyValueType, ResourceKind, ResourceType
from service.platforms.onvoard.models import Activity, ActivityType, Contact
from tests.conformance.asking import finds, loses
from tests.conformance.conftest import NewContact, NewResource
from tests.conformance.removing import Keep, remove_contact
from tests.conformance.target import Target

TEMPLATE = "Charged amount: {{ amount }}"


@pytest.fixture
async def kind(target: Target, onvoard: OnVoard, keep: Keep, new_resource: NewResource) -> ActivityType:
    """With the properties `amount` and `note`."""
    resource = await new_resource(ResourceKind.ACTIVITY)
    properties, types = onvoard.resource_property_types, onvoard.contact_activity_types
    for key, value_type in (("amount", PropertyValueType.NUMBER), ("note", PropertyValueType.STRING)):
        making = properties.create(resource=resource, key=key, label=key, value_type=value_type)
        await keep(making, properties.delete)
    return await keep(types.create(resource=resource, descriptor_template=TEMPLATE), types.delete)


@pytest.fixture
async def contact(new_contact: NewContact) -> Contact:
    return await new_contact()


@pytest.fixture
async def activity(onvoard: OnVoard, keep: Keep, target: Target, kind: ActivityType, contact: Contact) -> Activity:
    """A day old."""
    yesterday = (await onvoard.contacts.list(page_size=1)).server_time - timedelta(days=1)
    making = onvoard.contact_activities.create(
        type=kind.accessor, contact_id=contact.id, timestamp=yesterday, record_data={"amount": 79, "note": target.run}
    )
    made = await keep(making, onvoard.contact_activities.delete)
    assert made.occurred_at == yesterday.replace(microsecond=0)
    return made


async def test_an_activity_type_is_retrieved_and_listed(target: Target, onvoard: OnVoard, kind: ActivityType) -> None:
    types = onvoard.contact_activity_types
    for each in (kind, await types.retrieve(kind.id)):
        assert each.descriptor_template == TEMPLATE and each.accessor == kind.accessor
        assert each.resource["kind"] == "ACTIVITY" and each.resource["type"] == "CUSTOM"
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"id": kind.id}, {"id": "catype_0"}),
        ({"keyword": target.run}, {"keyword": f"{target.run}q"}),
        ({"resource_type": ResourceType.CUSTOM}, {"resource_type": ResourceType.ONVOARD}),
        ({"accessor": kind.accessor}, {"accessor": f"{kind.accessor}q"}),
    ]
    for fitting, unfitting in pairs:
        assert await finds(types.list, kind.id, **fitting), fitting
        assert await loses(types.list, kind.id, **unfitting), unfitting


async def test_the_descriptor_of_an_activity_type_is_patched(
    target: Target, onvoard: OnVoard, kind: ActivityType
) -> None:
    try:
        await onvoard.contact_activity_types.patch(kind, descriptor_template="")
    except Rejected:
        target.lacks("refused: the document wants the kind OBJECT here, which no activity type has")
    assert (await onvoard.contact_activity_types.retrieve(kind.id)).descriptor_template == ""


async def test_an_activity_is_retrieved_with_its_data(
    onvoard: OnVoard, kind: ActivityType, contact: Contact, activity: Activity
) -> None:
    for each in (activity, await onvoard.contact_activities.retrieve(activity.id)):
        assert (each.type, each.contact_id, each.occurred_at) == (kind.accessor, contact.id, activity.occurred_at)
        assert each.record_data["amount"] == 79
        assert each.record_data["contact_id"] == contact.id and each.record_data["activity_id"] == activity.id


async def test_an_activity_is_listed(
    target: Target, onvoard: OnVoard, kind: ActivityType, contact: Contact, activity: Activity
) -> None:
    before, after = activity.occurred_at - timedelta(seconds=5), activity.occurred_at + timedelta(seconds=5)
    mine = {"contact_id": contact.id}
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"id": activity.id}, {"id": "ctact_0"}),
        (mine, {"contact_id": "ct_0"}),
        ({"contact_email": contact.email}, {"contact_email": target.email()}),
        (mine | {"keyword": target.run}, mine | {"keyword": f"{target.run}q"}),
        ({"activity_types": [kind.accessor, "email_opened"]}, {"activity_types": ["email_opened"]}),
        (mine | {"after": before}, mine | {"after": after}),
        (mine | {"before": after}, mine | {"before": before}),
    ]
    for fitting, unfitting in pairs:
        assert await finds(onvoard.contact_activities.list, activity.id, **fitting), fitting
        assert await loses(onvoard.contact_activities.list, activity.id, **unfitting), unfitting


async def test_an_activity_without_a_time_happens_now_to_the_contact_with_the_email(
    onvoard: OnVoard, keep: Keep, kind: ActivityType, contact: Contact, activity: Activity
) -> None:
    activities = onvoard.contact_activities
    made = await keep(activities.create(type=kind.accessor, contact_email=contact.email), activities.delete)
    assert made.contact_id == contact.id
    assert made.occurred_at - activity.occurred_at > timedelta(hours=23)
    assert await finds(activities.list, made.id, contact_id=contact.id)
    page = await activities.list(contact_id=contact.id)
    assert [each.id for each in page.items] == [made.id, activity.id], "most recent first"


async def test_an_activity_of_an_unknown_email_creates_the_contact(
    target: Target, onvoard: OnVoard, keep: Keep, kind: ActivityType
) -> None:
    email, activities = target.email(), onvoard.contact_activities

    async def remove_both(activity_id: str) -> None:
        made = await activities.retrieve(activity_id)
        await remove_contact(onvoard, made.contact_id)

    made = await keep(activities.create(type=kind.accessor, contact_email=email), remove_both)
    assert await finds(onvoard.contacts.list, made.contact_id, email=email)


async def test_a_deleted_activity_is_not_found(onvoard: OnVoard, contact: Contact, activity: Activity) -> None:
    await onvoard.contact_activities.delete(activity)
    with pytest.raises(NotFound):
        await onvoard.contact_activities.retrieve(activity.id)
    assert await loses(onvoard.contact_activities.list, activity.id, contact_id=contact.id)


async def test_a_deleted_activity_type_takes_its_activities_with_it(
    onvoard: OnVoard, kind: ActivityType, contact: Contact, activity: Activity
) -> None:
    await onvoard.contact_activity_types.delete(kind)
    with pytest.raises(NotFound):
        await onvoard.contact_activity_types.retrieve(kind.id)
    assert await loses(onvoard.contact_activities.list, activity.id, contact_id=contact.id)
