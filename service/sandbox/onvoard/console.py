"""The OnVoard account as its own user sees it: what tests and the demo do "in the console"."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.sandbox.clock import Clock
from service.sandbox.locking import locked
from service.sandbox.onvoard import activities, contact_shape, contacts, events, predefined, reviews, shop_events
from service.sandbox.onvoard.settings import OnVoardSettings
from service.sandbox.onvoard.store import Contact, Product, Store

TOP_LEVEL = {
    "email",
    "name",
    "phone",
    "accepts_marketing_emails",
    "email_unsubscribed",
    "email_double_optin_status",
    "lists",
    "tags",
    "properties",
}

# What may be called by `POST /_sandbox/console`.
_CONSOLE = """
    activity_list add_activity add_contact add_list add_product add_review contact contact_list delete_contact
    edit_contact fire_event hard_bounce mark_as_spam notify_back_in_stock respond_to_prompt resubscribe review_list
    subscribe_back_in_stock suppress unsubscribe unsuppress
"""


class OnVoard(Store):
    """State of the emulated account. Contacts are named by id or by e-mail; all methods are thread-safe.

    Methods raise Refusal where the platform would refuse, KeyError where nothing has the name. Edits fire webhooks.
    """

    CONSOLE = frozenset(_CONSOLE.split())

    def __init__(self, clock: Clock | None = None, settings: OnVoardSettings | None = None) -> None:
        super().__init__(clock, settings)
        predefined.install(self)
        self.segments[self.new_id("ctseg_")] = ("Not from EU", lambda c: not self._is_from_eu(c))
        self.segments[self.new_id("ctseg_")] = ("Sendable subscribers", self._is_subscriber)

    def _is_from_eu(self, contact: Contact) -> bool:
        return bool(contact_shape.properties(self, contact).get("is_from_eu", False))

    @staticmethod
    def _is_subscriber(contact: Contact) -> bool:
        return contact.accepts_marketing_emails and contact_shape.sendable(contact)

    @locked
    def record(self, who: str) -> Contact:
        """The stored contact with this id or e-mail. Raises KeyError."""
        found = self.contacts.get(who) or self.find_contact(who)
        if found is None:
            raise KeyError(who)
        return found

    @locked
    def contact(self, who: str) -> dict[str, Any]:
        """The Contact Object, as the API shows it."""
        return contact_shape.render(self, self.record(who))

    @locked
    def contact_list(self) -> list[dict[str, Any]]:
        """All Contact Objects, oldest first."""
        return [contact_shape.render(self, each) for each in self.contacts.values()]

    @locked
    def add_contact(self, email: str, *, at: datetime | None = None, **fields: Any) -> dict[str, Any]:
        """A new contact, created `at` (default: now). Fields as in edit_contact."""
        return contact_shape.render(self, contacts.create(self, {"email": email, **_sorted_out(fields)}, at))

    @locked
    def edit_contact(self, who: str, *, at: datetime | None = None, **fields: Any) -> dict[str, Any]:
        """Change fields: those of the API by name, any other name is a property (None unsets it).

        `at` sets the modified time; by default the clock does.
        """
        contact = contacts.patch(self, self.record(who), _sorted_out(fields))
        contact.modified = at or contact.modified
        return contact_shape.render(self, contact)

    @locked
    def unsubscribe(self, who: str) -> dict[str, Any]:
        """The person clicks "unsubscribe": the flag, and an `email_unsubscribed` activity."""
        contact = self.record(who)
        shown = self.edit_contact(contact.id, email_unsubscribed=True)
        self.add_activity(contact.id, "email_unsubscribed", email_name="newsletter")
        return shown

    @locked
    def resubscribe(self, who: str) -> dict[str, Any]:
        """The person opts in again."""
        return self.edit_contact(who, email_unsubscribed=False)

    @locked
    def suppress(self, who: str) -> dict[str, Any]:
        """The user suppresses the contact."""
        return contact_shape.render(self, contacts.suppress(self, self.record(who)))

    @locked
    def unsuppress(self, who: str) -> dict[str, Any]:
        """The user lifts the suppression."""
        return contact_shape.render(self, contacts.unsuppress(self, self.record(who)))

    @locked
    def delete_contact(self, who: str) -> None:
        """The user deletes the contact."""
        contacts.delete(self, self.record(who))

    @locked
    def mark_as_spam(self, who: str) -> dict[str, Any]:
        """The person reports an e-mail as spam; for good."""
        return self._flag(who, "email_marked_as_spam")

    @locked
    def hard_bounce(self, who: str) -> dict[str, Any]:
        """An e-mail bounced for good."""
        return self._flag(who, "email_hard_bounced")

    def _flag(self, who: str, name: str) -> dict[str, Any]:
        contact = self.record(who)
        setattr(contact, name, True)
        contacts.touch(self, contact)
        return contact_shape.render(self, contact)

    @locked
    def add_list(self, name: str) -> str:
        """A contact list; its id."""
        new = self.new_id("ctlist_")
        self.lists[new] = name
        return new

    @locked
    def add_product(self, external_id: str, name: str, group_id: str | None = None) -> str:
        """A product of the shop; its id."""
        url = f"https://shop.example.com/products/{external_id}"
        new = Product(self.new_id("prd_"), self.next_seq(), external_id, name, url, f"{url}.jpg", group_id)
        self.products[new.id] = new
        return new.id

    @locked
    def add_activity(self, who: str, type: str, *, at: datetime | None = None, **data: Any) -> dict[str, Any]:
        """A happening of any type, native ones included, `at` a time (default: now). Raises KeyError."""
        resource = self.find_resource(type)
        if resource is None:
            raise KeyError(type)
        moment = at or self.clock.now()
        return activities.render(self, activities.add(self, self.record(who), resource, moment, data))

    @locked
    def add_review(self, email: str, rating: float, content: str, **fields: Any) -> dict[str, Any]:
        """A review with the arguments of the API's Create Review; PRODUCT and PUBLISHED by default."""
        defaults = {"entity": "PRODUCT", "status": "PUBLISHED", "reviewer_display_name": email.split("@")[0]}
        given = {**defaults, **fields, "reviewer_email": email, "rating": rating, "content": content}
        return reviews.render(self, reviews.create(self, given))

    @locked
    def subscribe_back_in_stock(self, email: str, product_external_id: str, *variant_ids: str) -> dict[str, Any]:
        """A visitor asks to hear when variants of a product are back; the `back_in_stock_subscribed`."""
        product = self._product(product_external_id)
        return shop_events.subscribe(self, contacts.find_or_add(self, email), product, variant_ids)

    @locked
    def notify_back_in_stock(
        self, email: str, product_external_id: str, variant_id: str, variant_title: str = "Default"
    ) -> dict[str, Any]:
        """A variant is back; the `back_in_stock_notification`. KeyError where this visitor has not subscribed."""
        product = self._product(product_external_id)
        return shop_events.notify(self, contacts.find_or_add(self, email), product, variant_id, variant_title)

    def _product(self, external_id: str) -> Product:
        found = next((each for each in self.products.values() if each.external_id == external_id), None)
        if found is None:
            raise KeyError(external_id)
        return found

    @locked
    def respond_to_prompt(
        self, data: dict[str, Any], *, prompt_name: str = "Lead Capture", response_id: str | None = None
    ) -> dict[str, Any]:
        """A visitor fills in a prompt's form, or with `response_id` a further page; the `prompt_response`."""
        return shop_events.respond(self, prompt_name, data, response_id)

    @locked
    def fire_event(self, event_type: str, data: dict[str, Any]) -> None:
        """Send any webhook event as it is: one that the document does not know, or one of a wrong shape.

        Goes to the active webhooks that subscribed to its type.
        """
        events.fire(self, event_type, data)

    @locked
    def activity_list(self, who: str | None = None, type: str | None = None) -> list[dict[str, Any]]:
        """Activity Objects, of a contact or of a type where given, in order of arrival."""
        owner = self.record(who).id if who else None
        return [
            activities.render(self, each)
            for each in self.activities.values()
            if owner in (None, each.contact_id) and type in (None, each.type)
        ]

    @locked
    def review_list(self) -> list[dict[str, Any]]:
        """All Review Objects, in order of arrival."""
        return [reviews.render(self, each) for each in self.reviews.values()]


def _sorted_out(fields: dict[str, Any]) -> dict[str, Any]:
    top = {name: value for name, value in fields.items() if name in TOP_LEVEL}
    extra = {name: value for name, value in fields.items() if name not in TOP_LEVEL}
    if extra:
        top["properties"] = {**top.get("properties", {}), **extra}
    return top
