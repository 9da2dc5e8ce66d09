"""A time on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import click


class Ago(click.ParamType[datetime]):
    """`90d`, `12h` before now; or as `Moment`."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        from service.settings.values import duration

        try:
            return datetime.now(UTC) - duration(value)
        except (ValueError, OverflowError):
            return Moment().convert(value, param, ctx)


class Moment(click.ParamType[datetime]):
    """`YYYY-MM-DD` or ISO 8601; UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither YYYY-MM-DD nor ISO 8601", param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
