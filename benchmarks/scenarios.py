"""What is measured, and against which bar: data, and the few steps that it is made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil

from benchmarks.contestants import (
    BARE,
    BRIDGE,
    DLT_ARROW,
    DLT_ARROW_RAW,
    DLT_REST,
    LOAD_LIMIT,
    PLAIN,
    SINGER,
    Command,
    Contestant,
    bridge,
    burst,
)
from benchmarks.databases import POSTGRES, SQLITE
from benchmarks.place import Place
from benchmarks.world import Size

Step = Callable[[Place], object]
KINDS = (POSTGRES, SQLITE)


@dataclass(frozen=True, slots=True)
class Bar:
    """What issues 6 and 8 ask for. `figure` is a ratio to a peer's wall time where `versus` names one, else a figure of
    `report.FIGURES` of the bridge's own."""

    wanted: float
    versus: Contestant | None = None
    figure: str = "wall"
    sense: str = "at least"  # at most, exactly
    kinds: tuple[str, ...] = KINDS


@dataclass(frozen=True, slots=True)
class Scenario:
    """`before` leads every contestant to the state from which `commands` are measured; `expected` is how many
    records the bridge has to push at least. Sizes are those of scale 1."""

    name: str
    title: str
    size: Size
    before: Mapping[Contestant, tuple[Step, ...]]
    commands: Mapping[Contestant, Command]
    bars: tuple[Bar, ...] = ()
    latency_ms: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)
    expected: Callable[[Size], int] = lambda size: 0
    rounds: int = sys.maxsize  # at most
    pulls: bool = False  # every contestant's tables have to be complete afterwards

    @property
    def counts_rows(self) -> bool:
        """Whether a bar asks for the rows that were written."""
        return any(bar.figure.startswith("rows") for bar in self.bars)


def run(command: Command) -> Step:
    return lambda place: place.run(command(place))


def importing(share: float = 0.0) -> Step:
    """Digital Onboarding's export of everybody; or of this share of them, with an edit of each."""

    def step(place: Place) -> None:
        path = place.export(ceil(place.served.size.contacts * share))
        place.run(bridge("import", str(path))(place))

    return step


def edit(share: float) -> Step:
    """Of OnVoard's contacts, without a trace."""
    return lambda place: place.served.post(f"/bench/edit?contacts={ceil(place.served.size.contacts * share)}")


MIGRATED = run(bridge("db", "upgrade"))
FILLED = (MIGRATED, run(bridge("backfill")))
# Nobody is made anywhere, and nobody is asked about: what is linked is all there is.
QUIET = {
    "BRIDGE_DIGITAL_ONBOARDING__REFRESH": "off",
    "BRIDGE_IDENTITY__CREATE_ON_ONVOARD": "false",
    "BRIDGE_IDENTITY__CREATE_ON_DIGITAL_ONBOARDING": "false",
}
LINKED = (*FILLED, importing(), run(bridge("sync")))

PULLING = (BRIDGE, PLAIN, DLT_ARROW, DLT_ARROW_RAW, DLT_REST, SINGER, LOAD_LIMIT)
_REREAD = (BRIDGE, DLT_ARROW, DLT_REST)
_BACKFILL = Scenario(
    "backfill", "Backfill, answers at once", Size(100_000, 50_000, 200_000),
    before={contestant: (MIGRATED,) if contestant in (BRIDGE, LOAD_LIMIT) else () for contestant in PULLING},
    commands={contestant: contestant.pull for contestant in PULLING},
    bars=(
        Bar(2.0, DLT_ARROW, kinds=(POSTGRES,)), Bar(3.0, PLAIN, kinds=(POSTGRES,)),
        Bar(0.5, LOAD_LIMIT, kinds=(POSTGRES,)), Bar(3.0, DLT_ARROW, kinds=(SQLITE,)),
    ),
    pulls=True,
)  # fmt: skip
_BURST = (
    Bar(50.0, figure="median ms", sense="at most"), Bar(0, figure="lost", sense="exactly"),
    Bar(0, figure="refused", sense="exactly"),
)  # fmt: skip

