"""Digital Onboarding upserts by contact-bridge's own client, and nothing else: no mirror, no outbox.

    python -m benchmarks.peers.wire <base URL> <contacts> <contacts a batch> <requests in flight>
"""

from __future__ import annotations

import asyncio
import gc
import sys

from service.platforms.digital_onboarding.client import DigitalOnboarding
from service.platforms.transport import Limits


async def main(base_url: str, contacts: int, batch: int, in_flight: int) -> None:
    limits = Limits(requests_per_second=None, max_in_flight=in_flight)
    async with DigitalOnboarding(base_url, "benchmark", "benchmark", limits=limits) as client:
        starts = iter(range(0, contacts, batch))

        async def work() -> None:
            for start in starts:
                answer = await client.upsert_contacts([_contact(number) for number in range(start, start + batch)])
                assert len(answer.new) + len(answer.existing) == batch

        await asyncio.gather(*(work() for _ in range(in_flight)))


def _contact(number: int) -> dict[str, object]:
    return {
        "unique_id": f"person.{number}@example.com", "email": f"Person.{number}@example.com", "name_first": "Jane",
        "name_last": "Doe", "phone_mobile": f"+1212555{number % 10_000:04d}", "city": "New York", "country": "US",
        "timezone": "America/New_York",
    }  # fmt: skip


if __name__ == "__main__":
    gc.freeze()  # as every command of contact-bridge does before it begins to work
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
