"""The composition root: settings -> wired objects. The one place that names both platforms together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from service.bridge import Bridge, local_now, no_surprises
from service.core.loaders import announced
from service.core.records import Platform
from service.loader_files import read_loaders
from service.mapping_file import field_map
from service.metrics import Requests
from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.digital_onboarding.wire import JourneyForm
from service.platforms.onvoard.client import OnVoard
from service.platforms.transport import Limits
from service.rules_file import ruleset
from service.settings import Settings
from service.store.database import Database
from service.store.rates import SharedBucket


def open_database(settings: Settings) -> Database:
    return Database(settings.database_url.get_secret_value())


@asynccontextmanager
async def open_bridge(
    settings: Settings, db: Database, meters: Mapping[str, Requests] | None = None
) -> AsyncIterator[Bridge]:
    """Clients for both platforms on a database that is the caller's to close. `meters`: what counts their requests."""
    settings.require_platforms()
    ov, do = settings.onvoard, settings.digital_onboarding
    assert ov.api_key and do.client_id and do.client_secret
    max_wait = settings.limits.max_wait.total_seconds()
    surprises, meters = no_surprises(), meters or {}
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
        meter=meters.get(Platform.ONVOARD),
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
        meter=meters.get(Platform.DIGITAL_ONBOARDING),
        on_surprise=surprises[Platform.DIGITAL_ONBOARDING].update,
    )
    async with onvoard, digital:
        mapping, loaders = field_map(settings), read_loaders(settings)
        rules = ruleset(settings, announced(loaders))
        yield Bridge(settings, db, onvoard, digital, mapping, surprises=surprises, rules=rules, loaders=loaders)
