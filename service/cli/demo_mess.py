"""What is there before the bridge comes: counts of both platforms, and how they disagree about the same people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.sandbox.server import Sandbox

Contact = dict[str, Any]
Row = tuple[Any, ...]
Pair = tuple[Contact, Contact]
"""A person whose address both platforms know: OnVoard's contact, Digital Onboarding's contact."""


def inventory(both: Sandbox) -> list[Row]:
    """-> (what, on OnVoard, on Digital Onboarding)"""
    onvoard, digital = both.onvoard.contact_list(), both.digital_onboarding.contact_list()
    do = both.digital_onboarding
    return [
        ("contacts", len(onvoard), len(digital)),
        ("opted out of e-mail", _many(onvoard, _out), _many(digital, lambda c: c["unsubscribe_email"])),
        ("suppressed", _many(onvoard, lambda c: c["suppressed"]), None),
        ("reviews", len(both.onvoard.review_list()), None),
        ("activities (opened, ordered, viewed …)", len(both.onvoard.activity_list()), None),
        ("journey templates", None, len(do.templates)),
        ("objectives", None, len(do.objectives)),
        ("objectives completed", None, len(do.completions)),
    ]


def mess(both: Sandbox) -> list[Row]:
    """-> (what, how many people, OnVoard's ↔ Digital Onboarding's for example)"""
    onvoard, digital = both.onvoard.contact_list(), both.digital_onboarding.contact_list()
    by_address: dict[str, list[Contact]] = defaultdict(list)
    for contact in digital:
        by_address[(contact["email"] or "").lower()].append(contact)
    pairs = [(ov, by_address[ov["email"].lower()][0]) for ov in onvoard if by_address.get(ov["email"].lower())]
    paired = {ov["id"] for ov, _ in pairs}
    lonely = [contact for contact in onvoard if contact["id"] not in paired and not contact["suppressed"]]
    known = {contact["email"].lower() for contact in onvoard}
    doubles = [found for address, found in by_address.items() if address and len(found) > 1]
    alone = [contact for contact in digital if contact["email"] and contact["email"].lower() not in known]
    nameless = [contact for contact in digital if not contact["email"]]
    return [
        ("e-mail, other letters", *_differing(pairs, lambda c: c["email"], lambda c: c["email"])),
        ("a customer number", *_differing(
            [pair for pair in pairs if "@" not in pair[1]["unique_id"]], lambda c: c["email"], lambda c: c["unique_id"],
        )),
        ("country as typed", *_differing(pairs, _property("country"), lambda c: c["country"])),
        ("phone as typed", *_differing(pairs, lambda c: c["phone"], lambda c: c["phone_mobile"])),
        ("another address", *_differing(pairs, _property("street_address"), lambda c: c["address"])),
        ("one side opted out", *_differing(
            pairs, lambda c: "opted out" if _out(c) else "opted in",
            lambda c: "opted out" if c["unsubscribe_email"] else "opted in",
        )),
        ("only on OnVoard", len(lonely), _shortest(c["email"] for c in lonely)),
        ("only on the other side", len(alone), _shortest(c["email"] for c in alone)),
        ("no e-mail at all", len(nameless), _shortest(_name(c) for c in nameless)),
        ("there twice", len(doubles), _shortest(" and ".join(c["unique_id"] for c in d) for d in doubles)),
    ]  # fmt: skip


def _differing(pairs: Iterable[Pair], of_ov: Callable[[Contact], Any], of_do: Callable[[Contact], Any]) -> Row:
    """Of how many people both sides say something, and not the same; with the one that is read fastest."""
    said = ((of_ov(ov), of_do(do)) for ov, do in pairs)
    found = [f"{left} ↔ {right}" for left, right in said if left and right and left != right]
    return len(found), _shortest(found)


def _property(key: str) -> Callable[[Contact], Any]:
    return lambda contact: contact["properties"].get(key)


def _out(contact: Contact) -> bool:
    flags = ("email_unsubscribed", "email_marked_as_spam", "email_hard_bounced")
    return any(contact[flag] for flag in flags)


def _many(contacts: Iterable[Contact], test: Callable[[Contact], Any]) -> int:
    return sum(bool(test(contact)) for contact in contacts)


def _shortest(values: Iterable[str]) -> str | None:
    return min(values, key=len, default=None)


def _name(contact: Contact) -> str:
    return f"{contact['name_first']} {contact['name_last']}"
