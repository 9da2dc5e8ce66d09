"""Where Digital Onboarding's document is silent, what the emulator does; each default is the mildest reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class DigitalOnboardingSettings:
    """Changeable at any time, from Python or by `PATCH /_sandbox/settings`.

    - `expires_in`: life of a new token in seconds.
    - `touch_on_probe`: an upsert that changes nothing moves `updated_at`.
    - `omitted`: left-out fields of an update stay, or are cleared (trap 49); `unique_id` always stays.
    - `on_empty`, `on_null`: what `""` and `null` do to a field.
    - `meta_public`: a written object replaces the stored one or is merged into it.
    - `unset_flag`: what an unset `unsubscribe_*` looks like.
    - `max_batch`: longer batches are refused with 413. A batch with a bad member is refused whole with 422.
    - `answer_order`: order of the contacts in a batch answer (trap 53).
    - `dotted_journey`: the literal key `journey.template_id` starts a journey too (trap 51); nested always does.
    - `echo_journey`: answers carry `{"journey": {"template_id": ...}}` of the newest journey.
    - `echo_objectives`: answers carry the keys of completed objectives, with their times.
    - `listing`: `GET /v1/contacts` and `GET /v1/contacts/:id` work (undocumented; 403 otherwise).
    - `webhook_content_type`, `webhook_retry_delay` and `webhook_timeout` in seconds, `webhook_retries`.
    """

    expires_in: int = 7200
    touch_on_probe: bool = False
    omitted: Literal["keep", "clear"] = "keep"
    on_empty: Literal["clear", "ignore", "reject"] = "clear"
    on_null: Literal["clear", "ignore", "reject"] = "clear"
    meta_public: Literal["replace", "merge"] = "replace"
    unset_flag: bool | None = False
    max_batch: int = 1000
    answer_order: Literal["sent", "reversed"] = "sent"
    dotted_journey: bool = True
    echo_journey: bool = False
    echo_objectives: bool = False
    listing: bool = False
    webhook_content_type: str = "application/octet-stream"
    webhook_retry_delay: float = 0.2
    webhook_timeout: float = 10.0
    webhook_retries: int = 5
