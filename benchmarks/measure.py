"""What a command costs: its wall time, and the CPU and the memory of it and all its children."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY = 0.2
"""Seconds between two looks at the memory."""
TOLD = "told.json"
"""Where a command leaves figures of its own, in its folder."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds; `began` by the machine's clock. `memory` in MB: the most that the whole family was seen to hold at
    once."""

    began: float
    wall: float
    cpu: float
    memory: float


class Failed(Exception):
    """A command that did not end with 0."""


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], *, allowed: Sequence[int] = (0,)) -> Cost:
    """Raises Failed, with what the command said, where it ends with anything but `allowed`."""
    began, started = time.time(), time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        family = _Family(process.pid)
        family.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - started
        family.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in allowed:
            said.seek(0)
            raise Failed(f"{' '.join(command)} ended with {process.returncode}:\n{said.read()[-4_000:]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere
    # wait4 counts the children that the command itself waited for, and the largest single process.
    memory = max(family.most / 2**20, usage.ru_maxrss / unit)
    return Cost(began, wall, usage.ru_utime + usage.ru_stime, memory)


class _Family(threading.Thread):
    """Watches a process and its descendants: pages that they share are counted once, where the system tells."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process, self._over = psutil.Process(pid), threading.Event()
        self.most = 0

    def run(self) -> None:
        while not self._over.wait(EVERY):
            try:
                members = [self._process, *self._process.children(recursive=True)]
            except psutil.Error:
                return
            self.most = max(self.most, sum(_held(member, alone=len(members) == 1) for member in members))

    def stop(self) -> None:
        self._over.set()
        self.join()


def _held(process: psutil.Process, *, alone: bool) -> int:
    try:
        memory = process.memory_info() if alone else process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(memory, "pss", memory.rss))
