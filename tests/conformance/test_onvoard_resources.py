"""The chapters "Resources", "Resource Property Types" and "Resource Records"."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from service.errors import NotFound
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import PropertyFieldType, PropertyValueType, ResourceIconType, ResourceKind
from service.platforms.onvoard.models import Resource, ResourcePropertyType, ResourceRecord
from tests.conformance.asking import finds, loses, walk
from tests.conformance.conftest import NewResource
from tests.conformance.removing import Keep
from tests.conformance.target import Target


@pytest.fixture
async def resource(new_resource: NewResource) -> Resource:
    return await new_resource(ResourceKind.OBJECT)


@pytest.fixture
async def number(target: Target, onvoard: OnVoard, keep: Keep, resource: Resource) -> ResourcePropertyType:
    types = onvoard.resource_property_types
    making = types.create(
        resource=resource,
        key=target.key(),
        label=f"Conformance {target.run}",
        value_type=PropertyValueType.NUMBER,
        field_type=PropertyFieldType.NUMBER,
        helper_text="helps",
    )
    return await keep(making, types.delete)


@pytest.fixture
async def record(
    target: Target, onvoard: OnVoard, keep: Keep, resource: Resource, number: ResourcePropertyType
) -> ResourceRecord:
    making = onvoard.resource_records.create(resource=resource, context_id=target.name(), data={number.key: 79})
    return await keep(making, onvoard.resource_records.delete)


@pytest.mark.parametrize("kind", ResourceKind)
async def test_a_resource_is_custom_and_listed(
    kind: ResourceKind, target: Target, onvoard: OnVoard, new_resource: NewResource
) -> None:
    made = await new_resource(kind)
    assert (made.type, made.namespace, made.accessor, made.kind) == ("CUSTOM", "custom", f"custom.{made.key}", kind)
    assert (made.icon_type, made.icon_class) == (ResourceIconType.NATIVE, "add")
    assert made.helper_text == "Left by a conformance run"
    assert (await onvoard.resources.retrieve(made.id)).key == made.key
    (other,) = set(ResourceKind) - {kind}
    for fitting, unfitting in (
        ({"id": made.id}, {"id": "0"}),
        ({"keyword": target.run}, {"keyword": f"{target.run}q"}),
        ({"type": "CUSTOM"}, {"type": "ONVOARD"}),
        ({"kind": kind}, {"kind": other}),
        ({"accessor": made.accessor}, {"accessor": f"{made.accessor}q"}),
    ):
        assert await finds(onvoard.resources.list, made.id, **fitting), fitting
        assert await loses(onvoard.resources.list, made.id, **unfitting), unfitting


async def test_name_helper_text_and_icon_of_a_resource_are_patched(onvoard: OnVoard, resource: Resource) -> None:
    name = f"{resource.name}, renamed"
    await onvoard.resources.patch(resource, name=name, icon_type=ResourceIconType.NATIVE, icon_class="badge")
    await onvoard.resources.patch(resource.id, helper_text="")
    patched = await onvoard.resources.retrieve(resource.id)
    assert (patched.name, patched.icon_class, patched.helper_text) == (name, "badge", "")
    assert (patched.key, patched.kind) == (resource.key, resource.kind)


async def test_an_activity_resource_comes_with_four_property_types(onvoard: OnVoard, new_resource: NewResource) -> None:
    made = await new_resource(ResourceKind.ACTIVITY)
    page = await onvoard.resource_property_types.list(resource_id=made.id)
    assert {each.key for each in page.items} >= {"activity_id", "activity_datetime", "contact_id", "contact_email"}


async def test_a_property_type_of_a_resource_gets_no_prefix_and_is_listed(
    target: Target, onvoard: OnVoard, resource: Resource, number: ResourcePropertyType
) -> None:
    types = onvoard.resource_property_types
    found = await types.retrieve(number.id)
    for made in (number, found):
        assert made.key.startswith("cb_conformance_") and made.helper_text == "helps"
        assert (made.resource_id, made.resource_accessor) == (resource.id, resource.accessor)
        assert (made.value_type, made.field_type) == ("NUMBER", "NUMBER")
    for fitting, unfitting in (
        ({"id": number.id}, {"id": "0"}),
        ({"resource_id": resource.id}, {"resource_id": "resrc_0"}),
        ({"resource_accessor": resource.accessor}, {"resource_accessor": f"{resource.accessor}q"}),
        ({"keyword": target.run}, {"keyword": f"{target.run}q"}),
        ({"field_type": PropertyFieldType.NUMBER}, {"field_type": PropertyFieldType.TEXT}),
        ({"value_type": PropertyValueType.NUMBER}, {"value_type": PropertyValueType.STRING}),
    ):
        assert await finds(types.list, number.id, **fitting), fitting
        assert await loses(types.list, number.id, **unfitting), unfitting


async def test_a_property_type_of_a_resource_is_patched_and_deleted(
    onvoard: OnVoard, number: ResourcePropertyType
) -> None:
    types = onvoard.resource_property_types
    await types.patch(number, label="Another", helper_text="")
    patched = await types.retrieve(number.id)
    assert (patched.key, patched.label, patched.helper_text) == (number.key, "Another", "")
    await types.delete(number.id)
    with pytest.raises(NotFound):
        await types.retrieve(number.id)


async def test_a_record_is_retrieved_and_listed(
    onvoard: OnVoard, resource: Resource, number: ResourcePropertyType, record: ResourceRecord
) -> None:
    records = onvoard.resource_records
    for made in (record, await records.retrieve(record.id)):
        assert (made.resource_id, made.resource_accessor) == (resource.id, resource.accessor)
        assert made.context_id == record.context_id and made.data[number.key] == 79
    assert record.created_at and number.key
    before, after = record.created_at - timedelta(seconds=5), record.created_at + timedelta(seconds=5)
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"id": record.id}, {"id": "rsrcd_0"}),
        ({"resource_id": resource.id}, {"resource_id": "resrc_0"}),
        ({"resource_accessor": resource.accessor}, {"resource_accessor": f"{resource.accessor}q"}),
        ({"keyword": record.context_id}, {"keyword": f"{record.context_id}q"}),
        ({"context_id": record.context_id}, {"context_id": f"{record.context_id}q"}),
        ({"prop_key": number.key, "prop_value": "79"}, {"prop_key": number.key, "prop_value": "80"}),
        ({"created_after": before}, {"created_after": after}),
        ({"created_before": after}, {"created_before": before}),
    ]
    for fitting, unfitting in pairs:
        assert await finds(records.list, record.id, **fitting), fitting
        assert await loses(records.list, record.id, **unfitting), unfitting


async def test_records_follow_one_another_newest_first(
    target: Target, onvoard: OnVoard, keep: Keep, resource: Resource, record: ResourceRecord
) -> None:
    records = onvoard.resource_records
    newer = await keep(records.create(resource=resource, context_id=target.name()), records.delete)
    assert await finds(records.list, newer.id, resource_id=resource.id)
    seen = [each.id async for each in walk(records.list, page_size=1, resource_id=resource.id)]
    assert [each for each in seen if each in (record.id, newer.id)] == [newer.id, record.id]


async def test_a_records_data_is_patched_and_the_record_deleted(
    onvoard: OnVoard, number: ResourcePropertyType, record: ResourceRecord
) -> None:
    await onvoard.resource_records.patch(record.id, data={number.key: 80})
    patched = await onvoard.resource_records.retrieve(record.id)
    assert patched.data[number.key] == 80 and patched.context_id == record.context_id
    await onvoard.resource_records.delete(record.id)
    with pytest.raises(NotFound):
        await onvoard.resource_records.retrieve(record.id)
