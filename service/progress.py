"""What long work says about itself while it runs."""

from __future__ import annotations

from typing import Protocol


class Stopped(Exception):
    """The run is asked to end here: between two steps, with everything so far on record."""


class Progress(Protocol):
    def advance(self, stream: str, records: int) -> None:
        """`records` more of a stream are done. May raise Stopped."""


class Silent:
    def advance(self, stream: str, records: int) -> None:
        pass
