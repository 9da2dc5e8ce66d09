"""What long work says about itself while it runs."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    def advance(self, stream: str, records: int) -> None:
        """`records` more of a stream are done."""


class Silent:
    def advance(self, stream: str, records: int) -> None:
        pass
