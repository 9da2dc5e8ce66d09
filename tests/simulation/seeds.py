"""Worlds in which a law did not hold once: they are played at every `make test`.

A seed is a world as long as the simulator stays as it is; what a bug needs is in a test of its own as well.
"""

REGRESSIONS: dict[int, str] = {
    8: "law 4: a patch right after an opt-out left the flag out, and a platform that falls back to defaults raised it",
    22: "law 4: the same, with a field that was changed in the same cycle",
}
