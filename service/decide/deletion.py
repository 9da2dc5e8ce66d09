"""Who is gone from one platform: the operator's policy may opt them out on the other one."""

from __future__ import annotations

from service.core.records import Platform
from service.decide import consent_lane
from service.decide.frame import Frame
from service.store import outbox, people
from service.store.database import Connection

WHY = {Platform.ONVOARD: "removed on digital_onboarding", Platform.DIGITAL_ONBOARDING: "deleted on onvoard"}


def opt_out(conn: Connection, frame: Frame) -> None:
    """Once each (`consent.on_deletion`), and like any other mass change before the brake."""
    for platform in Platform if frame.opt_out_deleted else ():
        for person_id, target in people.left_behind(conn, platform, even_suspicious=not frame.brake):
            if not outbox.opt_out_open(conn, platform, target):
                consent_lane.stage_opt_out(
                    conn, frame, person_id, platform, target, WHY[platform], "held", of_address=True
                )
