"""The one-way lattice: an opt-out spreads, and nothing of ours ever takes it back (law 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.core.records import BOTH_SIDES, Bases, OptIn, OptOut, Pair, Platform

# The only flags that the bridge writes, and the only value that it writes into them.
FLAGS = {
    Platform.ONVOARD: ("email_unsubscribed",),
    Platform.DIGITAL_ONBOARDING: ("unsubscribe_email", "unsubscribe_sms"),
}
FLAG = {platform: flags[0] for platform, flags in FLAGS.items()}


class ConsentRaised(Exception):
    """A payload that would raise a flag back. It is a defect of ours, and it is never sent."""


def check_payload(platform: Platform, body: Mapping[str, Any]) -> None:
    """The last look before every write."""
    for flag in (*FLAGS[platform], "accepts_marketing_emails", "email_double_optin_status"):
        if flag in body and not (flag in FLAGS[platform] and body[flag] is True):
            raise ConsentRaised(f"{platform}: {flag} may not be written with this value")


def onvoard_opted_out(contact: Mapping[str, Any]) -> bool:
    """Unsubscribed, marked as spam or hard bounced: each is an e-mail opt-out (contract section 4)."""
    flags = ("email_unsubscribed", "email_marked_as_spam", "email_hard_bounced")
    return any(contact.get(flag) is True for flag in flags)


def opted_out_anywhere(person: Mapping[str, Any]) -> bool:
    """Of e-mail, on either side; `person` has the flags of both contacts."""
    return person.get("unsubscribe_email") is True or onvoard_opted_out(person)


def decide(pair: Pair) -> tuple[tuple[OptOut, ...], tuple[OptIn, ...], dict[Platform, bool]]:
    """Pair -> (opt-outs to push, opt-ins to put before a person, what each side's base may become now).

    A side whose flag fell since the last agreement spreads it; its own base advances only when the other side has
    confirmed. A side whose flag rose is only recorded, so that it is asked about once; and not at all where the other
    side shows no opt-out, for then the two agree.
    """
    opt_outs: list[OptOut] = []
    opt_ins: list[OptIn] = []
    bases: dict[Platform, bool] = {}
    for side in BOTH_SIDES:
        was, now = pair.bases.of(side).opted_out, pair.of(side).opted_out
        if now and not was:
            if pair.of(side.other).opted_out:
                bases[side] = True
            else:
                opt_outs.append(OptOut(side.other, began=side))
        elif was and not now:
            if pair.of(side.other).opted_out:
                opt_ins.append(OptIn(side))
            bases[side] = False
        elif was is None:
            bases[side] = False
    # A side that only waits for the other's opt-out keeps its base until that one is confirmed.
    targets = {push.platform for push in opt_outs}
    for side in targets:
        bases.pop(side, None)
    return tuple(opt_outs), tuple(opt_in for opt_in in opt_ins if opt_in.platform not in targets), bases


def confirmed(bases: Bases) -> Bases:
    """The bases after the other side has confirmed an opt-out."""
    return Bases(bases.onvoard.moved({}, opted_out=True), bases.digital_onboarding.moved({}, opted_out=True))
