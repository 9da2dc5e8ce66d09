"""Names, places and things that the generated world is made of."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A town with a street, the national number of a telephone, and how a careless clerk writes its country."""

    country: str
    sloppy_country: str
    timezone: str
    sloppy_timezone: str
    region: str
    city: str
    postal_code: str
    street: str
    dial: str
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]


_US_FIRST = ("Jane", "Marcus", "Aaliyah", "Scott", "Dolores", "Tyrone", "Mary Ann", "Wyatt", "Priya", "Hank")
_US_LAST = ("Doe", "O'Neill", "Washington", "van Buren", "Lopez-Garcia", "Smith", "Nguyen", "McAllister", "Patel", "Li")
_DE_FIRST = ("Jürgen", "Käthe", "Björn", "Anna-Lena", "Sören", "Ursula")
_DE_LAST = ("Müller", "Weiß", "von der Heide", "Schäfer", "Groß", "Öztürk")
_FR_FIRST = ("Élodie", "François", "Zoé", "Jean-Luc", "Anaïs")
_FR_LAST = ("Lefèvre", "D'Arc", "Côté", "Dubois", "N'Guessan")
_PL_FIRST = ("Łukasz", "Małgorzata", "Żaneta", "Paweł")
_PL_LAST = ("Wójcik", "Śliwiński", "Kowalska", "Brzęczyszczykiewicz")
_JP_FIRST = ("さくら", "Haruto", "結衣", "Yūki")
_JP_LAST = ("佐藤", "Tanaka", "渡辺", "Ōno")
_BR_FIRST = ("João", "Conceição", "Thiago", "Márcia")
_BR_LAST = ("da Silva", "Araújo", "Gonçalves", "dos Santos")
_IE_FIRST = ("Siobhán", "Pádraig", "Aoife", "Conor")
_IE_LAST = ("Ó Súilleabháin", "Murphy", "Ní Bhriain", "O'Reilly")

PLACES = (
    Place("US", "USA", "America/New_York", "EST", "NY", "New York", "10001", "Broadway", "+1212555",
          _US_FIRST, _US_LAST),
    Place("US", "United States", "America/Los_Angeles", "Pacific Time", "CA", "San José", "95112", "The Alameda",
          "+1408555", _US_FIRST, _US_LAST),
    Place("US", "U.S.", "America/Chicago", "Central", "IL", "Springfield", "62701", "Evergreen Terrace", "+1217555",
          _US_FIRST, _US_LAST),
    Place("DE", "Deutschland", "Europe/Berlin", "MEZ", "BE", "Berlin", "10117", "Straße des 17. Juni", "+4930555",
          _DE_FIRST, _DE_LAST),
    Place("FR", "France", "Europe/Paris", "GMT+1", "IDF", "Paris", "75011", "Rue de l'Échiquier", "+331555",
          _FR_FIRST, _FR_LAST),
    Place("PL", "Polska", "Europe/Warsaw", "CET ", "MA", "Kraków", "31-042", "Świętego Jana", "+4812555",
          _PL_FIRST, _PL_LAST),
    Place("JP", "日本", "Asia/Tokyo", "Tokyo", "Tōkyō-to", "渋谷区", "150-0002", "渋谷", "+813555",
          _JP_FIRST, _JP_LAST),
    Place("BR", "Brasil", "America/Sao_Paulo", "BRT", "SP", "São Paulo", "01310-100", "Avenida Paulista", "+5511555",
          _BR_FIRST, _BR_LAST),
    Place("IE", "Ireland", "Europe/Dublin", "Dublin", "D", "Baile Átha Cliath", "D02 X285", "Sráid Uí Chonaill",
          "+3531555", _IE_FIRST, _IE_LAST),
)  # fmt: skip

MAIL_HOSTS = ("example.com", "example.org", "mail.example.net", "corp.example.com")

# external id, name, group
PRODUCTS = (
    ("6304964542601", "Ceramic Piggy Bank", "prdgrp_savings"),
    ("6304964542602", "Ceramic Piggy Bank XL", "prdgrp_savings"),
    ("6304964542603", "Leather Wallet", None),
    ("6304964542604", "Card Holder – Carbon", None),
    ("6304964542605", "Passport Sleeve", None),
    ("6304964542606", "Travel Adapter", None),
    ("6304964542607", "Budget Planner 2026", None),
    ("6304964542608", "Coin Album", None),
    ("6304964542609", "Umbrella “Rainy Day Fund”", None),
    ("6304964542610", "Kids' Savings Game", None),
    ("6304964542611", "Tote Bag", None),
    ("6304964542612", "Gold Bar (chocolate)", None),
)

REVIEW_TEXTS = (
    ("Love it", "Would definitely buy it again."),
    ("", "Does what it says."),
    ("Très bien", "Livraison rapide, très joli cadeau. 👍"),
    ("Naja", "Größe passt nicht, aber schön."),
    ("Broken on arrival", "The corner was chipped.\nSupport was kind, though."),
    ("すごい", "とても気に入りました。"),
    ("OK", 'It\'s fine, "I guess" – a bit pricey; 3,50 more than last year.'),
    ("Never again", "Too small <and> too thin & overpriced."),
)

TEMPLATES = ("Welcome: New Checking Account", "Go Mobile", "Mortgage Onboarding", "Business Banking Kick-off")
CUSTOM_OBJECTIVES = (("first-shop-order", "First Shop Order"), ("branch-visit", "Branch Visit"))
BRANCHES = ("Downtown", "Riverside", "Airport", "Online")
