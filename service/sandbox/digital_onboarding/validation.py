"""Which contact objects are refused, and how (API document: Contacts; the refusals themselves are not documented)."""

from __future__ import annotations

from typing import Any

from service.sandbox.digital_onboarding.settings import DigitalOnboardingSettings
from service.sandbox.digital_onboarding.store import FLAG_FIELDS, TEXT_FIELDS, Store
from service.sandbox.exchange import Refusal


def unprocessable(errors: dict[str, list[str]]) -> Refusal:
    """A 422: `{"errors": {field: [problem]}}`. It does not say which member of a batch is meant."""
    return Refusal(422, "unprocessable", {"errors": errors})


def check_contact(store: Store, sent: Any) -> dict[str, Any]:
    """The contact object as sent, or a 422: wrong types, an e-mail without `@`, an unknown template."""
    if not isinstance(sent, dict):
        raise unprocessable({"contact": ["must be an object"]})
    errors: dict[str, list[str]] = {}
    for name in ("unique_id", *TEXT_FIELDS):
        if sent.get(name) is not None and not isinstance(sent[name], str):
            errors[name] = ["must be a string"]
    for name in FLAG_FIELDS:
        if not isinstance(sent.get(name), bool | None):
            errors[name] = ["must be a boolean"]
    if not isinstance(sent.get("meta_public"), dict | None):
        errors["meta_public"] = ["must be an object"]
    email = sent.get("email")
    if isinstance(email, str) and email and "@" not in email:
        errors["email"] = ["has invalid format"]
    template = template_id(store.settings, sent)
    if template is not None and template not in store.templates:
        errors["journey"] = ["template does not exist"]
    errors.update(_blanks(store.settings, sent))
    if errors:
        raise unprocessable(errors)
    return sent


def _blanks(settings: DigitalOnboardingSettings, sent: dict[str, Any]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for name in (*TEXT_FIELDS, *FLAG_FIELDS, "meta_public"):
        if name not in sent:
            continue
        if sent[name] is None and settings.on_null == "reject":
            errors[name] = ["can't be null"]
        if sent[name] == "" and settings.on_empty == "reject":
            errors[name] = ["can't be blank"]
    return errors


def template_id(settings: DigitalOnboardingSettings, sent: dict[str, Any]) -> Any:
    """The template that a contact object asks a journey of, nested or (by setting) dotted; None where it asks none."""
    nested = sent.get("journey")
    if isinstance(nested, dict) and nested.get("template_id"):
        return nested["template_id"]
    return (sent.get("journey.template_id") or None) if settings.dotted_journey else None
