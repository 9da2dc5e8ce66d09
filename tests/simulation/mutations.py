"""Each law broken on purpose, in the service and only for as long as a world lasts: the simulator has to see it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

from service import cycle
from service.core import reconcile
from service.core.records import Platform, native
from service.decide import consent_lane, examining, merging
from service.extract import loaders as reading
from service.extract.onvoard import OnvoardReader
from service.load import digital_onboarding, onvoard
from service.load.digital_onboarding import DigitalPushes
from service.load.onvoard import OnvoardPushes
from service.load.settlement import Settlement
from service.platforms.judging import Call
from service.platforms.onvoard import activities
from service.store import cursors, firings, ledger, mirror, outbox, recovery


@dataclass(frozen=True)
class Mutation:
    """`seed`: a world in which it shows, or shortly before one; `rough`: as in `simulate`."""

    law: int
    what: str
    patch: Callable[[], AbstractContextManager[Any]]
    seed: int = 600
    rough: bool = False


def _always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def _writes_the_link_again() -> Any:
    stack = ExitStack()
    stack.enter_context(mock.patch.object(merging._Person, "_wants_link", lambda self: True))
    stack.enter_context(mock.patch.object(cycle, "PASSES", 2))  # it never ends by itself
    return stack


def _forgets_losses() -> Any:
    return mock.patch.object(ledger, "record_losses", _always(None))


def _base_is_what_was_sent() -> Any:
    """And what a platform has made of it, is compared letter by letter."""
    agreed, decides = Settlement.agreed, reconcile._Field.__init__

    def sent(self: Any, row: Any, fields: Any) -> None:
        agreed(self, row, {**fields, **native(row["basis"].get("fields") or {})})

    def literal(self: Any, *args: Any) -> None:
        decides(self, *args)
        self.keys = {side: repr(value) for side, value in self.now.items()}
        self.same = len(set(self.keys.values())) == 1

    stack = ExitStack()
    stack.enter_context(mock.patch.object(Settlement, "agreed", sent))
    stack.enter_context(mock.patch.object(reconcile._Field, "__init__", literal))
    stack.enter_context(mock.patch.object(reconcile._Field, "_key", lambda self, side, value: repr(value)))
    return stack


def _opt_ins_travel() -> Any:
    """A patch says what the other side shows, and the look before every write is gone."""
    payload = merging.change_payload

    def raised(mapping: Any, platform: Platform, values: Any, onvoard: Any, digital: Any) -> Any:
        flag = "email_unsubscribed" if platform is Platform.ONVOARD else "unsubscribe_email"
        return {**payload(mapping, platform, values, onvoard, digital), flag: False}

    stack = ExitStack()
    stack.enter_context(mock.patch.object(merging, "change_payload", raised))
    for pushes in (digital_onboarding, onvoard):
        stack.enter_context(mock.patch.object(pushes, "check_payload", _always(None)))
    stack.enter_context(mock.patch.object(cycle, "PASSES", 2))
    return stack


def _opt_outs_stay() -> Any:
    return mock.patch.object(consent_lane, "stage_opt_out", _always(False))


def _sends_again_unlooked() -> Any:
    """Neither before it is sent again, nor at once by the transport."""
    def of(method: str, route: str, *args: str, safe: bool) -> Call:
        return Call.of(method, route, *args, safe=True)

    stack = ExitStack()
    stack.enter_context(mock.patch.object(OnvoardPushes, "_find_activity", mock.AsyncMock(return_value=None)))
    stack.enter_context(mock.patch.object(activities, "Call", mock.Mock(of=of)))
    return stack


def _starts_again_unlooked() -> Any:
    async def pending(self: Any, row: Any) -> None:
        await self.db.run(lambda conn: outbox.mark(conn, [row["id"]], "pending", self.now()))

    return mock.patch.object(DigitalPushes, "look_for", pending)


def _fires_always() -> Any:
    return mock.patch.object(examining, "may_fire", _always(True))


def _fires_never() -> Any:
    return mock.patch.object(firings, "fire", _always(None))


def _rows_never_change() -> Any:
    return mock.patch.object(reading, "same", _always(True))


def _a_batch_dies_whole() -> Any:
    send = DigitalPushes._send_batch

    async def whole(self: Any, rows: Any, **how: Any) -> None:
        async def refused(halves: Any, **_: Any) -> None:
            ids = [row["id"] for row in halves]
            await self.db.run(lambda conn: outbox.mark(conn, ids, "dead", self.now(), "batch"))

        with mock.patch.object(self, "_send_batch", refused):
            await send(self, rows, **how)

    return mock.patch.object(DigitalPushes, "_send_batch", whole)


def _cursor_runs_ahead() -> Any:
    put = cursors.put

    def ahead(conn: Any, stream: str, value: Any, now: Any) -> None:
        put(conn, stream, value if isinstance(value, str) else value + timedelta(days=1), now)

    return mock.patch.object(cursors, "put", ahead)


def _gone_without_a_404() -> Any:
    async def gone(self: Any, stream: Any, record_id: str) -> None:
        await self.db.run(lambda conn: mirror.mark_gone(conn, stream.table, record_id, self.now()))

    return mock.patch.object(OnvoardReader, "reread", gone)


def _nothing_is_taken_up() -> Any:
    return mock.patch.object(recovery, "take_up", _always([]))


def _the_core_throws_dice() -> Any:
    def thrown(pair: Any) -> Any:
        return list(Platform)[os.urandom(1)[0] % 2], "newer record"

    return mock.patch.object(reconcile, "newer", thrown)


def _a_field_is_dropped() -> Any:
    row_of = mirror.onvoard_contact_row

    def thinner(row: Any, now: Any) -> Any:
        return row_of(row, now) | {"raw": {key: value for key, value in row["raw"].items() if key != "tags"}}

    return mock.patch.object(mirror, "onvoard_contact_row", thinner)


def _any_account_will_do() -> Any:
    return mock.patch.object(cursors, "claim_account", _always(True))


def _nobody_is_suspicious() -> Any:
    return mock.patch.object(OnvoardReader, "suspect", mock.AsyncMock())


MUTATIONS = (
    Mutation(1, "the link property is written at every look", _writes_the_link_again),
    Mutation(2, "a losing value is not kept", _forgets_losses),
    Mutation(2, "a happening is looked at, and nothing comes of it", _fires_never, seed=601),
    Mutation(2, "a changed row of a loader's result is taken for the old one", _rows_never_change, seed=616),
    Mutation(3, "the base is what was sent, and spelling counts", _base_is_what_was_sent),
    Mutation(4, "a push raises consent", _opt_ins_travel),
    Mutation(4, "an opt-out does not travel", _opt_outs_stay),
    Mutation(5, "an unclear activity is sent again unlooked", _sends_again_unlooked, seed=602, rough=True),
    Mutation(5, "an unclear journey is started again unlooked", _starts_again_unlooked, seed=61001, rough=True),
    Mutation(5, "a rule fires for every happening", _fires_always, seed=601),
    Mutation(6, "a refused batch is given up whole", _a_batch_dies_whole, seed=603, rough=True),
    Mutation(7, "the cursor runs ahead of its rows", _cursor_runs_ahead),
    Mutation(7, "deleted without a 404", _gone_without_a_404, seed=602),
    Mutation(8, "what a killed process left is not taken up", _nothing_is_taken_up, seed=607, rough=True),
    Mutation(9, "the core throws dice", _the_core_throws_dice),
    Mutation(10, "the mirror keeps what it knows alone", _a_field_is_dropped),
    Mutation(11, "any account will do", _any_account_will_do, seed=601),
    Mutation(12, "an empty answer is believed", _nobody_is_suspicious, seed=601),
)
