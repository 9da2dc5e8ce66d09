"""Who is who. Never a guess: a record belongs to one other record, to none, or it is ambiguous and a person decides.

The order (contract section 4): an existing link, the link property on OnVoard, the e-mail, a `unique_id` that is the
other side's e-mail. The first rule that finds anybody decides. Whom a person has told apart, no rule links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum

from service.core.mapping import normal_email


class MatchedBy(StrEnum):
    PROPERTY = "property"
    EMAIL = "email"
    UNIQUE_ID = "unique_id"
    CREATED = "created"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Contact:
    """What identity needs to know of a record. `email` is normalised, "" if none; `linked` says that it has a partner.

    `moves_to` is set for a linked record whose address is about to change to this one, which its partner was given: its
    own is free for somebody else. `conflict_id` is the conflict that stops a linked record, and its move.
    """

    id: str
    email: str = ""
    linked: bool = False
    link_unique_id: str = ""  # OnVoard only: what the link property holds
    moves_to: str = ""
    conflict_id: int | None = None


@dataclass(frozen=True, slots=True)
class Same:
    id: str
    by: MatchedBy


@dataclass(frozen=True, slots=True)
class New:
    pass


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """`others` are the records, by platform id, that are frozen together with the one asked about."""

    reason: str
    onvoard: tuple[str, ...] = ()
    digital_onboarding: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Apart:
    """A person has told it apart from somebody on the other side: it stays without a counterpart, and none is made."""


Verdict = Same | New | Ambiguous | Apart


@dataclass(frozen=True, slots=True)
class Index:
    """The records that could be meant, of both platforms: all that share an address or an id with those asked about.

    `separations` are the pairs (OnVoard id, unique_id) that a person has told apart, of any of these records.
    """

    onvoard: Mapping[str, Contact]
    digital_onboarding: Mapping[str, Contact]
    separations: Set[tuple[str, str]] = frozenset()
    _onvoard_by_email: dict[str, list[Contact]] = field(init=False)
    _onvoard_by_link: dict[str, list[Contact]] = field(init=False)
    _digital_by_email: dict[str, list[Contact]] = field(init=False)
    _digital_by_key: dict[str, list[Contact]] = field(init=False)

    def __post_init__(self) -> None:
        onvoard, digital = self.onvoard.values(), self.digital_onboarding.values()
        object.__setattr__(self, "_onvoard_by_email", _by(lambda contact: contact.email, onvoard))
        object.__setattr__(self, "_onvoard_by_link", _by(lambda contact: contact.link_unique_id, onvoard))
        object.__setattr__(self, "_digital_by_email", _by(lambda contact: contact.email, digital))
        object.__setattr__(self, "_digital_by_key", _by(lambda contact: normal_email(contact.id), digital))

    def onvoard_with(self, email: str) -> list[Contact]:
        return [contact for contact in self._onvoard_by_email.get(email, []) if not contact.moves_to]

    def onvoard_naming(self, unique_id: str) -> list[Contact]:
        """Those whose link property holds it."""
        return self._onvoard_by_link.get(unique_id, [])

    def digital_with(self, email: str) -> list[Contact]:
        return [contact for contact in self._digital_by_email.get(email, []) if not contact.moves_to]

    def digital_keyed(self, email: str) -> list[Contact]:
        """Those whose unique_id is this address."""
        return self._digital_by_key.get(email, [])

    def apart(self, onvoard: Contact, digital: Contact) -> bool:
        return (onvoard.id, digital.id) in self.separations

    def others_with(
        self, email: str, contact_id: str, unique_id: str, conflict_id: int | None
    ) -> tuple[list[str], list[str]]:
        """Who has this address beside a linked person, and keeps it: ids on OnVoard, ids on Digital Onboarding. Who is
        to move keeps it where a conflict stops them, but for the person's own one, `conflict_id`: that ends with it."""

        def keeps(contact: Contact) -> bool:
            return not (contact.moves_to and contact.conflict_id in (None, conflict_id))

        onvoard = [c.id for c in self._onvoard_by_email.get(email, []) if c.id != contact_id and keeps(c)]
        return onvoard, [c.id for c in self._digital_by_email.get(email, []) if c.id != unique_id and keeps(c)]


def _by(key: Callable[[Contact], str], contacts: Iterable[Contact]) -> dict[str, list[Contact]]:
    """Without those of whom it is "": they have nothing in common."""
    found: dict[str, list[Contact]] = {}
    for contact in contacts:
        if named := key(contact):
            found.setdefault(named, []).append(contact)
    return found


