"""`python -m service …` as a process of its own: with its own folder and environment, ended by signals.

It is forked from a process in which everything is imported already: importing takes a new interpreter longer than most
commands take for their work, and there are hundreds of them. (`tests/cli/test_startup.py` and `tests/test_packaging.py`
begin as a user does.)
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from pkgutil import walk_packages

import service

_forking = get_context("forkserver")
_modules = [each.name for each in walk_packages(service.__path__, "service.") if each.name != "service.__main__"]
_forking.set_forkserver_preload([*_modules, "alembic.command", "anyio._backends._asyncio", "pycountry", "uvicorn.main"])


class Process(_forking.Process):
    """As much of `subprocess.Popen` as is asked for. What it says is in the files `out` and `err`; no file that it
    writes grows beyond `file_size` bytes, if it is given."""

    def __init__(
        self, args: Sequence[str], folder: Path, environment: Mapping[str, str], out: Path, err: Path,
        file_size: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(daemon=True)
        self._args, self._folder, self._environment = list(args), folder, {**os.environ, **environment}
        self._files, self._file_size = (out, err), file_size
        for path in self._files:
            path.touch()
        self.start()

    def run(self) -> None:
        os.chdir(self._folder)
        os.environ.clear()
        os.environ.update(self._environment)
        for number, path in enumerate(self._files, 1):
            with path.open("ab") as file:
                os.dup2(file.fileno(), number)
        if self._file_size:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._file_size, self._file_size))
        sys.argv = ["contact-bridge", *self._args]
        from service.cli.main import main

        main()

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.join(timeout)
        if self.exitcode is None:
            raise TimeoutError(f"{self._args} has not ended")
        return self.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid or 0, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
