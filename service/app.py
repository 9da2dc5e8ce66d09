"""The composition root: settings -> wired objects. The one place that names both platforms together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service import resources
from service.bridge import Bridge
from service.core.mapping import ClearWith, FieldMap
from service.formats import FORMATS
from service.mapping_file import read_mapping
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.digital_onboarding.wire import JourneyForm
from service.platforms.onvoard.client import OnVoard
from service.platforms.transport import Limits
from service.settings import Settings
from service.store.database import Database


def field_map(settings: Settings) -> FieldMap:
    """The mapping file, or the built-in one where there is none; `SettingsError` for what it cannot mean."""
    path = settings.paths.mapping
    path = path if path.exists() else resources.config_dir() / "mapping.toml"
    return FieldMap(read_mapping(path), FORMATS, ClearWith(settings.digital_onboarding.clear_with))


def open_database(settings: Settings) -> Database:
    return Database(settings.database_url.get_secret_value())


@asynccontextmanager
async def open_bridge(settings: Settings, db: Database) -> AsyncIterator[Bridge]:
    """Clients for both platforms on a database that is the caller's to close."""
    settings.require_platforms()
    ov, do = settings.onvoard, settings.digital_onboarding
    assert ov.api_key and do.client_id and do.client_secret
    max_wait = settings.limits.max_wait.total_seconds()
    onvoard = OnVoard(
        ov.base_url,
        ov.api_key.get_secret_value(),
        limits=Limits(
            requests_per_second=ov.requests_per_second,
            max_in_flight=ov.concurrency,
            read_timeout=ov.timeout.total_seconds(),
            max_wait=max_wait,
        ),
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
        ),
    )
    async with onvoard, digital:
        yield Bridge(settings, db, onvoard, digital, field_map(settings))
