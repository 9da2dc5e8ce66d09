"""`make conformance`: the suite against the servers that the settings name, once somebody has confirmed it.

Without that it says what it would do, sends nothing and ends with 2.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from service import settings
from service.errors import BridgeError
from tests.conformance.removing import sweep
from tests.conformance.target import CONSENT, PREFIX, Target

NOTICE = """\
The conformance suite calls every method of both clients on

  OnVoard             {onvoard}
                      ({onvoard_source})
  Digital Onboarding  {digital}
                      ({digital_source})

It makes and removes again, on OnVoard, each with {name} in its name:

  contacts at example.com, who have unsubscribed from e-mail; their properties' types; reviews of the site and of one
  product, not published; webhooks to a host that cannot exist. Some contacts are suppressed and unsuppressed, one is
  put for a moment on one of your lists.

The account's own workflows, notifications, webhooks and segments treat all this like anything else, and so does a
running contact-bridge, which would carry the contacts to Digital Onboarding for good: stop it, and use an account made
for tests. No mail to a contact is asked for.
"""
CONFIRM = "Nothing was sent. To run it:  make conformance CONFIRM=yes"


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__, allow_abbrev=False)
    parser.add_argument("--confirm", default="", help="yes: talk to these servers")
    parser.add_argument("--allow", default="", help=f"what may stay, or be seen: {' '.join(CONSENT)}, or all")
    asked, for_pytest = parser.parse_known_args(given)
    words = frozenset(CONSENT if asked.allow.strip() == "all" else asked.allow.replace(",", " ").split())
    if unknown := sorted(words - CONSENT.keys()):
        parser.error(f"ALLOW: {', '.join(unknown)}: must be of {', '.join(CONSENT)}, or all")
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}-") as folder:
        own = {"database_url": f"sqlite:///{Path(folder) / 'unused.db'}", "state_dir": folder}
        try:
            named = settings.load(own)
            named.require_platforms()
        except BridgeError as error:
            print(error, file=sys.stderr)
            return 2
        target = Target(named, words)
        print(_notice(target), flush=True)
        if asked.confirm != "yes":
            print(CONFIRM, file=sys.stderr)
            return 2
        return _run(target, for_pytest)


def _notice(target: Target) -> str:
    chosen = target.settings
    lines = NOTICE.format(
        onvoard=chosen.onvoard.base_url,
        onvoard_source=chosen.source_of("onvoard.base_url"),
        digital=chosen.digital_onboarding.base_url,
        digital_source=chosen.source_of("digital_onboarding.base_url"),
        name=f"{PREFIX}-{target.run}",
    ).splitlines()
    refused = CONSENT.keys() - target.allowed
    for title, words in (
        ("It also does, because ALLOW says so, and leaves behind what no call removes:", target.allowed),
        ("It does not, and skips the tests that would (ALLOW='...', or ALLOW=all, allows it):", refused),
    ):
        if words:
            lines += ["", title, ""]
        for word in (word for word in CONSENT if word in words):
            lines += textwrap.wrap(CONSENT[word], 118, initial_indent=f"  {word:<12}", subsequent_indent=" " * 14)
    return "\n".join([*lines, ""])


def _run(target: Target, for_pytest: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was made is removed
    try:
        asyncio.run(_reach(target))
    except BridgeError as error:
        print(f"{error}\nNothing was made.", file=sys.stderr)
        return 1
    # What is imported here already cannot be rewritten for pytest's plugins, which is no error of the suite.
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider", "-rs", "--tb=short"]
    here = Path(__file__).parent
    suite = [str(here), f"--ignore={here / 'test_command.py'}"]
    code = int(pytest.main([*suite, *quiet, *for_pytest], plugins=[target]))
    print("Looking for what is left ...", flush=True)
    removed, problems = asyncio.run(sweep(target))
    for title, lines in (
        ("Left behind, as allowed:", [f"{what} {name}" for what, name in target.left.items()]),
        ("Removed only now:", removed),
        ("NOT REMOVED, please look:", [*target.stuck, *problems]),
    ):
        if lines:
            print("\n".join([title, *(f"  {line}" for line in lines)]))
    return code or int(bool(problems))


async def _reach(target: Target) -> None:
    """Both servers answer these credentials; else one would be left half tried."""
    async with target.clients() as bridge:
        await bridge.onvoard.contacts.list(page_size=1)
        await bridge.digital.list_templates()


if __name__ == "__main__":
    sys.exit(main())