def who_is_onvoard(contact: Contact, index: Index) -> Verdict:
    """An unlinked OnVoard contact -> the Digital Onboarding contact that is the same person."""
    named = index.digital_onboarding.get(contact.link_unique_id) if contact.link_unique_id else None
    if named is not None and not index.apart(contact, named):
        claims = [c for c in index.onvoard_naming(named.id) if c.id != contact.id and not index.apart(c, named)]
        if named.linked or claims:
            return Ambiguous(
                "two OnVoard contacts carry the same digital_onboarding_unique_id",
                onvoard=(contact.id, *(c.id for c in claims if not c.linked)),
                digital_onboarding=() if named.linked else (named.id,),
            )
        return Same(named.id, MatchedBy.PROPERTY)
    return _by_address(contact, index)


def _by_address(contact: Contact, index: Index) -> Verdict:
    found = [c for c in index.digital_with(contact.email) if not index.apart(contact, c)]
    doubles = _doubles(contact, found, index)
    taken = [c for c in found if c.linked or _claimed(c, contact, index)]
    if len(found) > 1 or taken or (found and doubles):
        reason = (
            "several Digital Onboarding contacts have this e-mail"
            if len(found) > 1
            else "the Digital Onboarding contact with this e-mail belongs to another OnVoard contact"
            if taken
            else "several OnVoard contacts have this e-mail"
        )
        return Ambiguous(
            reason,
            onvoard=(contact.id, *(c.id for c in doubles if not c.linked)),
            digital_onboarding=tuple(c.id for c in found if c not in taken),
        )
    return Same(found[0].id, MatchedBy.EMAIL) if found else _by_unique_id(contact, doubles, index)


def _by_unique_id(contact: Contact, doubles: Sequence[Contact], index: Index) -> Verdict:
    """Nobody over there has its address. `doubles`: those on this side who do."""
    told_apart = any(contact_id == contact.id for contact_id, _ in index.separations)
    if doubles and not told_apart:
        return _one_of_several(contact, doubles)
    # One whose own e-mail says that it is somebody else is not meant.
    keyed = [
        c
        for c in index.digital_keyed(contact.email)
        if not c.linked
        and not index.apart(contact, c)
        and not _claimed(c, contact, index)
        and not index.onvoard_with(c.email)
    ]
    if len(keyed) > 1:
        return Ambiguous(
            "several Digital Onboarding contacts have this e-mail as unique_id",
            onvoard=(contact.id,),
            digital_onboarding=tuple(c.id for c in keyed),
        )
    if not keyed:
        return Apart() if told_apart else New()
    rivals = _doubles(contact, keyed, index)
    return _one_of_several(contact, rivals, keyed) if rivals else Same(keyed[0].id, MatchedBy.UNIQUE_ID)


def _doubles(contact: Contact, meant: Sequence[Contact], index: Index) -> list[Contact]:
    """Others with its address, but for those who were told apart from everybody who could be `meant`."""
    others = [c for c in index.onvoard_with(contact.email) if c.id != contact.id]
    return [c for c in others if not (meant and all(index.apart(c, each) for each in meant))]


def _one_of_several(contact: Contact, doubles: Sequence[Contact], meant: Sequence[Contact] = ()) -> Ambiguous:
    return Ambiguous(
        "several OnVoard contacts have this e-mail",
        onvoard=(contact.id, *(c.id for c in doubles if not c.linked)),
        digital_onboarding=tuple(c.id for c in meant),
    )


def _claimed(candidate: Contact, by_other_than: Contact, index: Index) -> bool:
    """Another OnVoard contact carries the candidate's unique_id in its link property, which comes first."""
    return not candidate.linked and any(
        c.id != by_other_than.id and not c.linked and not index.apart(c, candidate)
        for c in index.onvoard_naming(candidate.id)
    )


def who_is_digital_onboarding(contact: Contact, index: Index) -> Verdict:
    """A Digital Onboarding contact that no OnVoard contact claimed -> New, or why nobody may be created for it."""
    if any(not index.apart(c, contact) for c in index.onvoard_with(contact.email)):
        return Ambiguous(
            "the OnVoard contact with this e-mail belongs to another Digital Onboarding contact",
            digital_onboarding=(contact.id,),
        )
    claims = [c for c in index.onvoard_naming(contact.id) if not index.apart(c, contact)]
    if claims:
        return Ambiguous(
            "OnVoard contacts carry its unique_id, and belong to somebody else or are not one",
            onvoard=tuple(c.id for c in claims if not c.linked),
            digital_onboarding=(contact.id,),
        )
    if any(unique_id == contact.id for _, unique_id in index.separations):
        return Apart()
    doubles = [c for c in index.digital_with(contact.email) if c.id != contact.id]
    if doubles:
        return Ambiguous(
            "several Digital Onboarding contacts have this e-mail",
            digital_onboarding=(contact.id, *(c.id for c in doubles if not c.linked)),
        )
    return New()


def could_be(onvoard: Contact, digital: Contact) -> bool:
    """Whether some rule speaks for this pair, whoever else there is."""
    by_address = bool(onvoard.email) and onvoard.email in (digital.email, normal_email(digital.id))
    return by_address or (bool(digital.id) and onvoard.link_unique_id == digital.id)
