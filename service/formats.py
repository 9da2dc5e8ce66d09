"""What a phone number, a country and a time zone look like: the knowledge of libraries, as pure functions."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from zoneinfo import available_timezones

from service.core.mapping import Formats


@lru_cache(maxsize=65536)
def phone_key(text: str, region: str) -> str:
    """E.164 where the number can be read (national ones in the terms of `region`, alpha-2), else its bare digits."""
    import phonenumbers

    first = re.split("[/;,]", text)[0]  # "+12175550173 / home": what follows would be read as a vanity number
    try:
        number = phonenumbers.parse(first if sum(map(str.isdigit, first)) > 4 else text, region or None)
    except phonenumbers.NumberParseException:
        return "".join(c for c in text if c.isdigit()) or text
    extension = f"x{number.extension}" if number.extension else ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) + extension


@lru_cache(maxsize=4096)
def country_code(text: str) -> str | None:
    """`USA`, `us`, `United States` -> `US`; None for what is no country."""
    import pycountry

    try:
        found = pycountry.countries.lookup(text.strip())
    except LookupError:
        return None
    code: str = found.alpha_2
    return code


@cache
def _zones() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones()}


def zone_name(text: str) -> str | None:
    """`america/new_york` -> `America/New_York`; None for what is no IANA time zone."""
    return _zones().get(text.strip().replace(" ", "_").casefold())


FORMATS = Formats(phone_key=phone_key, country_code=country_code, zone_name=zone_name)
