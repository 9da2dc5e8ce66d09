"""The demo, step by step: the same functions that the commands call, over real HTTP, and what came of each."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from service import app, runs, setup
from service.cli import demo_mess, demo_report, demo_rules
from service.cli.demo_report import Row
from service.cli.demo_scene import DO, OV, Scene
from service.cli.demo_story import Story
from service.cli.progress import progress
from service.cli.sync import LEASE_WAIT, RESOURCES
from service.core.rules import NO_RULES
from service.errors import BridgeError
from service.sandbox.export import export_csv
from service.store import migrate, readonly
from service.store.lease import lease

if TYPE_CHECKING:
    from service.bridge import Bridge, Report
    from service.sandbox.server import Sandbox
    from service.settings import Settings
    from service.store.database import Database

_BOTH = ("", OV, DO)
_SHOWN = 12
"""Rows of a table of writes; there are fewer unless something is odd."""
QUERIES = (
    ("How many people there are, by status", """
SELECT status, count(*) AS people,
       count(*) FILTER (WHERE email_opted_out) AS opted_out
FROM people GROUP BY status ORDER BY people DESC
"""),
    ("The happiest people whom both platforms know", """
SELECT name_first, name_last, email, review_count, avg_rating
FROM people WHERE status = 'linked' AND review_count >= 2
ORDER BY avg_rating DESC, review_count DESC, email LIMIT 5
"""),
    ("Who gets no e-mail, as each platform says it", """
SELECT p.email, o.email_unsubscribed AS onvoard, o.email_marked_as_spam AS spam,
       o.email_hard_bounced AS bounced, d.unsubscribe_email AS digital_onboarding
