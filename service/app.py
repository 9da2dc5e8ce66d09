"""The composition root: settings -> wired objects. The one place that names both platforms together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from service import resources
from service.bridge import Bridge, local_now, no_surprises
from service.core.mapping import ClearWith, FieldMap
from service.core.records import Platform
from service.formats import FORMATS
from service.mapping_file import read_mapping
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.digital_onboarding.wire import JourneyForm
from service.platforms.onvoard.client import OnVoard
from service.platforms.transport import Limits
from service.settings import Settings
from service.store.database import Database
from service.store.rates import SharedBucket


def mapping_path(settings: Settings) -> Path:
    """The mapping file, or the built-in one where there is none."""
    path = settings.paths.mapping
    return path if path.exists() else resources.config_dir() / "mapping.toml"


def field_map(settings: Settings) -> FieldMap:
    """What the mapping file says; `SettingsError` for what it cannot mean."""
    rules = read_mapping(mapping_path(settings))
    return FieldMap(rules, FORMATS, ClearWith(settings.digital_onboarding.clear_with))


def open_database(settings: Settings) -> Database:
    return Database(settings.database_url.get_secret_value())


@asynccontextmanager
async def open_bridge(settings: Settings, db: Database) -> AsyncIterator[Bridge]:
    """Clients for both platforms on a database that is the caller's to close."""
    settings.require_platforms()
    ov, do = settings.onvoard, settings.digital_onboarding
    assert ov.api_key and do.client_id and do.client_secret
    max_wait = settings.limits.max_wait.total_seconds()
    surprises = no_surprises()
    onvoard = OnVoard(
        ov.base_url,
        ov.api_key.get_secret_value(),
        limits=Limits(
            requests_per_second=ov.requests_per_second,
            max_in_flight=ov.concurrency,
            read_timeout=ov.timeout.total_seconds(),
            max_wait=max_wait,
            bucket=SharedBucket(db, Platform.ONVOARD, local_now),
        ),
        on_surprise=surprises[Platform.ONVOARD].update,
    )
    digital = DigitalOnboarding(
        do.base_url,
        do.client_id,
        do.client_secret.get_secret_value(),
        state_dir=settings.state_dir,
        journey_form=JourneyForm(do.journey_key),
        limits=Limits(
            requests_per_second=do.requests_per_second,
            max_in_flight=do.concurrency,
            read_timeout=do.timeout.total_seconds(),
            max_wait=max_wait,
            bucket=SharedBucket(db, Platform.DIGITAL_ONBOARDING, local_now),
        ),
        on_surprise=surprises[Platform.DIGITAL_ONBOARDING].update,
    )
    async with onvoard, digital:
        yield Bridge(settings, db, onvoard, digital, field_map(settings), surprises=surprises)
