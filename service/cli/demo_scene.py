"""What happens on both platforms between two syncs: people edit, opt out, and come to be known."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.errors import BridgeError
from service.store import readonly
from service.text import SIDES

if TYPE_CHECKING:
    from service.sandbox.server import Sandbox
    from service.store.database import Database

OV, DO = SIDES["onvoard"], SIDES["digital_onboarding"]
OBJECTIVE = "branch-visit"
NEWCOMER = "CIF-900001"
ADDED = "custom.digital_onboarding_contact_added"
COMPLETED = "custom.digital_onboarding_objective_completed"
UNSUBSCRIBED = "custom.digital_onboarding_unsubscribed"

LINKED = """
SELECT p.person_id, p.onvoard_contact_id, p.unique_id, p.email, p.phone,
       d.name_first, d.name_last, d.address, o.name
FROM people p
JOIN onvoard_contacts o ON o.id = p.onvoard_contact_id
JOIN digital_onboarding_contacts d ON d.unique_id = p.unique_id
WHERE p.status = 'linked'"""
"""The columns of an `Actor`; to go on with AND."""
# Linked by e-mail, opted out of nothing, and with everything that the scene is about to change.
_CAST = f"""{LINKED}
  AND p.matched_by = 'email' AND NOT p.email_opted_out
  AND o.phone LIKE '+%' AND d.address <> '' AND o.name = d.name_first || ' ' || d.name_last
  AND d.country IN ('US', 'FR', 'IE', 'DE')
  AND NOT EXISTS (SELECT 1 FROM digital_onboarding_objective_completions c
                  WHERE c.unique_id = d.unique_id AND c.objective_key = 'branch-visit')
ORDER BY p.person_id
"""
_ONCE_OUT = f"""{LINKED}
  AND o.email_unsubscribed AND d.unsubscribe_email
