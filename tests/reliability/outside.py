"""The platforms and the command as a user has them: processes of their own, reached by HTTP, signals and files."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.processes import Process

SECRET = "the-secret"


class Platforms:
    """`contact-bridge sandbox --empty`, and what its users do there: `onvoard("unsubscribe", "jane@example.com")`."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "sandbox.log"
        self._process = Process(["sandbox", "--empty"], folder, {}, self._log, self._log)
        self._http = httpx.Client(trust_env=False, timeout=20)
        until(lambda: self._log.read_text().count("export BRIDGE_DIGITAL_ONBOARDING__CLIENT_SECRET="))
        said = re.findall(r"^export ([A-Z_]+)=(.*)$", self._log.read_text(), re.MULTILINE)
        self.environment = {name: shlex.split(value)[0] for name, value in said if name != "BRIDGE_DATABASE_URL"}

    def _ask(self, platform: str, path: str, method: str = "GET", body: Any = None) -> Any:
        url = f"{self.environment[f'BRIDGE_{platform}__BASE_URL']}/_sandbox/{path}"
        answer = self._http.request(method, url, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def onvoard(self, method: str, *args: Any, **kwargs: Any) -> Any:
        body = {"method": method, "args": args, "kwargs": kwargs}
        return self._ask("ONVOARD", "console", "POST", body)["result"]

    def digital(self, method: str, *args: Any, **kwargs: Any) -> Any:
        body = {"method": method, "args": args, "kwargs": kwargs}
        return self._ask("DIGITAL_ONBOARDING", "console", "POST", body)["result"]

    def journal(self, since: int = 0, *, writes: bool = False) -> Any:
        return self._ask("ONVOARD", f"journal?since={since}&writes={str(writes).lower()}")

    def trouble(self, *faults: dict[str, Any]) -> None:
        """These and no others, on both platforms, until the next call."""
        for platform in ("ONVOARD", "DIGITAL_ONBOARDING"):
            self._ask(platform, "faults", "DELETE")
            for fault in faults:
                self._ask(platform, "faults", "POST", {"path": "/v*", "times": None, **fault})

    def stop(self) -> None:
        self._http.close()
        self._process.kill()
        self._process.wait()


class Command:
    """`contact-bridge …` on one mirror. What a process says is kept in a file of its own in `folder`. No file that it
    writes grows beyond `file_size` bytes."""

    file_size = 0

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self._count = 0

    def start(self, line: str, **more: str) -> Process:
        self._count += 1
        log = self.folder / f"{self._count:03}-{line.split()[0]}.log"
        return Process(shlex.split(line), self.folder, self.environment | more, log, log, self.file_size)

    def said(self) -> str:
        """By the last one."""
        return next(self.folder.glob(f"{self._count:03}-*.log")).read_text()

    def run(self, line: str, **more: str) -> float:
        """To its end, which must be a good one. -> seconds"""
        began = time.monotonic()
        process = self.start(line, **more)
        assert process.wait(timeout=60) == 0, f"{line}: {process.returncode}\n{self.said()}"
        return time.monotonic() - began

    def end(self, line: str, number: int, is_time: Callable[[float], bool], **more: str) -> float | None:
        """Starts it, and sends the signal when `is_time` at its age in seconds. -> its age where it ended sooner"""
        began = time.monotonic()
        process = self.start(line, **more)
        try:
            while process.poll() is None and not is_time(time.monotonic() - began):
                time.sleep(0.02)
            age = None if process.poll() is None else time.monotonic() - began
            process.send_signal(number)
            code = process.wait(timeout=15)
        finally:
            process.kill()
            process.wait()
        assert code in ((0, -number) if age is None else (0, 1, 3)), f"{line}: {code}\n{self.said()}"
        assert not re.search("Traceback|unexpected", self.said()), self.said()
        return age


def until(what: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.03)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


SIGKILL, SIGTERM = signal.SIGKILL, signal.SIGTERM
