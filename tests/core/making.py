"""Pairs of records for the tests of the core, and the default mapping with the real formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from service.core.mapping import Authority, ClearWith, FieldMap, FieldRule, Kind
from service.core.reconcile import reconcile
from service.core.records import Base, Bases, Decision, Native, Pair, Platform, Snapshot
from service.formats import FORMATS

OV, DO = Platform.ONVOARD, Platform.DIGITAL_ONBOARDING
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
EARLY, LATE = NOON - timedelta(hours=1), NOON + timedelta(hours=1)

RULES = (
    FieldRule("name", "name", ("name_first", "name_last"), Kind.NAME),
    FieldRule("phone", "phone", ("phone_mobile",), Kind.PHONE),
    FieldRule("address", "properties.street_address", ("address",)),
    FieldRule("city", "properties.city", ("city",)),
    FieldRule("state", "properties.region", ("state",)),
    FieldRule("post_code", "properties.postal_code", ("post_code",)),
    FieldRule("country", "properties.country", ("country",), Kind.COUNTRY),
    FieldRule("timezone", "properties.timezone", ("timezone",), Kind.TIMEZONE),
)


def field_map(clear_with: ClearWith = ClearWith.EMPTY, **authority: Authority) -> FieldMap:
    """The contract's table; `authority` by field name."""
    rules = [replace(rule, authority=authority.get(rule.name, Authority.BOTH)) for rule in RULES]
    return FieldMap(rules, FORMATS, clear_with)


MAPPING = field_map()


def pair(
    onvoard: Mapping[str, Native],
    digital: Mapping[str, Native],
    *,
    base: Mapping[str, Native] | None = None,
    bases: tuple[Mapping[str, Native], Mapping[str, Native]] | None = None,
    edited: tuple[datetime | None, datetime | None] = (None, None),
    opted_out: tuple[bool, bool] = (False, False),
    opted_out_base: tuple[bool | None, bool | None] = (False, False),
) -> Pair:
    """`base`: what both sides looked like when they last agreed; `bases` where they looked different. (OnVoard, DO)"""
    of_ov, of_do = bases or (base or {}, base or {})
    return Pair(
        Snapshot("ct_1", onvoard, opted_out[0], edited[0]),
        Snapshot("u1", digital, opted_out[1], edited[1]),
        Bases(Base(of_ov, opted_out_base[0]), Base(of_do, opted_out_base[1])),
    )


def decide(
    onvoard: Mapping[str, Native], digital: Mapping[str, Native], mapping: FieldMap = MAPPING, **of: Any
) -> Decision:
    return reconcile(pair(onvoard, digital, **of), mapping)


def pushed(decision: Decision) -> dict[tuple[Platform, str], Native]:
    fields = [(push.platform, push.field) for push in decision.pushes]
    assert len(fields) == len(set(fields)), "one push per field and side"
    return {(push.platform, push.field): push.value for push in decision.pushes}


def nothing(decision: Decision) -> bool:
    """Nothing to write, and nothing to tell anybody."""
    return not (decision.pushes or decision.losses or decision.refusals or decision.opt_outs or decision.opt_ins)
