"""`contact-bridge people`: links joined and cut by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import click

from service.cli import output
from service.cli.context import Context, pass_context
from service.cli.sync import LEASE_WAIT

if TYPE_CHECKING:
    from service.store.database import Connection, Database

T = TypeVar("T")
_REASON = click.option("--reason", metavar="TEXT", help="Why; it is kept.")


@click.group()
def people() -> None:
    """Say who is the same person, and who is not. The next sync carries it out."""


async def in_turn(database: Database, work: Callable[[Connection], T]) -> T:
    """`work` in one transaction, while nobody else decides anything."""
    from service.store.lease import lease

    async with lease(database, "cycle", wait=LEASE_WAIT):
        return await database.run(work)


@people.command()
@click.argument("who_onvoard", metavar="WHO_ON_ONVOARD")
@click.argument("who_digital", metavar="WHO_ON_DIGITAL_ONBOARDING")
@_REASON
@pass_context
def link(ctx: Context, who_onvoard: str, who_digital: str, reason: str | None) -> None:
    """Join two contacts, named by an id or an e-mail, as one person. Both histories stay."""
    from service import relinking

    now = datetime.now(UTC)
    _tell(ctx, lambda conn: relinking.link(conn, who_onvoard, who_digital, reason, now))


@people.command()
@click.argument("who")
@click.argument("who_digital", metavar="[WHO_ON_DIGITAL_ONBOARDING]", required=False)
@_REASON
@pass_context
def unlink(ctx: Context, who: str, who_digital: str | None, reason: str | None) -> None:
    """Cut the link of WHO, or tell two contacts apart. No rule links them again until `link` does."""
    from service import relinking

    now = datetime.now(UTC)
    _tell(ctx, lambda conn: relinking.unlink(conn, who, who_digital, reason, now))


def _tell(ctx: Context, work: Callable[[Connection], str]) -> None:
    output.write_line(f"{ctx.run(in_turn(ctx.database(), work))}.")
    output.write_line("To carry it out: contact-bridge sync")
