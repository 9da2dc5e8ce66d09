"""One database, SQLite or Postgres: how it is opened, what a transaction is, and what its failures are called.

Nothing that leaves this module as an error holds SQL, parameters, a password or a person: drivers quote the values
they choke on, so their sentence is kept only where it is about the database or the schema and not about a row.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection as Connection
from sqlalchemy import Engine, StaticPool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.errors import DatabaseError, DatabaseUnavailable, RolledBack, UsageError
from service.store.precedence import Precedence
from service.store.tables import metadata
from service.store.types import document
from service.store.view_tables import people_turn

T = TypeVar("T")
BUSY_SECONDS = 30
LINGER = 0.1
"""Seconds for which others still wait for who went first: of a burst the next ones are about to come."""
ATTEMPTS = 5
"""How often a transaction is begun that ends in deadlocks; all writers order their rows where they can."""
_MIGRATION_LOCK = 7_265_646_374_726_547  # any number, and always this one
_MEMORY = (None, "", ":memory:")
_SQLITE_SETTINGS = ("foreign_keys=ON", "secure_delete=ON", "synchronous=NORMAL")
# SQLite's SQLITE_ERROR (1), CONSTRAINT (19), MISMATCH (20), MISUSE (21) and RANGE (25) are about a statement.
_SQLITE_OUR_FAULT = frozenset({1, 19, 20, 21, 25})
_SQLITE_HINTS = {  # SQLITE_BUSY, IOERR, FULL
    5: "run it again", 10: DatabaseUnavailable.MAKE_ROOM, 13: DatabaseUnavailable.MAKE_ROOM,
}  # fmt: skip

FENCE: ContextVar[Callable[[Connection], None] | None] = ContextVar("fence", default=None)
"""Asked at the beginning of each transaction of `run`: raises where its caller may not write any longer (`lease`)."""


class Database:
    """The mirror's database.

    `url` is `sqlite:///path`, `sqlite://` (memory) or `postgresql://user:password@host/name`; `UsageError` for anything
    else. Nothing is opened before the first transaction. With `inline`, `run` works in the caller's own thread: for a
    simulation whose clock is not the machine's.
    """

    def __init__(self, url: str, *, inline: bool = False) -> None:
        self._url = _parse(url)
        self.name = _name(self._url)
        self.engine: Engine
        self._driver_error: type[Exception]
        self._translate: Callable[[str, Any], DatabaseError]
        if self.dialect == "sqlite":
            self.engine, self._driver_error, self._translate = _sqlite_engine(self._url), sqlite3.Error, _translate
        else:
            from service.store.postgres import driver

            self.engine, self._driver_error, self._translate = driver.engine(self._url), driver.Error, driver.translate
        self._writer = None if inline else ThreadPoolExecutor(1, thread_name_prefix="mirror")
        self._lanes: dict[str, ThreadPoolExecutor] = {}
        self._first = None if inline else ThreadPoolExecutor(1, thread_name_prefix="mirror-first")
        self._precedence = Precedence(self.beside("first")) if self.file and not inline else None
        self._lingering: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._url.get_backend_name()

    @property
    def url(self) -> URL:
        return self._url

    @property
    def file(self) -> Path | None:
        """Where a SQLite database lives; None in memory and on Postgres."""
        name = self._url.database
        return Path(name) if self.dialect == "sqlite" and name not in _MEMORY and name else None

    def beside(self, name: str) -> Path:
        """A file of locks that belongs to a SQLite database."""
        assert self.file is not None
        return self.file.with_name(f".{self.file.name}-leases") / name

    @contextmanager
    def begin(self, *, write: bool = True) -> Iterator[Connection]:
        """One transaction, committed at the end, rolled back by any exception.

        Without `write` it waits for no writer (and Postgres refuses to write). Raises DatabaseUnavailable where the
        database cannot be reached, is locked or full, and DatabaseError where it refuses a statement.
        """
        with self.translated(), self.engine.connect() as connection:
            if not write:
                connection = connection.execution_options(postgresql_readonly=True)
            with connection.begin():
                self._begin_on_sqlite(connection, write=write)
                yield connection

    def _begin_on_sqlite(self, connection: Connection, *, write: bool) -> None:
        """The driver does not. A listener to SQLAlchemy's `begin` could, but every statement would pay for it."""
        if self.dialect == "sqlite":
            driver: Any = connection.connection.driver_connection
            # A transaction that reads first and writes later could not wait for another writer: it would just fail.
            driver.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    async def run(self, work: Callable[[Connection], T], *, first: bool = False) -> T:
        """`work` in one write transaction, in the one writer thread; the same errors as `begin`. What goes `first`
        waits for no other work of this process, and on SQLite for one transaction at most: it has to be short."""
        if self._first is None:
            return self._transaction(work)
        if not first:
            return await asyncio.wrap_future(self._hand_over(work))
        loop = asyncio.get_running_loop()
        if self._lingering is not None:
            self._lingering.cancel()
        try:
            return await loop.run_in_executor(self._first, copy_context().run, self._at_once, work)
        finally:
            if self._precedence is not None:
                self._lingering = loop.call_later(LINGER, self._precedence.drop)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """`work` in one transaction that only reads, in a thread of its own: beside the writers. Errors as `begin`."""

        def reading() -> T:
            with self.begin(write=False) as connection:
                return work(connection)

        return await asyncio.to_thread(reading)

    def submit(self, work: Callable[[Connection], T], lane: str) -> Future[T]:
        """`run`, not waited for: works of a lane are done in the order in which they were given, on Postgres beside
        those of others. Only for what can be read or made again: Postgres does not wait for its disk, and may lose the
        last of them with its machine, whole."""
        return self._hand_over(lambda conn: work(_unwaited(conn)), lane)

    def _hand_over(self, work: Callable[[Connection], T], lane: str = "") -> Future[T]:
        if (writer := self._lane(lane)) is not None:
            return writer.submit(copy_context().run, self._in_turn, work)
        done: Future[T] = Future()
        try:
            done.set_result(self._transaction(work))
        except BaseException as error:  # as an executor does
            done.set_exception(error)
        return done

    def _lane(self, name: str) -> ThreadPoolExecutor | None:
        if self._writer is None or self.dialect == "sqlite" or not name:
            return self._writer
        if name not in self._lanes:
            self._lanes[name] = ThreadPoolExecutor(1, thread_name_prefix=f"mirror-{name}")
        return self._lanes[name]

    def _in_turn(self, work: Callable[[Connection], T]) -> T:
        if self._precedence is not None:
            self._precedence.let_pass()
        return self._transaction(work)

    def _at_once(self, work: Callable[[Connection], T]) -> T:
        if self._precedence is not None:
            self._precedence.take()
        return self._transaction(work)

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        """Again where Postgres has given it up for the sake of another one, which is over by then."""
        for _ in range(ATTEMPTS - 1):
            with suppress(RolledBack):
                return self._attempt(work)
        return self._attempt(work)

    def _attempt(self, work: Callable[[Connection], T]) -> T:
        with self.begin() as connection:
            if (fence := FENCE.get()) is not None:
                fence(connection)
            return work(connection)

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A write transaction for schema changes, one at a time across processes.

        SQLite changes a table by rebuilding it, and dropping the old one would cascade: foreign keys are off
        meanwhile and are checked before the commit.
        """
        with self.translated(), self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            if self.dialect == "sqlite":
                driver.execute("PRAGMA foreign_keys=OFF")
            try:
                with connection.begin():
                    self._begin_on_sqlite(connection, write=True)
                    if self.dialect == "postgresql":
                        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                        connection.exec_driver_sql("SET LOCAL lock_timeout = '10min'")
                        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
                    yield connection
                    if self.dialect == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                        raise DatabaseError(f"{self.name}: the migration breaks a foreign key; nothing was changed")
            finally:
                if self.dialect == "sqlite":
                    driver.execute("PRAGMA foreign_keys=ON")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """The drivers' and SQLAlchemy's errors become this house's, without what they quote."""
        try:
            yield
        except (SQLAlchemyError, self._driver_error) as failure:
            raise self._translated(failure).with_traceback(failure.__traceback__) from None

    def _translated(self, failure: Exception) -> DatabaseError:
        original = failure.orig if isinstance(failure, DBAPIError) else failure
        if isinstance(original, self._driver_error):
            return self._translate(self.name, original)
        if isinstance(failure, PoolTimeout):
            return DatabaseUnavailable(f"{self.name}: no connection became free")
        return DatabaseError(f"{self.name}: {type(failure).__name__}")

    async def tidy(self, *, erased: bool = False) -> bool:
        """At the end of a run: what it wrote leaves SQLite's write-ahead log. With `erased`, what was erased leaves the
        free pages and the dead rows too, of both databases.

        -> False where another process stands in the way: then it is due again
        """
        work = (self._tidy_file if self.file else None) if self.dialect == "sqlite" else self._vacuum_tables
        if work is None or (work == self._vacuum_tables and not erased):
            return True
        if self._writer is None:
            return work(erased)
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, erased)

    def _tidy_file(self, erased: bool) -> bool:
        with self.translated(), self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            vacuumed = True
            if erased:
                try:
                    driver.execute("VACUUM")
                except sqlite3.OperationalError:  # locked, or no room for a second copy
                    vacuumed = False
            (busy, *_) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return vacuumed and not busy

    def _vacuum_tables(self, _erased: bool) -> bool:
        try:
            with self.translated(), self.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT")
                # Always empty, and locked for as long as somebody changes people.
                filled = [name for name, table in metadata.tables.items() if table is not people_turn]
                connection.exec_driver_sql(f"VACUUM {', '.join(filled)}")
        except DatabaseUnavailable:
            return False
        return True

    def close(self) -> None:
        """Ends the writer threads, after what they have begun, and all connections. May be called twice."""
        for thread in (self._writer, self._first, *self._lanes.values()):
            if thread is not None:
                thread.shutdown(wait=True)
        if self._precedence is not None:
            self._precedence.close()
        self.engine.dispose()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # neither message nor cause is kept: they quote the password
        raise UsageError("the database URL cannot be read", hint="sqlite:///bridge.db or postgresql://...") from None
    backend = "postgresql" if parsed.drivername == "postgres" else parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+pysqlite")
    raise UsageError(f"no such kind of database: {backend}", hint="sqlite:///bridge.db or postgresql://...")


