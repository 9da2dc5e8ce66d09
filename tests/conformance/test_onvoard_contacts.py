"""The chapter "Contacts"."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from service.errors import NotFound
from service.platforms.onvoard.client import OnVoard
from service.platforms.onvoard.enums import EmailDoubleOptinStatus
from tests.conformance.asking import digits, finds, loses, refused, walk
from tests.conformance.conftest import NewContact
from tests.conformance.removing import Keep, remove_contact
from tests.conformance.target import Target

PHONE = "+14155550123"
FLAGS = {
    "accepts_marketing_emails": True,
    "suppressed": False,
    "email_sendable": False,
    "email_unsubscribed": True,
    "email_marked_as_spam": False,
    "email_hard_bounced": False,
}


async def test_a_created_contact_is_retrieved_as_it_was_given(
    target: Target, onvoard: OnVoard, new_contact: NewContact
) -> None:
    email = target.email()
    made = await new_contact(email=email, phone=PHONE, accepts_marketing_emails=True)
    for contact in (made, await onvoard.contacts.retrieve(made.id)):
        assert (contact.id, contact.email, contact.name) == (made.id, email, f"Conformance {target.run}")
        assert digits(contact.phone) == digits(PHONE)
        assert {name: getattr(contact, name) for name in FLAGS} == FLAGS
        assert contact.email_double_optin_status == EmailDoubleOptinStatus.NOT_SET
        assert contact.created_at and contact.modified_at and contact.suppressed_at is None
        assert contact.lists == contact.tags == []


async def test_an_email_is_taken_once(onvoard: OnVoard, new_contact: NewContact) -> None:
    made = await new_contact()
    with refused():
        await new_contact(email=made.email)
    with refused():
        await onvoard.contacts.patch((await new_contact()).id, email=made.email)


@pytest.mark.parametrize("name", ["id", "email", "keyword"])
async def test_a_contact_is_listed_by(name: str, target: Target, onvoard: OnVoard, new_contact: NewContact) -> None:
    made, other = await new_contact(name=f"Conformance {target.run}a"), await new_contact(name="Somebody Else")
    wanted = {"id": made.id, "email": made.email, "keyword": f"{target.run}a"}[name]
    assert await finds(onvoard.contacts.list, made.id, **{name: wanted})
    assert await loses(onvoard.contacts.list, other.id, **{name: wanted})


async def test_contacts_are_listed_by_the_time_of_their_creation(onvoard: OnVoard, new_contact: NewContact) -> None:
    made = await new_contact()
    assert made.created_at
    before, after = made.created_at - timedelta(seconds=5), made.created_at + timedelta(seconds=5)
    assert await finds(onvoard.contacts.list, made.id, created_after=before)
    assert await finds(onvoard.contacts.list, made.id, created_after=before, created_before=after)
    assert await loses(onvoard.contacts.list, made.id, created_after=after)
    older = await onvoard.contacts.list(created_before=before)
    assert all(contact.created_at and contact.created_at <= before + timedelta(seconds=1) for contact in older.items)


@pytest.mark.parametrize("flag", FLAGS)
async def test_contacts_are_listed_by_the_flag(flag: str, onvoard: OnVoard, new_contact: NewContact) -> None:
    made = await new_contact(accepts_marketing_emails=True)
    assert await finds(onvoard.contacts.list, made.id, **{flag: FLAGS[flag]})
    for wanted in (True, False):
        page = await onvoard.contacts.list(**{flag: wanted})
        assert all(getattr(contact, flag) is wanted for contact in page.items)


@pytest.mark.parametrize("kind", ["lists", "tags", "segments"])
async def test_contacts_are_listed_by_the_ids_of(kind: str, onvoard: OnVoard, target: Target) -> None:
    """Of what is there: nothing makes a list or a segment, and nothing removes a tag."""
    there = [item["id"] async for contact in walk(onvoard.contacts.list) for item in getattr(contact, kind) or []]
    if not there:
        target.lacks(f"no contact here has {kind}")
    page = await onvoard.contacts.list(**{f"{kind[:-1]}_ids": there[:1]})
    assert page.items
    assert all(there[0] in [item["id"] for item in getattr(contact, kind)] for contact in page.items)


async def test_a_contact_is_put_on_a_list_by_the_lists_id(
    target: Target, onvoard: OnVoard, new_contact: NewContact
) -> None:
    there = [item["id"] async for contact in walk(onvoard.contacts.list) for item in contact.lists or []]
    if not there:
        target.lacks("no contact here is on a list")
    made = await new_contact(lists=there[:1])
    assert [item["id"] for item in made.lists or []] == there[:1]
    assert await finds(onvoard.contacts.list, made.id, list_ids=there[:1])


async def test_a_tag_is_written_by_its_name(target: Target, onvoard: OnVoard, new_contact: NewContact) -> None:
    target.needs("tags")
    tag = target.lasting("OnVoard: tag")
    made = await new_contact(tags=[tag])
    assert [item["name"] for item in made.tags or []] == [tag]
    assert await finds(onvoard.contacts.list, made.id, tag_ids=[made.tags[0]["id"]])


async def test_pages_follow_one_another_newest_first(onvoard: OnVoard, new_contact: NewContact) -> None:
    made = [await new_contact() for _ in range(3)]
    assert made[0].created_at
    window = {"created_after": made[0].created_at - timedelta(seconds=5)}
    assert await finds(onvoard.contacts.list, made[0].id, **window)
    for page_size in (1, 2, 100):
        seen = [contact.id async for contact in walk(onvoard.contacts.list, page_size=page_size, **window)]
        assert [each for each in seen if each in {contact.id for contact in made}] == [
            contact.id for contact in reversed(made)
        ]


async def test_a_patch_changes_what_it_names(target: Target, onvoard: OnVoard, new_contact: NewContact) -> None:
    made = await new_contact(phone=PHONE)
    renamed = await onvoard.contacts.patch(made.id, name=f"Renamed {target.run}", phone="")
    assert renamed.name == f"Renamed {target.run}" and not renamed.phone and renamed.email == made.email
    email = target.email()
    await onvoard.contacts.patch(made.id, email=email)
    moved = await onvoard.contacts.retrieve(made.id)
    assert moved.email == email and moved.name == f"Renamed {target.run}"
    assert await finds(onvoard.contacts.list, made.id, email=email)
    assert await loses(onvoard.contacts.list, made.id, email=made.email)


@pytest.mark.parametrize("status", EmailDoubleOptinStatus)
async def test_the_double_optin_status_takes(
    status: EmailDoubleOptinStatus, onvoard: OnVoard, new_contact: NewContact
) -> None:
    made = await new_contact()
    await onvoard.contacts.patch(made.id, email_double_optin_status=status, email_unsubscribed=True)
    contact = await onvoard.contacts.retrieve(made.id)
    assert contact.email_double_optin_status == status
    assert contact.email_double_opted_in is (status is EmailDoubleOptinStatus.CONFIRMED)
    assert contact.email_sendable is False


async def test_flags_are_patched_both_ways(onvoard: OnVoard, new_contact: NewContact) -> None:
    made = await new_contact()
    unconfirmed = {"email_double_optin_status": EmailDoubleOptinStatus.NOT_CONFIRMED}  # so no mail goes out
    for wanted in (False, True):
        flags = {"accepts_marketing_emails": wanted, "email_unsubscribed": wanted}
        await onvoard.contacts.patch(made.id, **flags, **unconfirmed)
        contact = await onvoard.contacts.retrieve(made.id)
        assert {name: getattr(contact, name) for name in flags} == flags
        assert contact.email_sendable is False


async def test_create_or_update_goes_by_the_email(target: Target, onvoard: OnVoard, keep: Keep) -> None:
    email, save = target.email(), onvoard.contacts.create_or_update
    made = await keep(save(email=email, name="First Name", email_unsubscribed=True), partial(remove_contact, onvoard))
    again = await keep(save(email=email, name="Second Name", email_unsubscribed=True), partial(remove_contact, onvoard))
    assert made.email_unsubscribed is again.email_unsubscribed is True
    assert (again.id, again.email, again.name) == (made.id, email, "Second Name")
    assert (await onvoard.contacts.retrieve(made.id)).name == "Second Name"


async def test_a_suppressed_contact_can_only_be_unsuppressed(onvoard: OnVoard, new_contact: NewContact) -> None:
    made = await new_contact()
    for contact in (await onvoard.contacts.suppress(made.id), await onvoard.contacts.retrieve(made.id)):
        assert contact.id == made.id and contact.suppressed is True and contact.email_sendable is False
    assert await finds(onvoard.contacts.list, made.id, suppressed=True)
    with refused():
        await onvoard.contacts.patch(made.id, name="Nobody")
    with refused():
        await onvoard.contacts.delete(made.id)
    for contact in (await onvoard.contacts.unsuppress(made.id), await onvoard.contacts.retrieve(made.id)):
        assert contact.id == made.id and contact.suppressed is False
    assert (await onvoard.contacts.patch(made.id, name="Back Again", email_unsubscribed=True)).name == "Back Again"


async def test_a_deleted_contact_is_not_found(onvoard: OnVoard, new_contact: NewContact) -> None:
    made = await new_contact()
    await onvoard.contacts.delete(made.id)
    with pytest.raises(NotFound):
        await onvoard.contacts.retrieve(made.id)
    assert await loses(onvoard.contacts.list, made.id, email=made.email)
