"""Rounds of random edits on both sides: it always ends equal, silent, and without a value that nobody wrote."""

from __future__ import annotations

import contextlib
import os
import random
from collections import defaultdict
from typing import Any

import pytest

from service.errors import PlatformError
from tests.cycle.world import World

PEOPLE, ROUNDS, EDITS = 30, 6, 25
SEEDS = [int(seed) for seed in os.environ.get("SOAK_SEEDS", "11").split(",")]
FIELDS = {"city": "city", "region": "state", "street_address": "address", "postal_code": "post_code"}


class Users:
    """Edits by people on either platform; remembers every value that any of them ever wrote, by OnVoard's field."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.dice = world, random.Random(seed)
        self.written: dict[str, set[str]] = defaultdict(lambda: {""})
        self.opted_out: set[str] = set()
        self.counter = 0

    def value(self, field: str, word: str) -> str:
        self.counter += 1
        text = f"{word} {self.counter}"
        self.written[field].add(text)
        return text

    def arrive(self) -> None:
        for number in range(PEOPLE):
            side = self.dice.choice(["both", "both", "both", "onvoard", "digital_onboarding"])
            email = f"p{number}@example.com"
            if side != "digital_onboarding":
                self.world.ov.add_contact(email, name=self.value("name", "Name"), city=self.value("city", "City"))
            if side != "onvoard":
                name = self.value("name", "Last")
                self.world.do.add_contact(
                    unique_id=f"crm-{number}", email=email.upper(), name_first=name.split()[0],
                    name_last=name.split()[1], state=self.value("region", "State"),
                )  # fmt: skip

    def edit(self) -> None:
        self.world.clock.advance(self.dice.randrange(1, 30))
        (self.on_onvoard if self.dice.random() < 0.5 else self.on_digital_onboarding)()

    def on_onvoard(self) -> None:
        ov, dice = self.world.ov, self.dice
        who = dice.choice(sorted(ov.contacts))
        match dice.randrange(8):
            case 0:
                ov.unsubscribe(who)
                self.opted_out.add(ov.contact(who)["email"].lower())
            case 1:
                self.counter += 1
                ov.edit_contact(who, email=f"moved{self.counter}@example.com")
            case 2:
                ov.edit_contact(who, **{dice.choice(sorted(FIELDS)): None})
            case 3:
                ov.edit_contact(who, name=self.value("name", "Name"))
            case 4:
                ov.edit_contact(who, phone="")
            case 5:
                ov.edit_contact(who, phone=f"+1415555{dice.randrange(1000, 9999)}")
            case _:
                field = dice.choice(sorted(FIELDS))
                ov.edit_contact(who, **{field: self.value(field, field)})

    def on_digital_onboarding(self) -> None:
        do, dice = self.world.do, self.dice
        who = dice.choice(sorted(do.id_by_unique_id))
        field = dice.choice(sorted(FIELDS))
        match dice.randrange(8):
            case 0:
                do.unsubscribe(who)
            case 1:
                self.counter += 1
                do.edit_contact(who, email=f"moved{self.counter}@example.com")
            case 2:
                do.edit_contact(who, **{FIELDS[field]: ""})
            case 3:
                name = self.value("name", "Last")
                do.edit_contact(who, name_first=name.split()[0], name_last=name.split()[1])
            case 4:
                do.edit_contact(who, name_first="", name_last="")
            case 5:
                do.edit_contact(who, phone_mobile=f"(415) 555-{dice.randrange(1000, 9999)}", country="USA")
            case _:
                do.edit_contact(who, **{FIELDS[field]: self.value(field, field)})

    def invented(self) -> list[str]:
        """Values on either side that nobody wrote."""
        found = []
        for contact in self.world.ov.contact_list():
            shown = {"name": contact["name"], **{f: contact["properties"].get(f) or "" for f in FIELDS}}
            found += [f"{contact['email']}: {f} {v!r}" for f, v in shown.items() if v not in self.written[f]]
        for contact in self.world.do.contact_list():
            name = " ".join(part for part in (contact["name_first"], contact["name_last"]) if part)
            shown = {"name": name, **{here: contact[there] or "" for here, there in FIELDS.items()}}
            found += [f"{contact['unique_id']}: {f} {v!r}" for f, v in shown.items() if v not in self.written[f]]
        return found


async def test_random_edits_end_equal_on_postgres(postgres_world: World) -> None:
    await test_random_edits_always_end_equal(postgres_world, 12)


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_edits_always_end_equal(world: World, seed: int) -> None:
    print(f"seed {seed}")
    world.do.settings.touch_on_probe = seed % 2 == 0
    users = Users(world, seed)
    users.arrive()
    await world.import_export()
    out: set[str] = set()
    for _ in range(ROUNDS):
        report = await world.sync()
        assert not report.held and not report.new_dead
        now_out = {row["id"] for row in world.rows("SELECT id FROM onvoard_contacts WHERE email_unsubscribed")}
        assert out <= now_out, "nobody is opted in again"
        out = now_out
        for _ in range(EDITS):
            users.edit()
    await world.sync()
    await world.sync()
    assert world.unequal() == [] and users.invented() == []
    assert world.conflicts() == []
    assert {row["status"] for row in world.people().values()} == {"linked"}
    assert len(world.ov.contacts) == len(world.do.contacts) == PEOPLE
    flags = [(c["email_unsubscribed"], world.do.contact(uid)["unsubscribe_email"]) for c, uid in _pairs(world)]
    assert {here == there for here, there in flags} == {True} and (True, True) in flags
    await world.quiet()


def _pairs(world: World) -> list[tuple[dict[str, object], str]]:
    rows = world.rows("SELECT onvoard_contact_id, unique_id FROM people WHERE status = 'linked'")
    return [(world.ov.contact(row["onvoard_contact_id"]), row["unique_id"]) for row in rows]


class Trouble(Users):
    """Users who also delete, suppress, remove and arrive late, on platforms that fail now and then."""

    def edit(self) -> None:
        ov, do, dice = self.world.ov, self.world.do, self.dice
        self.world.clock.advance(self.dice.randrange(1, 30))
        self.counter += 1
        active = sorted(key for key, contact in ov.contacts.items() if contact.suppressed_at is None)
        match dice.randrange(16):
            case 0:
                ov.delete_contact(dice.choice(active))
            case 1:
                ov.suppress(dice.choice(active))
            case 2:
                for contact in [contact for contact in ov.contacts.values() if contact.suppressed_at][:1]:
                    ov.unsuppress(contact.id)
            case 3:
                do.remove_contact(dice.choice(sorted(do.id_by_unique_id)))
            case 4:
                ov.add_contact(f"late{self.counter}@example.com", name=self.value("name", "Name"))
            case 5:
                do.complete_objective(dice.choice(sorted(do.id_by_unique_id)), "online-banking")
            case 6 | 7 | 8 | 9 | 10:
                self.on_digital_onboarding()
            case _:
                who = dice.choice(active)
                ov.edit_contact(who, city=self.value("city", "City"), name=self.value("name", "Name"))

    def fail(self) -> None:
        for _ in range(3):
            platform: Any = self.dice.choice(["onvoard", "digital_onboarding"])
            kind: Any = self.dice.choice(["reset_before", "reset_after", "status", "malformed", "truncate"])
            method = self.dice.choice(["GET", "POST", "PATCH"])
            self.world.sandbox.fail(
                platform, kind, method=method, times=self.dice.randrange(1, 5), skip=self.dice.randrange(6)
            )


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_trouble_always_ends_equal(world: World, seed: int) -> None:
    print(f"seed {seed}")
    users = Trouble(world, seed)
    users.arrive()
    await world.setup()
    await world.import_export()
    out: dict[str, bool] = {}
    for _ in range(ROUNDS):
        users.fail()
        with contextlib.suppress(PlatformError):
            await world.sync(full=users.dice.random() < 0.7)
        world.sandbox.clear_faults()
        for _ in range(EDITS // 2):
            users.edit()
        await world.import_export()
        now_out = {key: each.email_unsubscribed for key, each in world.ov.contacts.items()}
        assert not [key for key, was in out.items() if was and not now_out.get(key, True)]
        out = now_out
    for _ in range(3):
        await world.sync()
    assert world.unequal() == [] and users.invented() == []
    told = [each["record_data"]["sync_id"] for each in world.activities()]
    happened = [(e["type"], e["contact"]["id"]) for e in world.activities() if "unsubscribed" not in e["type"]]
    assert len(told) == len(set(told)) and len(happened) == len(set(happened))
    left = world.rows("SELECT * FROM outbox WHERE status IN ('pending', 'sending', 'unknown', 'dead')")
    assert left == [], str(left)
    frozen = world.rows("SELECT DISTINCT conflict_id FROM persons WHERE conflict_id IS NOT NULL")
    questions = {row["id"] for row in world.conflicts() if row["kind"] != "resubscribed"}
    assert {row["conflict_id"] for row in frozen} == questions, "each waits for a question that somebody can see"
    await world.quiet(plain=True)
