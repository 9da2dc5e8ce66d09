"""Phone numbers, countries and time zones, as the libraries know them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.formats import country_code, phone_key, zone_name


@pytest.mark.parametrize(
    ("one", "other", "region"),
    [
        ("+1 (555) 010-0000", "5550100000", "US"),
        ("+1 (555) 010-0000", "+15550100000", ""),
        ("001 555 010 0000", "+1 555 010 0000", "DE"),
        ("030/12 34 56", "+49 (0)30 123456", "DE"),
        ("555.010.0000", "(555) 010 0000", ""),
        ("555 010 0000 ext. 5", "+1-555-010-0000 x5", "US"),
        ("tel:+15550100000", "+1 555 0100000", ""),
    ],
)
def test_two_spellings_of_one_number(one, other, region):
    assert phone_key(one, region) == phone_key(other, region)


@pytest.mark.parametrize(
    ("one", "other", "region"),
    [
        ("+1 555 010 0000", "+1 555 010 0001", "US"),
        ("030 123456", "+1 30 123456", "DE"),
        ("555 010 0000 ext. 5", "555 010 0000", "US"),
        ("n/a", "unknown", ""),
    ],
)
def test_two_numbers(one, other, region):
    assert phone_key(one, region) != phone_key(other, region)


def test_a_national_number_is_read_in_the_terms_of_its_country():
    assert phone_key("030 123456", "DE") == "+4930123456"
    assert phone_key("030 123456", "") == "030123456"
    assert phone_key("030 123456", "XX") == "030123456"
    assert phone_key("n/a", "") == "n/a"


@given(st.text(alphabet="0123456789+ ()-/.x#;ext٣", max_size=20), st.sampled_from(["", "US", "DE", "AQ", "XX"]))
def test_any_text_has_a_key(text, region):
    assert isinstance(phone_key(text, region), str)
    assert bool(phone_key(text, region)) == bool(text)


@pytest.mark.parametrize("text", ["US", "us", "USA", "usa", " US ", "United States", "840", "united states of america"])
def test_spellings_of_a_country(text):
    assert country_code(text) == "US"


@pytest.mark.parametrize("text", ["", " ", "Narnia", "U", "USAA", "XX", "U.S.", "\x00"])
def test_what_is_no_country(text):
    assert country_code(text) is None


@given(st.text(max_size=12))
def test_a_country_is_alpha_2_or_none(text):
    code = country_code(text)
    assert code is None or (len(code) == 2 and country_code(code) == code)


@pytest.mark.parametrize("text", ["America/New_York", "america/new_york", "AMERICA/NEW YORK", " America/New_York "])
def test_spellings_of_a_time_zone(text):
    assert zone_name(text) == "America/New_York"


@pytest.mark.parametrize("text", ["", " ", "Mars", "New_York", "+02:00", "../../etc/passwd", "America", "\x00"])
def test_what_is_no_time_zone(text):
    assert zone_name(text) is None