def _unwaited(conn: Connection) -> Connection:
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET LOCAL synchronous_commit = off")
    return conn


def _name(url: URL) -> str:
    shown = {key: value for key, value in url.query.items() if key in {"host", "port", "dbname"}}
    return url.set(drivername=url.get_backend_name(), query=shown).render_as_string(hide_password=True)


def _sqlite_engine(url: URL) -> Engine:
    # As many statements are kept prepared as SQLAlchemy keeps compiled: a cycle has more of them than the driver's 128.
    driver = {"timeout": BUSY_SECONDS, "cached_statements": 500}
    arguments: dict[str, Any] = {"hide_parameters": True, "connect_args": driver, "json_serializer": document}
    if url.database in _MEMORY:
        arguments["poolclass"] = StaticPool  # every connection is to the same memory
        arguments["connect_args"]["check_same_thread"] = False
    engine = create_engine(url, **arguments)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver would begin on its own, too late and not always
        for setting in _SQLITE_SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        with suppress(sqlite3.OperationalError):  # another process is switching it at this moment, and it is for good
            connection.execute("PRAGMA journal_mode=WAL")

    return engine


def _translate(name: str, failure: sqlite3.Error) -> DatabaseError:
    code = getattr(failure, "sqlite_errorcode", None)
    if code is None or code & 0xFF in _SQLITE_OUR_FAULT:
        kind = getattr(failure, "sqlite_errorname", type(failure).__name__)
        return DatabaseError(f"{name}: the database refused a statement: {kind}{_unquoted(str(failure))}")
    return DatabaseUnavailable(f"{name}: {failure}", hint=_SQLITE_HINTS.get(code & 0xFF, ""))


def _unquoted(message: str) -> str:
    """SQLite quotes, in double quotes, only what it read in the statement."""
    return "" if '"' in message else f" ({message})"
