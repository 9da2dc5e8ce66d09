"""Every error that contact-bridge raises on purpose, each with its verdict.

    BridgeError                       exit 1
    ├── UsageError                    exit 2: wrong usage or settings
    │   └── SettingsError               every wrong setting at once
    ├── DatabaseError                 the mirror
    │   ├── NotMigrated               exit 2: names the command to run
    │   ├── NewerDatabase             exit 2: made by a newer contact-bridge
    │   ├── DatabaseUnavailable         cannot be reached, locked, full
    │   │   └── RolledBack                given up for another transaction's sake: it may be tried again
    │   └── ForeignAccount              the mirror belongs to another account (law 11)
    ├── Busy                            another process holds the lease
    ├── NobodyFound                     no such person
    ├── PlanMoved                       what a saved plan rests on has moved
    ├── SuspiciouslyEmpty               a side that suddenly has nobody (law 12)
    ├── RuleBroken                      a call that the platform's document forbids; never sent
    └── PlatformError                 one call to one platform
        ├── Unreachable      RETRY      no connection: the request was not sent
        ├── OutcomeUnknown   LOOK       sent, and no whole answer: it may have taken effect
        ├── RateLimited      RETRY      429, perhaps with Retry-After
        ├── ServerFailed     RETRY      5xx: nobody knows whether it took effect
        ├── Garbled          RETRY      an answer that is not what the document describes
        ├── TooLarge         SPLIT      413
        ├── Rejected         GIVE_UP    400, 409, 422 …: this record is refused
        ├── NotFound         GIVE_UP    404
        └── Denied           ASK        401, 403: credentials or rights

A `PlatformError` names the platform, the call and the status, and never a body, a secret or a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum


class Verdict(Enum):
    """What the caller should do about an error."""

    RETRY = "retry"  # later, the same request
    LOOK = "look"  # find out what happened before anything is sent again
    SPLIT = "split"  # the same records in smaller requests
    GIVE_UP = "give up"  # this record, not its neighbours
    ASK = "ask"  # a person has to act


class BridgeError(Exception):
    """The root. `exit_code` is what a command ends with, `hint` what to type or do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(BridgeError):
    exit_code = 2


class SettingsError(UsageError):
    """All that is wrong with the settings, one line per problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems), hint="contact-bridge check")
        self.problems = tuple(problems)


class DatabaseError(BridgeError):
    pass


class NotMigrated(DatabaseError):
    exit_code = 2


class NewerDatabase(DatabaseError):
    exit_code = 2


class DatabaseUnavailable(DatabaseError):
    MAKE_ROOM = "make room on the database's disk, and run it again"
    """The hint where it is full."""


class RolledBack(DatabaseUnavailable):
    pass


class ForeignAccount(DatabaseError):
    pass


class Busy(BridgeError):
    pass


class NobodyFound(BridgeError):
    pass


class PlanMoved(BridgeError):
    pass


class SuspiciouslyEmpty(BridgeError):
    pass


class RuleBroken(BridgeError):
    pass


class PlatformError(BridgeError):
    """One call that did not end well.

    `platform` is `onvoard` or `digital_onboarding`; `call` is method and route pattern (`GET /v2/contacts/:id`),
    without ids, query or body; `status` is the HTTP status or None where no answer came.
    """

    verdict = Verdict.RETRY

    def __init__(self, platform: str, call: str, detail: str, *, status: int | None = None, hint: str = "") -> None:
        answered = f" answered {status}" if status is not None else ""
        super().__init__(f"{platform}: {call}{answered}: {detail}", hint=hint)
        self.platform = platform
        self.call = call
        self.status = status
        self.detail = detail


class Unreachable(PlatformError):
    pass


class OutcomeUnknown(PlatformError):
    verdict = Verdict.LOOK


class RateLimited(PlatformError):
    """`retry_after` is in seconds; None where the platform did not say."""

    def __init__(
        self, platform: str, call: str, detail: str, *, status: int | None = 429, retry_after: float | None = None
    ) -> None:
        super().__init__(platform, call, detail, status=status)
        self.retry_after = retry_after


class ServerFailed(PlatformError):
    """`retry_after` is in seconds; None where the platform did not say."""

    def __init__(
        self, platform: str, call: str, detail: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(platform, call, detail, status=status)
        self.retry_after = retry_after


class Garbled(PlatformError):
    pass


class TooLarge(PlatformError):
    verdict = Verdict.SPLIT


class Rejected(PlatformError):
    verdict = Verdict.GIVE_UP


class NotFound(PlatformError):
    verdict = Verdict.GIVE_UP


class Denied(PlatformError):
    verdict = Verdict.ASK