SCENARIOS = (
    _BACKFILL,
    replace(
        _BACKFILL, name="backfill-40ms", title="Backfill, answers after 40 ms", latency_ms=40.0,
        bars=(Bar(2.5, DLT_ARROW, kinds=(POSTGRES,)), Bar(8.0, DLT_REST, kinds=(POSTGRES,))),
    ),
    Scenario(
        "resync", "A hundredth of the contacts was edited; everything is read again", Size(100_000),
        before={BRIDGE: (*FILLED, edit(0.01))} | {peer: (run(peer.pull), edit(0.01)) for peer in _REREAD[1:]},
        commands={peer: peer.pull for peer in _REREAD},
        bars=(Bar(15.0, DLT_ARROW), Bar(15.0, DLT_REST), Bar(0.01, figure="rows/record", sense="exactly")),
    ),
    Scenario(
        "unchanged", "A sync of a world in which nothing happened", Size(20_000, 10_000, 40_000),
        before={BRIDGE: (*FILLED, run(bridge("sync")), run(bridge("sync")))},
        commands={BRIDGE: bridge("sync")},
        bars=(Bar(0, figure="written", sense="exactly"), Bar(0, figure="rows", sense="exactly")),
    ),
    Scenario(
        "push-onvoard", "20,000 OnVoard contacts pushed, 32 at a time, answers after 40 ms", Size(24_000),
        before={BRIDGE: (*LINKED, importing(5 / 6))},
        commands={BRIDGE: bridge("sync", "--allow-mass-change")},
        latency_ms=40.0,
        settings=QUIET | {"BRIDGE_ONVOARD__CONCURRENCY": "32"},
        expected=lambda size: ceil(size.contacts * 5 / 6),
        bars=(Bar(0.85 * 32 / 0.040, figure="pushed/s"),),
    ),
    Scenario(
        "wire-digital-onboarding", "100,000 upserts in batches of 1,000, the client alone", Size(100_000),
        before={BRIDGE: ()},
        commands={
            BRIDGE: lambda place: [
                sys.executable, "-m", "benchmarks.peers.wire", place.served.url, str(place.served.size.contacts),
                str(min(1_000, place.served.size.contacts)), "4",
            ]
        },
        expected=lambda size: size.contacts,
        bars=(Bar(50_000, figure="pushed/s"),),
    ),
    Scenario(
        "push-digital-onboarding", "100,000 people made on Digital Onboarding, in two steps, with all bookkeeping",
        Size(100_000),
        before={BRIDGE: FILLED},
        commands={BRIDGE: bridge("sync")},
        settings={"BRIDGE_DIGITAL_ONBOARDING__BATCH_SIZE": "1000"},
        expected=lambda size: 2 * size.contacts,
    ),
    Scenario(
        "burst", "5,000 webhooks over 32 connections while a backfill beside the daemon reads 100,000 contacts",
        Size(100_000),
        before={BRIDGE: (MIGRATED,), BARE: (MIGRATED,)},
        commands={BRIDGE: burst(), BARE: BARE.pull},
        bars=_BURST,
    ),
    Scenario(
        "burst-own", "5,000 webhooks over 32 connections while the daemon itself reads 100,000 contacts first",
        Size(100_000),
        before={BRIDGE: (MIGRATED,)},
        commands={BRIDGE: burst("--own")},
        bars=_BURST,
    ),
    Scenario(
        "reconcile", "1,000,000 linked people, of whom a hundredth changed: until the first push leaves",
        Size(1_000_000),
        before={BRIDGE: (*LINKED, importing(0.01))},
        commands={BRIDGE: bridge("sync")},
        settings=QUIET,
        expected=lambda size: ceil(size.contacts * 0.01),
        bars=(Bar(20.0, figure="lead s", sense="at most"),),
        rounds=1,
    ),
    *(
        replace(
            _BACKFILL, name=f"curve-{people}", title=f"Backfill of {people:,} people and what belongs to them",
            size=Size(people, people // 2, people * 2), commands={BRIDGE: BRIDGE.pull}, bars=(), rounds=1,
        )
        for people in (10_000, 100_000, 1_000_000)
    ),
)  # fmt: skip
MEMORY = Bar(250.0, figure="peak MB", sense="at most")
"""Of the bridge, in every scenario."""
