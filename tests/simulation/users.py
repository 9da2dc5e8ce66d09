"""The people of both platforms' admin interfaces: messy data, and edits at random times."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from service.sandbox.exchange import Refusal
from tests.simulation.network import POISON, Trace
from tests.simulation.watch import DO, OV, Contact, Watch

TEXTS = {"city": "city", "region": "state", "street_address": "address", "postal_code": "post_code"}
"""OnVoard's name of a field, and Digital Onboarding's."""
COUNTRIES = ("US", "USA", "us", "United States", "DE", "Germany", "Atlantis")
ZONES = ("Europe/Rome", "America/New_York", "Mars/Olympus", "europe/rome")
FIRST, LAST = ("Mary Ann", "Zoë", "Li", "José María", "Søren", "Anna-Lena"), ("Doe", "van der Berg", "O'Neil", "Ng", "")
ACTIVITIES = ("email_opened", "email_delivered", "email_link_clicked")


class Users:
    def __init__(self, watch: Watch, dice: random.Random, trace: Trace, poison: bool) -> None:
        self.watch, self.dice, self.trace, self.poison = watch, dice, trace, poison
        self.ov, self.do, self.clock = watch.ov, watch.do, watch.clock
        self._number = 0
        self._poisoned = False

    # --- values

    def _word(self, what: str) -> str:
        self._number += 1
        messy = self.dice.choice([what, f"{what.upper()} ", f"{what}é"])
        return f"{messy} {self._number}"

    def _name(self) -> tuple[str, str]:
        self._number += 1
        return self.dice.choice(FIRST), f"{self.dice.choice(LAST)} {self._number}".strip()

    def _phone(self) -> str:
        four = f"{self.dice.randrange(10000):04}"
        return self.dice.choice([f"+1415555{four}", f"(415) 555-{four}", f"+1 415 555 {four}", f"415-555-{four}"])

    def _address(self) -> str:
        """A new one, or (a swap, a freed one, a family's) one that somebody has or had."""
        used = [each["email"] for each in self.watch.contacts().values() if each["email"]]
        if used and self.dice.random() < 0.25:
            return self._cased(self.dice.choice(used))
        self._number += 1
        return f"p{self._number}@example.com"

    def _cased(self, email: str) -> str:
        return self.dice.choice([email, email, email.upper(), email.title()])

    # --- the first day

    def arrive(self, people: int) -> None:
        begin = self.clock.now()
        for _ in range(people):
            at = begin - timedelta(seconds=self.dice.choice([0, 5, 86_400 * self.dice.randrange(1, 400)]))
            side, email = self.dice.choice(["both", "both", OV, DO]), self._address()
            if side != DO:
                self._join_onvoard(email, at)
            if side != OV:
                self._join_digital_onboarding(self._cased(email), at)
        if self.poison and self.ov.contacts and self.dice.random() < 0.5:
            self._poisoned, who = True, next(iter(self.ov.contacts))
            self.watch.edits((OV, who), lambda: self.ov.edit_contact(who, city=f"{POISON} 0"))

    def _join_onvoard(self, email: str, at: Any = None) -> None:
        if self.ov.find_contact(email) is not None:
            return
        fields: dict[str, Any] = {"name": " ".join(self._name()), "city": self._word("City")}
        if self.dice.random() < 0.5:
            fields |= {"phone": self._phone(), "country": self.dice.choice(["US", "DE"]), "timezone": "Europe/Rome"}
        fields["email_unsubscribed"] = self.dice.random() < 0.1
        made = self.ov.add_contact(email, at=at, **fields)
        self.watch.arrives((OV, made["id"]))

    def _join_digital_onboarding(self, email: str, at: Any = None) -> None:
        self._number += 1
        unique_id = self.dice.choice([f"crm-{self._number}", email])
        if self.do.find(unique_id) is not None:
            return
        first, last = self._name()
        fields: dict[str, Any] = {"email": email, "name_first": first, "name_last": last, "state": self._word("State")}
        if self.dice.random() < 0.1:
            del fields["email"]
        if self.dice.random() < 0.5:
            fields |= {"phone_mobile": self._phone(), "country": self.dice.choice(COUNTRIES)}
        fields["unsubscribe_email"] = self.dice.random() < 0.1
        made = self.do.add_contact(at=at, unique_id=unique_id, **fields)
        self.watch.arrives((DO, made["id"]))

    # --- any day

    def edit(self) -> None:
        """One edit of one of them; what a platform refuses is no edit."""
        here = sorted(key for key, each in self.ov.contacts.items() if each.suppressed_at is None)
        there = sorted(self.do.contacts)
        side = OV if self.dice.random() < 0.5 else DO
        mine = here if side == OV else there
        if not mine or self.dice.random() < 0.06:
            what = "joins"
            (self._join_onvoard if side == OV else self._join_digital_onboarding)(self._address())
        else:
            who = self.dice.choice(mine)
            what, work = self._on_onvoard(who) if side == OV else self._on_digital_onboarding(who)
            try:
                self.watch.edits((side, who), work)
            except (Refusal, ValueError) as refused:
                what += f" (refused: {type(refused).__name__})"
            what += f" {who}"
        self.trace.add(self.clock.now(), "user", side, what)

    def _on_onvoard(self, who: str) -> tuple[str, Callable[[], object]]:
        ov, dice = self.ov, self.dice
        field, word = dice.choice(sorted(TEXTS)), self._word("Text")
        if self.poison and not self._poisoned and dice.random() < 0.3:
            self._poisoned = True
            return "poison", lambda: ov.edit_contact(who, city=f"{POISON} {word}")
        name, phone, address = " ".join(self._name()), self._phone(), self._address()
        country, zone = dice.choice(["US", "DE", None]), dice.choice(["Europe/Rome", "America/New_York", None])
        kind = dice.choice(ACTIVITIES)
        edits: list[tuple[int, str, Callable[[], object]]] = [
            (6, "text", lambda: ov.edit_contact(who, **{field: word})),
            (2, "clears", lambda: ov.edit_contact(who, **{field: None})),
            (3, "name", lambda: ov.edit_contact(who, name=name)),
            (2, "phone", lambda: ov.edit_contact(who, phone=phone)),
            (1, "no phone", lambda: ov.edit_contact(who, phone="")),
            (1, "place", lambda: ov.edit_contact(who, country=country, timezone=zone)),
            (3, "moves", lambda: ov.edit_contact(who, email=address)),
            (2, "opts out", lambda: ov.unsubscribe(who)),
            (1, "opts in", lambda: ov.resubscribe(who)),
            (1, "spam", lambda: ov.mark_as_spam(who)),
            (1, "suppressed", lambda: ov.suppress(who)),
            (1, "unsuppresses", self._unsuppress),
            (1, "deleted", lambda: ov.delete_contact(who)),
            (2, "activity", lambda: ov.add_activity(who, kind)),
            (1, "review", lambda: ov.add_review(ov.contact(who)["email"], dice.randrange(1, 6), "fine", entity="SITE")),
        ]
        return self._one_of(edits)

    def _unsuppress(self) -> None:
        found = [each.id for each in self.ov.contacts.values() if each.suppressed_at is not None]
        if found:
            who = self.dice.choice(found)
            self.ov.unsuppress(who)
            self.watch.risen.add((OV, who))

    def _on_digital_onboarding(self, who: str) -> tuple[str, Callable[[], object]]:
        do, dice = self.do, self.dice
        unique_id = do.contacts[who].unique_id
        column, word = TEXTS[dice.choice(sorted(TEXTS))], self._word("Text")
        first, last = self._name()
        phone, address = self._phone(), self._address()
        country, zone = dice.choice([*COUNTRIES, ""]), dice.choice([*ZONES, ""])
        objective = dice.choice(["online-banking", "estatements"])
        edits: list[tuple[int, str, Callable[[], object]]] = [
            (6, "text", lambda: do.edit_contact(unique_id, **{column: word})),
            (2, "clears", lambda: do.edit_contact(unique_id, **{column: ""})),
            (3, "name", lambda: do.edit_contact(unique_id, name_first=first, name_last=last)),
            (1, "no name", lambda: do.edit_contact(unique_id, name_first="", name_last="")),
            (2, "phone", lambda: do.edit_contact(unique_id, phone_mobile=phone)),
            (1, "place", lambda: do.edit_contact(unique_id, country=country, timezone=zone)),
            (3, "moves", lambda: do.edit_contact(unique_id, email=address)),
            (1, "no address", lambda: do.edit_contact(unique_id, email="")),
            (2, "opts out", lambda: do.unsubscribe(unique_id)),
            (1, "opts in", lambda: do.resubscribe(unique_id)),
            (1, "removed", lambda: do.remove_contact(unique_id)),
            (3, "objective", lambda: do.complete_objective(unique_id, objective)),
        ]
        return self._one_of(edits)

    def _one_of(self, edits: list[tuple[int, str, Callable[[], object]]]) -> tuple[str, Callable[[], object]]:
        (_, what, work), = self.dice.choices(edits, [weight for weight, *_ in edits])
        return what, work


def poisoned(contact: Contact, payload: dict[str, Any]) -> bool:
    return contact[0] == OV and POISON in str(payload.get("properties", {}).get("city"))