ORDER BY p.person_id
"""


@dataclass(frozen=True)
class Actor:
    """A linked person, as the mirror knew them before the scene."""

    person_id: int
    onvoard_contact_id: str
    unique_id: str
    email: str
    phone: str
    name_first: str
    name_last: str
    address: str
    name: str


@dataclass(frozen=True)
class Edit:
    """Something that somebody did; `arrived` asks the platforms themselves whether the next sync did it justice."""

    where: str
    who: str
    what: str
    arrived: Callable[[], bool]


class Scene:
    """`edits` once `play` was called; the persons by their parts."""

    def __init__(self, database: Database, both: Sandbox) -> None:
        self._ov, self._do = both.onvoard, both.digital_onboarding
        cast = _distinct(actors(database, _CAST))
        once_out = actors(database, _ONCE_OUT)
        if len(cast) < 9 or not once_out:
            raise BridgeError("these people do not have the parts of the scene", hint="another --seed")
        (self.phoned, self.married, self.both, self.renamed, self.cleared, self.out_on_onvoard,
         self.out_on_digital, self.suppressed, self.achiever) = cast[:9]  # fmt: skip
        self.back_in = once_out[0]
        self.newcomer_email = "amara.okafor@example.org"
        self.edits: list[Edit] = []

    def play(self) -> list[Edit]:
        """Everything, in order. The later of two edits of one field is the newer one."""
        self.edits = [*self._fields(), *self._consent(), *self._news()]
        return self.edits

    def missed(self) -> list[Edit]:
        """The edits that did not arrive."""
        return [edit for edit in self.edits if not edit.arrived()]

    def news_csv(self, whole: str) -> str:
        """The two contacts of which Digital Onboarding has news, cut from its export: `contact-bridge import` brings
        the bridge to know of a new contact, and of a completion that happened there."""
        reader = csv.DictReader(io.StringIO(whole, newline=""))
        out = io.StringIO()
        writer = csv.DictWriter(out, list(reader.fieldnames or ()), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(row for row in reader if row["unique_id"] in (NEWCOMER, self.achiever.unique_id))
        return out.getvalue()

    def _onvoard(self, who: Actor) -> dict[str, Any]:
        return self._ov.contact(who.onvoard_contact_id)

    def _digital(self, who: Actor) -> dict[str, Any]:
        return self._do.contact(who.unique_id)

    def _fields(self) -> Iterator[Edit]:
        one, phone = self.phoned, f"{self.phoned.phone[:-4]}9{self.phoned.phone[-3:]}"
        self._ov.edit_contact(one.onvoard_contact_id, phone=phone)
        yield Edit(OV, one.name, f"phone becomes {phone}", lambda: self._digital(one)["phone_mobile"] == phone)

        bride, last = self.married, f"{self.married.name_last}-Carter"
        full = f"{bride.name_first} {last}"
        self._do.edit_contact(bride.unique_id, name_last=last)
        yield Edit(DO, bride.name, f"last name becomes {last}", lambda: self._onvoard(bride)["name"] == full)

        mover, newest = self.both, "22 New Bridge Street"
        self._ov.edit_contact(mover.onvoard_contact_id, street_address="1 Old Mill Lane")
        self._do.edit_contact(mover.unique_id, address=newest)
        yield Edit(OV, mover.name, "address becomes 1 Old Mill Lane", lambda: True)
        yield Edit(
            DO, mover.name, f"a moment later, address becomes {newest}",
            lambda: self._onvoard(mover)["properties"]["street_address"] == newest,
        )  # fmt: skip

        mailer, email = self.renamed, f"new.{self.renamed.email}"
        self._ov.edit_contact(mailer.onvoard_contact_id, email=email)
        yield Edit(OV, mailer.name, f"e-mail becomes {email}", lambda: self._digital(mailer)["email"] == email)

        blank = self.cleared
        self._do.edit_contact(blank.unique_id, address="")
        yield Edit(
            DO, blank.name, f"address cleared (was {blank.address})",
            lambda: not self._onvoard(blank)["properties"].get("street_address"),
        )  # fmt: skip

    def _consent(self) -> Iterator[Edit]:
        here, there, gone, back = self.out_on_onvoard, self.out_on_digital, self.suppressed, self.back_in
        self._ov.unsubscribe(here.onvoard_contact_id)
        yield Edit(OV, here.name, "opts out of e-mail", lambda: bool(self._digital(here)["unsubscribe_email"]))
        self._do.unsubscribe(there.unique_id)
        yield Edit(DO, there.name, "opts out of e-mail", lambda: bool(self._onvoard(there)["email_unsubscribed"]))
        self._ov.suppress(gone.onvoard_contact_id)
        yield Edit(
            OV, gone.name, "is suppressed: never to be contacted again",
            lambda: all(self._digital(gone)[flag] for flag in ("unsubscribe_email", "unsubscribe_sms")),
        )  # fmt: skip
        self._do.resubscribe(back.unique_id)
        yield Edit(
            DO, back.name, "had opted out, and opts in to e-mail again",
            lambda: bool(self._onvoard(back)["email_unsubscribed"]),
        )  # fmt: skip

    def _news(self) -> Iterator[Edit]:
        done = self.achiever
        self._do.complete_objective(done.unique_id, OBJECTIVE)
        yield Edit(
            DO, done.name, "completes the objective Branch Visit",
            lambda: len(self._ov.activity_list(done.onvoard_contact_id, COMPLETED)) == 1,
        )  # fmt: skip
        self._do.add_contact(
            unique_id=NEWCOMER, email=self.newcomer_email, name_first="Amara", name_last="Okafor",
            phone_mobile="+12125550142", city="New York", country="US",
        )  # fmt: skip
        yield Edit(
            DO, "Amara Okafor", f"opens an account at the bank, as {NEWCOMER}",
            lambda: len(self._ov.activity_list(self.newcomer_email, ADDED)) == 1,
        )  # fmt: skip


def actors(database: Database, sql: str) -> list[Actor]:
    found = readonly.query(database, sql)
    return [Actor(**dict(zip(found.columns, row, strict=True))) for row in found.rows]


def _distinct(actors: list[Actor]) -> list[Actor]:
    """Nobody twice of the same name: the audience would take them for one."""
    return list({actor.name: actor for actor in reversed(actors)}.values())[::-1]
