"""Where OnVoard's document is silent, what the emulator does; each default is the mildest reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class OnVoardSettings:
    """Changeable at any time, from Python or by `PATCH /_sandbox/settings`.

    - `past_end`: what a page past the end gives (trap 32).
    - `boundary`: `exclusive` and `inclusive` compare with microseconds; `truncated` compares whole seconds, exclusive
      on both ends, so that a record of the boundary's own second is missed by `created_after` (trap 35).
    - `suppressed_data`: `erase` blanks a suppressed contact and purges its activities and reviews, `keep` goes on
      showing name, phone and properties, as the document's example does (trap 17).
    - `lists_write`, `tags_write`: whether written lists and tags replace or append (trap 7).
    - `readonly_properties`: whether writing first_name, is_from_eu and the like is ignored or refused (trap 8).
    - `defaults_on_update`: left-out flags go back to their "default value" on PATCH and create-or-update (trap 4).
    - `reformat_phone`: `+1 (415) 555-0101` comes back as `+14155550101` (trap 13).
    - `created_status`: the success code of a creation (trap 38).
    - `strict_patch_kind`: the document's "CUSTOM type and OBJECT kind" taken literally for patches of resource property
      types and activity types.
    - `asset_time_key`: media of review assets carry `created_datetime`, or `created_timestamp` (trap 30).
    - `saved_event_on_suppress`: suppressing fires `contact.saved` (trap 40).
    - `webhook_retry_delay`, `webhook_timeout` in seconds; 20 retries, and 20 failures in a row switch a webhook off.
    """

    past_end: Literal["empty", "404"] = "empty"
    boundary: Literal["exclusive", "inclusive", "truncated"] = "exclusive"
    suppressed_data: Literal["erase", "keep"] = "erase"
    lists_write: Literal["replace", "append"] = "replace"
    tags_write: Literal["replace", "append"] = "replace"
    readonly_properties: Literal["ignore", "reject"] = "ignore"
    defaults_on_update: bool = False
    reformat_phone: bool = True
    created_status: int = 201
    strict_patch_kind: bool = False
    asset_time_key: Literal["created_datetime", "created_timestamp"] = "created_datetime"
    saved_event_on_suppress: bool = False
    webhook_retry_delay: float = 0.2
    webhook_timeout: float = 10.0