FROM people p
JOIN onvoard_contacts o ON o.id = p.onvoard_contact_id
JOIN digital_onboarding_contacts d ON d.unique_id = p.unique_id
WHERE p.email_opted_out ORDER BY p.email LIMIT 5
"""),
)  # fmt: skip


class Demo:
    """One run of the story. `folder` is for its files."""

    def __init__(self, story: Story, both: Sandbox, settings: Settings, database: Database, folder: Path) -> None:
        self.story, self.both, self.settings, self.database, self.folder = story, both, settings, database, folder

    async def play(self) -> None:
        """All of it. BridgeError, or whatever else goes wrong, in the midst of a step."""
        self.before()
        migrate.upgrade(self.database)
        async with app.open_bridge(self.settings, self.database) as whole:
            bridge = replace(whole, rules=NO_RULES, loaders=())
            await self.read(bridge)
            await self.first_sync(bridge)
            scene = await self.edits()
            await self.second_sync(bridge, scene)
            await self.third_sync(bridge)
            await self.rules(whole)
        self.waiting()
        self.questions()

    def before(self) -> None:
        tell = self.story
        with tell.step("Two platforms, the same people"):
            tell.say(
                "A bank's shop keeps its customers on OnVoard, the bank on Digital Onboarding. Both are emulated here, "
                "on this machine: no account is touched, nor are your settings and your mirror."
            )
            tell.table(_BOTH, demo_mess.inventory(self.both))
            tell.say("They do not agree about who these people are:")
            tell.table(("what", "people", f"e.g. {OV} ↔ {DO}"), demo_mess.mess(self.both))

    async def read(self, bridge: Bridge) -> None:
        tell = self.story
        with tell.step("Read everything; write nothing yet"):
            tell.command("contact-bridge setup")
            parts = await setup.complete(bridge.onvoard, self.settings)
            await setup.refresh_mirror(bridge)
            made = sum(part.state is setup.State.CREATED for part in parts)
            tell.say(f"On {OV}, {made} property and activity types were made, for what {DO} will have to tell.")
            tell.command("contact-bridge import export.csv")
            rows = await self._import("export.csv", export_csv(self.both.digital_onboarding))
            tell.say(
                f"{DO} has no call that lists contacts, so they come from its CSV export: {rows} contacts. "
                "(Some were added after the export; the bridge meets them when it first writes to them.)"
            )
            tell.command("contact-bridge backfill")
            with progress() as shown:
                async with self._lease("backfill"):
                    pulled = (await runs.backfill(bridge, RESOURCES, None, None, shown)).pulled
            names = ("contacts", "reviews", "activities", "templates", "objectives")
            counts = ", ".join(f"{self._count(name):,} {name}" for name in names)
            tell.say(f"In the mirror, a fresh SQLite file: {counts}, and {pulled['summaries']} product summaries.")

    def _count(self, name: str) -> int:
        platform = "digital_onboarding" if name in ("templates", "objectives") else "onvoard"
        return int(readonly.query(self.database, f"SELECT count(*) FROM {platform}_{name}").rows[0][0])

    async def first_sync(self, bridge: Bridge) -> None:
        tell = self.story
        with tell.step("The first sync: who is who, and filling the gaps", "contact-bridge sync"):
            report = await self._sync(bridge)
            rows = demo_report.links(self.database)
            tell.table(("matched_by", "people", "which means", f"e.g. {OV} ↔ {DO}"), rows)
            tell.say("What was written, and why. Two values for one field: the newer record wins, the other is kept.")
            flows = demo_report.flows(self.database, report.run_id)
            tell.table(("written to", "why", "people", "fields", "e.g."), flows)
            tell.say("Some values stay where they are, because the other side could not take them:")
            tell.table(("values", "why", "e.g."), demo_report.refused(self.database))

    async def edits(self) -> Scene:
        """The scene; and what of it the bridge cannot find by itself is imported."""
        tell, scene = self.story, Scene(self.database, self.both)
        with tell.step("Life goes on, on both sides"):
            tell.table(("where", "who", "what"), [(edit.where, edit.who, edit.what) for edit in scene.play()])
            tell.command("contact-bridge import news.csv")
            rows = await self._import("news.csv", scene.news_csv(export_csv(self.both.digital_onboarding)))
            tell.say(
                f"A small export brings the news that {DO} tells nobody otherwise, {rows} contacts: who was added, and "
                "which objectives were completed. Edits of known contacts need none, as the next step shows."
            )
        return scene

    async def second_sync(self, bridge: Bridge, scene: Scene) -> None:
        tell = self.story
        with tell.step("The second sync: every edit finds its way", "contact-bridge sync --full"):
            report = await self._sync(bridge, full=True)
            _expect(not (missed := scene.missed()), f"{len(missed)} edits did not arrive: {[e.what for e in missed]}")
            changes, created = demo_report.written(self.database, report.run_id)
            tell.table(("who", "written", "old → new", "why"), changes[:_SHOWN])
            for who, where, fields in created:
                tell.say(f"{who} was created on {where}, with {fields} fields.")
            lost = demo_report.lost(self.database, report.run_id)
            _expect(lost == ["1 Old Mill Lane"], f"these values lost: {lost}")
            tell.say(f"Both sides had edited one address. The older edit lost, and is kept on record: {lost[0]}.")
        self.consent(scene)
        self.activities(scene)

    def consent(self, scene: Scene) -> None:
        """Opt-outs, and the suppressed."""
        tell, ov, do = self.story, self.both.onvoard, self.both.digital_onboarding
        with tell.step("Consent only ever falls"):
            told = (
                (scene.out_on_onvoard, f"opted out on {OV}"),
                (scene.out_on_digital, f"opted out on {DO}"),
                (scene.suppressed, f"suppressed on {OV}"),
                (scene.back_in, f"opted in again on {DO}"),
            )
            out, rows = {True: "opted out", False: "opted in"}, []
            for who, what in told:
                here, there = ov.contact(who.onvoard_contact_id), do.contact(who.unique_id)
                shown = "suppressed" if here["suppressed"] else out[here["email_unsubscribed"]]
                rows.append((who.name, what, shown, out[there["unsubscribe_email"]]))
            tell.table(("who", "what they did", f"{OV} now", f"{DO} now"), rows)
            left = self._left_of(scene)
            tell.say(
                f"Opt-outs went ahead of all else. Of {scene.suppressed.name}, the mirror has kept no personal data, "
                "only that there is somebody not to be contacted:"
            )
            tell.table(("person_id", "status", "email", "name_first", "name_last", "phone"), [left])

    def _left_of(self, scene: Scene) -> Row:
        sql = "SELECT person_id, status, email, name_first, name_last, phone FROM people WHERE person_id = "
        left = readonly.query(self.database, f"{sql}{scene.suppressed.person_id}").rows[0]
        _expect(left[1:] == ("suppressed", None, None, None, None), "the mirror still knows the suppressed person")
        return left

    def activities(self, scene: Scene) -> None:
        tell = self.story
        with tell.step(f"What happened on {DO} is now on {OV}"):
            tell.say(
                "As custom activities (custom.digital_onboarding_…), once each and with their own time, for segments "
                "and workflows there:"
            )
            found = [each for each in self.both.onvoard.activity_list() if each["type"].startswith("custom.")]
            _expect(len(found) == 3, f"{len(found)} activities were sent, not 3")
            detail = ("objective_name", "channel", "unique_id")
            rows = [
                (
                    each["type"].removeprefix("custom.digital_onboarding_"), each["contact"]["email"], each["datetime"],
                    next(each["record_data"][key] for key in detail if key in each["record_data"]),
                )
                for each in found
            ]  # fmt: skip
            tell.table(("activity", "contact", "when", "what"), rows)

    async def third_sync(self, bridge: Bridge) -> None:
        tell = self.story
        with tell.step("The third sync: nothing is left to do", "contact-bridge sync"):
            mark = self.both.journal.mark()
            await self._sync(bridge)
            counts = self.both.journal.counts(mark)
            _expect(counts["writes"] == 0, f"the third sync made {counts['writes']} write requests")
            tell.say(
                f"By the platforms' own records: {counts['reads']} requests to read, {counts['writes']} to write."
                " What the bridge wrote itself never comes back as an edit."
            )

    async def rules(self, bridge: Bridge) -> None:
        """Rules and loaders, which the syncs before did without."""
        tell = self.story
        with tell.step("What one platform knows makes the other act", "contact-bridge rules list"):
            tell.table(("rule", f"when, on {OV}", f"then, on {DO}"), demo_rules.rules(bridge.rules))
            tell.command("contact-bridge rules test")
            number, failed = demo_rules.tests(bridge.rules, self.settings.paths.rules)
            _expect(number > 0 and not failed, f"{failed} tests of the rules fail")
            tell.say(f"{number} of {number} tests passed. And any SELECT on the mirror may feed the platforms:")
            tell.table(("loader", "feeds"), demo_rules.loaders(bridge))
            tell.command("contact-bridge sync", "contact-bridge sync --allow-mass-change")
            held = await self._sync(bridge, held=True)
            why = max(held.held.values())
            tell.say(f"That is nearly everybody, so the brake held it back until somebody had looked: {why}.")
            await self._sync(bridge, allow=True)
            fed = demo_rules.fed(self.database, self.both)
            _expect(all(row[-1] for row in fed) and len(fed) > 1, "the loaders have brought nothing")
            tell.table(("on", "what marketers and journeys can use now", "people"), fed)
            await self._deeds(bridge)

    async def _deeds(self, bridge: Bridge) -> None:
        tell, deeds = self.story, demo_rules.deeds(self.database, self.both)
        tell.command("contact-bridge sync --full")
        await self._sync(bridge, full=True)
        missed = [deed.what for deed in deeds if not deed.arrived()]
        _expect(not missed, f"these led to nothing: {missed}")
        tell.table(("who", f"did, on {OV}", f"led to, on {DO}"), [(d.who, d.what, d.leads_to) for d in deeds])
        tell.say("Once each, whatever they do next: what a rule has fired for is on record.")
        tell.table(("rule", "times"), demo_rules.led_to(self.database))

    def waiting(self) -> None:
        tell = self.story
        with tell.step("What waits for a person", "contact-bridge conflicts"):
            rows, ids = demo_report.conflicts(self.database)
            _expect(bool(rows), "no conflict waits")
            tell.table(("conflicts", "what it is", "what to do"), rows)
            tell.say("Each with both sides of its people:")
            tell.command(*(f"contact-bridge conflicts show {number}" for number in ids))

    def questions(self) -> None:
        tell = self.story
        with tell.step("Ask the mirror", "contact-bridge query 'SELECT …'"):
            for title, sql in QUERIES:
                found = readonly.query(self.database, sql)
                _expect(bool(found.rows), f"nobody is found: {title}")
                tell.heading(title)
                tell.code(sql)
                tell.table(found.columns, found.rows)

    async def _sync(
        self, bridge: Bridge, *, full: bool = False, allow: bool = False, held: bool = False
    ) -> Report:
        with progress() as shown:
            async with self._lease("cycle"):
                report = await runs.sync(bridge, full=full, allow_mass_change=allow, progress=shown)
        _expect(bool(report.held) is held, "the brake held" if report.held else "the brake let everything pass")
        _expect(not report.new_dead, f"{report.new_dead} pushes were refused")
        return report

    async def _import(self, name: str, text: str) -> int:
        """-> how many contacts the file had; it stays in the folder"""
        path = self.folder / name
        path.write_text(text, encoding="utf-8", newline="")
        with progress() as shown, path.open(encoding="utf-8-sig", newline="") as lines:
            result = await runs.import_file(self.database, lines, shown)
        _expect(not result.bad, f"{len(result.bad)} rows of {name} could not be read")
        return result.rows

    def _lease(self, name: str) -> AbstractAsyncContextManager[None]:
        return lease(self.database, name, wait=LEASE_WAIT)


def _expect(true: bool, otherwise: str) -> None:
    """The demo shows nothing that is not so."""
    if not true:
        raise BridgeError(otherwise)
