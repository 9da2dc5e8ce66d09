"""Worlds in which a law did not hold once: they are played at every `make test`.

A seed is a world as long as the simulator stays as it is; what a bug needs is in a test of its own as well.
"""

REGRESSIONS: dict[int, str] = {
    8: "law 4: a patch right after an opt-out left the flag out, and a platform that falls back to defaults raised it",
    22: "law 4: the same, with a field that was changed in the same cycle",
    9016: "law 1: an unsuppressed person, whose unique_id was their address in capitals, was asked about in lower case",
    20217: "law 1: an opt-out was sent for ever to whom has the address of somebody erased",
    30105: "law 6: an address that somebody else had been given, which only a sweep would read, made a dead letter",
    30143: "law 6: a push that was blanked while it was on its way, by an erasure, came back empty",
    30154: "law 2: a creation of unknown outcome took over somebody who had been linked to another contact since",
    30217: "law 2: a creation that was sent again overwrote the e-mail that its user had changed",
    30375: "law 2: who waited for an address whose holder was stopped by a conflict was asked nothing",
    40180: "law 1: who was frozen late in a run was opted out in the next one; after a suppression, unasked",
    1200089: "law 2: the history of somebody whose unique_id was that of somebody suppressed, in capitals, was erased",
    1200169: "law 2: the same as 30375",
    203807731: "law 4: an old export, with the record before the one that was made anew, took back that one's opt-out",
    203807514: "law 1: who had the former address of somebody removed over there was created for ever, as them",
    203808070: "law 4: who was opted in again while stopped by a conflict was not asked about",
    204000419: "crashed: a key that was staged once more was erased into the same hash as its first",
    204000458: "law 1: somebody unlinked, moved to an erased address, was opted out of the former one for ever",
    30021: "what a loader had set stayed on the contact that was the person's before",
}
