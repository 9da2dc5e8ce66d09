"""The laws of the design, at quiescence: the faults are off, nobody edits, and the bridge has had the time it needs.

The laws of every moment are in `watch`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from service.store.restoration import MAYBE
from service.store.traces import GONE
from service.store.view_tables import people_rows
from tests.simulation.network import POISON
from tests.simulation.users import poisoned
from tests.simulation.watch import DO, OV, Contact, LawBroken, Overwritten, Watch, members

if TYPE_CHECKING:
    from service.sandbox.journal import Entry

Row = dict[str, Any]


def nothing_deleted_that_is_there(watch: Watch) -> None:
    """Law 7, at any time: `deleted_at` only for what answers 404."""
    for row in watch.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NOT NULL"):
        if row["id"] in watch.ov.contacts:
            raise LawBroken(7, f"{row['id']} is on OnVoard, and deleted in the mirror")


def everything_was_read(watch: Watch, *, by_cursor: bool) -> None:
    """Law 7. `by_cursor`: what came back with the end of a suppression is older than that, and for a sweep to find."""
    ov = watch.ov
    living = {key for key, each in ov.contacts.items() if each.suppressed_at is None}
    living -= {key for key in living if watch.is_forgotten((OV, key))}
    never = {key for key in living if not watch.was_suppressed((OV, key))}
    have = {row["id"] for row in watch.rows("SELECT id FROM onvoard_contacts WHERE deleted_at IS NULL")}
    if (lack := sorted((never if by_cursor else living) - have)) and not watch.forgotten:
        raise LawBroken(7, f"contacts that nobody has read: {lack}")
    for table, there in (("onvoard_reviews", ov.reviews), ("onvoard_activities", ov.activities)):
        have = {row["id"] for row in watch.rows(f"SELECT id FROM {table}")}
        if watch.forgotten or watch.suppressed:
            return  # an address that was theirs may be anybody's by now, and nothing is kept under it
        if by_cursor:  # an activity of our own has an older date than its record: its answer tells of it, or a sweep
            there = {key: each for key, each in there.items() if not _is_ours(each)}
        if lack := [key for key, each in there.items() if each.contact_id in never and key not in have]:
            raise LawBroken(7, f"{table} that nobody has read: {lack}")


def _is_ours(record: Any) -> bool:
    return str(getattr(record, "type", "")).startswith("custom.digital_onboarding_")


def no_writes(watch: Watch, entries: list[Entry], *, probes: bool) -> None:
    """Law 1. `probes`: those are allowed; they are, too, where somebody was suppressed or erased, for nothing is kept
    of the answer about whoever has their address."""
    probes = probes or bool(watch.suppressed or watch.forgotten)
    told = [each for each in entries if not (probes and is_probe(each))]
    if told:
        shown = "; ".join(f"{each.method} {each.path} {json.dumps(each.body)[:200]}" for each in told[:3])
        raise LawBroken(1, f"{len(told)} writes, although nothing was edited: {shown}")


def is_probe(entry: Entry) -> bool:
    if entry.platform != DO or entry.path != "/v1/contacts" or not isinstance(entry.body, dict):
        return False
    return all(set(member) == {"unique_id"} for member in members(entry.body))


def at_rest(watch: Watch) -> None:
    watch.check()
    contacts = watch.contacts()
    linked = list(_linked(watch, contacts))
    _once(watch)
    _poison_is_alone(watch, contacts)
    _consent(watch, contacts)
    _nothing_invented(watch, contacts)
    _sides_are_equal(watch, linked, contacts)
    _losses_on_record(watch, contacts)
    nothing_deleted_that_is_there(watch)
    _nothing_half_done(watch)
    _raw_is_kept(watch, contacts)
    everything_was_read(watch, by_cursor=False)
    _analysts_see_it(watch)


def _linked(watch: Watch, contacts: dict[Contact, Row]) -> Iterator[tuple[Row, Contact, Contact]]:
    """The linked people about whom there is no question, with both contacts."""
    for row in watch.rows("SELECT * FROM people WHERE status = 'linked'"):
        pair = (OV, row["onvoard_contact_id"]), (DO, row["digital_onboarding_contact_id"])
        if all(contact in contacts and not watch.is_forgotten(contact) for contact in pair):
            yield row, *pair


def _nothing_invented(watch: Watch, contacts: dict[Contact, Row]) -> None:
    """Law 2."""
    for contact, payload in contacts.items():
        for name, value in watch.read(contact, payload).items():
            if watch.key(name, value) not in watch.known[name]:
                raise LawBroken(2, f"{contact} {name}: nobody ever wrote {value!r}")


def _sides_are_equal(
    watch: Watch, linked: list[tuple[Row, Contact, Contact]], contacts: dict[Contact, Row]
) -> None:
    """Law 2: what one side has, the other has, but for what it cannot take (which is on record)."""
    asked = {
        (row["person_id"], row["field"]) for row in watch.rows("SELECT * FROM conflicts WHERE field IS NOT NULL")
        if row["status"] == "open" or row["kind"] not in ("field", "lost")
    }
    given_back = {row["person_id"] for row in watch.rows("SELECT person_id FROM changes WHERE rule LIKE 'undoes%'")}
    for row, here, there in linked:
        if poisoned(here, contacts[here]) or row["person_id"] in given_back:
            continue
        sides = watch.read(here, contacts[here]), watch.read(there, contacts[there])
        region = watch.mapping.region(sides[0]) or watch.mapping.region(sides[1])
        for rule in watch.mapping.rules:
            keys = {watch.mapping.key(rule, side[rule.name], region) for side in sides}
            if len(keys) > 1 and (row["person_id"], rule.name) not in asked:
                values = " and ".join(repr(side[rule.name]) for side in sides)
                raise LawBroken(2, f"person {row['person_id']} {here[1]} {there[1]}: {rule.name} is {values}")


def _losses_on_record(watch: Watch, contacts: dict[Contact, Row]) -> None:
    """Law 2: a user's value that the bridge has replaced is in the history; one that the other side never had, and that
    lost, is in the conflicts."""
    history: dict[str, set[str | None]] = {"changes": set(), "conflicts": set()}
    for row in watch.rows("SELECT old_value, losing_value FROM changes"):
        history["changes"] |= {row["old_value"], row["losing_value"]}
    for row in watch.rows("SELECT onvoard_value, digital_onboarding_value FROM conflicts"):
        history["conflicts"] |= {row["onvoard_value"], row["digital_onboarding_value"]}
    # A write whose answer was lost has no history of its own: what it replaced stands in the outbox.
    for row in watch.rows("SELECT details FROM outbox WHERE status = 'cancelled' AND attempts > 0"):
        lost = {str(detail.get("old")) for detail in _json(row["details"]) or ()}
        history = {where: values | lost for where, values in history.items()}
    for each in watch.overwritten:
        if each.contact not in contacts or each.contact in watch.undone:
            continue
        pair = (each.contact, each.other or each.contact)
        if any(watch.is_forgotten(one) or watch.was_suppressed(one) for one in pair) or watch.is_erased(each.value):
            continue  # their history is erased
        # Where the other side's value could not be carried over, the two were left as unlike as they were: the next
        # value that can be, changes one side alone.
        one_sided = each.elsewhere or watch.restored or _was_left_alone(watch, each)
        where = history["conflicts"] | history["changes"] if one_sided else history["conflicts"]
        if not watch.literal(each.contact, each.field, each.value) & where:
            lost = f"{each.value!r}, lost at {each.at:%d %H:%M:%S}"
            raise LawBroken(2, f"{each.contact} {each.field}: {lost}, is nowhere")


def _was_left_alone(watch: Watch, each: Overwritten) -> bool:
    told = (
        "SELECT k.id FROM conflicts k JOIN people p ON p.person_id = k.person_id WHERE k.kind = 'not_transferable'"
        " AND k.field = :field AND :id IN (p.onvoard_contact_id, p.digital_onboarding_contact_id)"
    )
    return bool(watch.rows(told, field=each.field, id=each.contact[1]))


def _consent(watch: Watch, contacts: dict[Contact, Row]) -> None:
    """Law 4: an opt-out is on both sides, unless a human has opted in since."""
    asked = {row["person_id"] for row in watch.rows("SELECT person_id FROM conflicts WHERE kind = 'resubscribed'")}
    # With the address of somebody erased one is opted out there, and asked to take another.
    apart = {row["person_id"] for row in watch.rows("SELECT * FROM conflicts WHERE kind = 'address_of_the_erased'")}
    for row in watch.rows("SELECT * FROM people WHERE status IN ('linked', 'conflict')"):
        if row["person_id"] in apart:
            continue
        pair = (OV, row["onvoard_contact_id"]), (DO, row["digital_onboarding_contact_id"])
        if not all(contact in contacts and not watch.is_forgotten(contact) for contact in pair):
            continue
        shows = {contact: watch.out(contact, contacts[contact]) for contact in pair}
        if len(set(shows.values())) == 2:
            (lawful,) = (contact for contact in pair if not shows[contact])
            if lawful not in watch.risen:
                raise LawBroken(4, f"person {row['person_id']}: opted out on one side alone, {lawful} is not")
            if row["person_id"] not in asked:
                raise LawBroken(4, f"person {row['person_id']}: opted in again, and nobody was asked")


def _once(watch: Watch) -> None:
    """Law 5."""
    told = [each for each in watch.ov.activity_list() if each["type"].startswith("custom.digital_onboarding_")]
    doubled = [key for key, times in Counter(each["record_data"]["sync_id"] for each in told).items() if times > 1]
    happened = Counter(
        (each["type"], each["contact"]["id"], each["record_data"].get("objective_key"), each["datetime"])
        for each in told
        if "contact_added" in each["type"] or "objective" in each["type"]
    )
    doubled += [key for key, times in happened.items() if times > 1]
    if doubled:
        raise LawBroken(5, f"activities that were made twice: {doubled}")


def _poison_is_alone(watch: Watch, contacts: dict[Contact, Row]) -> None:
    """Law 6: only who is refused has a dead letter."""
    bad = {contact[1] for contact, payload in contacts.items() if poisoned(contact, payload)}
    for row in watch.rows(
        "SELECT o.*, p.onvoard_contact_id FROM outbox o LEFT JOIN people p ON p.person_id = o.person_id"
        " WHERE o.status = 'dead'"
    ):
        if row["onvoard_contact_id"] not in bad and not _needs_a_person(watch, row):
            told = f"{row['operation']} {row['target']} {row['last_error']}"
            raise LawBroken(6, f"a dead letter of somebody else: {told}")


def _needs_a_person(watch: Watch, row: Row) -> bool:
    """Refused for good and rightly: it is the poison itself, the contact is gone, or the address is that of one whom
    nobody may know."""
    if POISON in str(_json(row["payload"])) or row["last_error"] == MAYBE:
        return True
    if row["platform"] == OV and row["operation"] != "create_contact":
        contact = watch.ov.contacts.get(row["target"] or (_json(row["payload"]) or {}).get("contact_id"))
        if contact is None or contact.suppressed_at is not None:
            return True
    email = _json(row["payload"]).get("email") or ""
    if email == GONE:  # such an address, and nothing is kept of it
        return True
    holder = watch.ov.find_contact(email)
    return holder is not None and (holder.suppressed_at is not None or watch.is_forgotten((OV, holder.id)))


def _analysts_see_it(watch: Watch) -> None:
    """The rows that triggers keep are what a look at all tables finds."""
    for one, other in (("people_rows", "people_source"), ("people_source", "people_rows")):
        columns = ", ".join(people_rows.c.keys())
        if found := watch.rows(f"SELECT {columns} FROM {one} EXCEPT SELECT {columns} FROM {other}"):
            raise LawBroken(2, f"only in {one}: {found[0]}")


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _nothing_half_done(watch: Watch) -> None:
    """Law 8."""
    half = watch.rows("SELECT id, status FROM outbox WHERE status NOT IN ('done', 'dead', 'cancelled')")
    if half:
        raise LawBroken(8, f"the outbox still holds {half}")
    if waiting := watch.rows("SELECT id FROM webhook_events WHERE status = 'pending'"):
        raise LawBroken(8, f"events nobody has looked into: {waiting}")


def _raw_is_kept(watch: Watch, contacts: dict[Contact, Row]) -> None:
    """Law 10: word for word what the platform said last."""
    for platform, table in ((OV, "onvoard_contacts"), (DO, "digital_onboarding_contacts")):
        for row in watch.rows(f"SELECT * FROM {table}"):
            payload = contacts.get((platform, row["id"]))
            if platform == DO and (watch.forgotten or watch.suppressed):
                continue  # of whoever has an address of theirs nothing is kept
            if payload is None or row.get("deleted_at") or row.get("removed_at") or row["email"] is None:
                continue
            if watch.is_forgotten((platform, row["id"])) or watch.was_suppressed((platform, row["id"])):
                continue
            raw = _json(row["raw"])
            if raw != payload:
                unlike = sorted(key for key in payload if (raw or {}).get(key, "absent") != payload[key])
                raise LawBroken(10, f"{platform} {row['id']}: the mirror differs in {unlike}")
