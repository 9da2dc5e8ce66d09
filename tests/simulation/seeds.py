"""Worlds in which a law did not hold once: they are played at every `make test`.

A seed is a world as long as the simulator stays as it is; what a bug needs is in a test of its own as well, so that
those that the simulator has outgrown are taken out.
"""

REGRESSIONS: dict[int, str] = {
    204000419: "crashed: a key that was staged once more was erased into the same hash as its first",
    204000458: "law 1: somebody unlinked, moved to an erased address, was opted out of the former one for ever",
    30021: "what a loader had set stayed on the contact that was the person's before",
}
