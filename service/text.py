"""Text that came from a platform, made fit to be shown. Standard library alone: every command starts with it."""

from __future__ import annotations

import re

# C0, DEL, C1; lone surrogates; line separators and marks that reverse the direction of what follows.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# How people call the platforms.
SIDES = {"onvoard": "OnVoard", "digital_onboarding": "Digital Onboarding"}
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def clean(text: str) -> str:
    r"""Control characters become visible, `\x1b` for an escape, so that none is obeyed and none is lost."""
    return CONTROL.sub(_visible, text)


def _visible(found: re.Match[str]) -> str:
    char = found[0]
    code = ord(char)
    return _SHORT.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def duration(seconds: float | None) -> str:
    """In the two largest units: `2 d 3 h`."""
    if seconds is None:
        return ""
    left, parts = int(seconds), []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"
