"""What goes into and comes out of an emulated call, free of any web framework."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """One request: path parameters in `parts`, the last value of each query parameter in `query`, raw `body`."""

    method: str
    path: str
    parts: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def fields(self) -> dict[str, Any]:
        """The body as a JSON object (an empty body counts as `{}`). Raises Refusal 400 for anything else."""
        if not self.body.strip():
            return {}
        try:
            payload = json.loads(self.body)
            # Python also reads NaN, 1e400 and half characters, which no answer and no webhook could carry.
            json.dumps(payload, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            raise Refusal(400, "The body is not valid JSON.") from None
        if not isinstance(payload, dict):
            raise Refusal(400, "The body must be a JSON object.")
        return payload


@dataclass
class Reply:
    """One answer: `payload` becomes JSON unless it is bytes; extra `headers` are added."""

    status: int
    payload: Any
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """The platform says no: becomes `status` with `{"detail": message}`, or with `payload` where one is given."""

    def __init__(self, status: int, message: str, payload: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.payload = {"detail": message} if payload is None else payload


Handler = Callable[[Call], Reply]
