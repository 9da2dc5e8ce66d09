"""A time on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import click


class Moment(click.ParamType[datetime]):
    """`YYYY-MM-DD` or ISO 8601; UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither YYYY-MM-DD nor ISO 8601", param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
