"""The lock of a lease on Postgres: an advisory lock of a session of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from service.store.postgres.driver import connect_arguments

if TYPE_CHECKING:
    from service.store.database import Database


class SessionLock:
    """It is the server that notices the end of a holder whose machine has vanished, after a minute; the holder would
    notice the end of its connection earlier (`driver`)."""

    # Older servers do not know every setting; on a socket of the same machine those of TCP are none.
    _SET_UP = """SELECT set_config(known.name, wanted.value, false) FROM pg_settings AS known JOIN (VALUES
        ('idle_session_timeout', '0'), ('statement_timeout', '10s'), ('tcp_keepalives_idle', '30'),
        ('tcp_keepalives_interval', '6'), ('tcp_keepalives_count', '5')) AS wanted (name, value) USING (name)"""
    _KEY = "hashtextextended('contact-bridge lease ' || coalesce(current_schema(), '') || ' ' || %s, 0)"

    def __init__(self, db: Database, name: str) -> None:
        self._db, self._name = db, name
        self._session: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self._watching = False

    async def take(self) -> bool:
        with self._db.translated():
            if self._session is None:
                arguments = connect_arguments(self._db.engine)
                self._session = await psycopg.AsyncConnection.connect(**arguments, autocommit=True)
                await self._session.execute(self._SET_UP)
            found = await self._session.execute(f"SELECT pg_try_advisory_lock({self._KEY})", (self._name,))
            return await found.fetchone() == (True,)

    def watch(self, on_loss: Callable[[], None]) -> None:
        """Nothing is said on this connection, so that whatever can be read is its end, or a notice."""
        assert self._session is not None
        pgconn, loop, fileno = self._session.pgconn, asyncio.get_running_loop(), self._session.fileno()

        def look() -> None:
            try:
                pgconn.consume_input()
            except psycopg.OperationalError:
                loop.remove_reader(fileno)
                self._watching = False
                on_loss()

        loop.add_reader(fileno, look)
        self._watching = True

    async def drop(self) -> None:
        if self._session is None:
            return
        if self._watching:
            asyncio.get_running_loop().remove_reader(self._session.fileno())
        try:  # before the connection is closed, which the server would notice a little later
            with suppress(psycopg.Error):
                await self._session.execute("SELECT pg_advisory_unlock_all()")
        finally:
            await self._session.close()
