"""The Digital Onboarding team as its own user sees it: what tests and the demo do in the admin interface."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.sandbox.clock import iso_micro
from service.sandbox.digital_onboarding import contacts, events
from service.sandbox.digital_onboarding.store import TEAM_ID, Contact, Hook, Store
from service.sandbox.digital_onboarding.validation import check_contact
from service.sandbox.locking import locked

# What may be called by `POST /_sandbox/console`.
_CONSOLE = """
    add_contact add_objective add_template complete_objective completions_of configure_webhook contact
    contact_list edit_contact expire_tokens journeys_of remove_contact rename_contact restore_credentials
    resubscribe start_journey unsubscribe
"""


class DigitalOnboarding(Store):
    """State of the emulated team. Contacts are named by `unique_id`; all methods are thread-safe.

    Methods raise Refusal where the platform would refuse, KeyError where nothing has the name. Edits fire webhooks.
    """

    CONSOLE = frozenset(_CONSOLE.split())

    @locked
    def record(self, unique_id: str) -> Contact:
        """The stored contact. Raises KeyError."""
        found = self.find(unique_id)
        if found is None:
            raise KeyError(unique_id)
        return found

    @locked
    def contact(self, unique_id: str) -> dict[str, Any]:
        """The contact object, as the API shows it."""
        return contacts.render(self, self.record(unique_id))

    @locked
    def contact_list(self) -> list[dict[str, Any]]:
        """All contact objects, oldest first."""
        return [contacts.render(self, each) for each in self.contacts.values()]

    @locked
    def add_contact(self, *, at: datetime | None = None, exported: bool = True, **fields: Any) -> dict[str, Any]:
        """A new contact (Refusal 422, ValueError where the unique_id is taken), inserted `at` (default: now).

        Not `exported`: it exists, but `export_csv` leaves it out.
        """
        sent = check_contact(self, fields)
        unique_id = sent.get("unique_id") or sent.get("email")
        if unique_id and self.find(unique_id):
            raise ValueError(f"unique_id {unique_id!r} is taken")
        contact, _ = contacts.upsert(self, sent)
        if at is not None:
            contact.inserted_at = contact.updated_at = at
        if not exported:
            self.left_out_of_export.add(contact.unique_id)
        return contacts.render(self, contact)

    @locked
    def edit_contact(self, unique_id: str, *, at: datetime | None = None, **fields: Any) -> dict[str, Any]:
        """Change fields; "" or None clears one, whatever the settings say. `at` sets `updated_at` (default: now)."""
        contact = self.record(unique_id)
        check_contact(self, {name: value for name, value in fields.items() if value not in (None, "")})
        for name, value in fields.items():
            if name not in contacts.WRITABLE:
                raise KeyError(name)
            if value in (None, ""):
                contact.fields.pop(name, None)
            else:
                contact.fields[name] = value
        self._touched(contact, at)
        return contacts.render(self, contact)

    def _touched(self, contact: Contact, at: datetime | None = None) -> None:
        contact.updated_at = at or self.clock.now()
        events.contact(self, contact, "contact.updated")

    @locked
    def rename_contact(self, unique_id: str, new_unique_id: str) -> dict[str, Any]:
        """Give a contact another unique_id. ValueError where that is taken."""
        if self.find(new_unique_id):
            raise ValueError(f"unique_id {new_unique_id!r} is taken")
        contact = self.record(unique_id)
        self.id_by_unique_id[new_unique_id] = self.id_by_unique_id.pop(unique_id)
        contact.unique_id = new_unique_id
        self._touched(contact)
        return contacts.render(self, contact)

    @locked
    def remove_contact(self, unique_id: str) -> None:
        """Remove a contact with its journeys and completions; no event says so."""
        contact = self.record(unique_id)
        del self.contacts[contact.id], self.id_by_unique_id[unique_id]
        self.completions = {key: at for key, at in self.completions.items() if key[0] != contact.id}
        self.journeys = {key: each for key, each in self.journeys.items() if each.contact_id != contact.id}

    @locked
    def unsubscribe(self, unique_id: str, *, email: bool = True, sms: bool = False) -> dict[str, Any]:
        """The person opts out of e-mail, SMS or both."""
        wanted = {"unsubscribe_email": email, "unsubscribe_sms": sms}
        flags: dict[str, Any] = {name: True for name, is_wanted in wanted.items() if is_wanted}
        return self.edit_contact(unique_id, **flags)

    @locked
    def resubscribe(self, unique_id: str) -> dict[str, Any]:
        """The person opts in to e-mail again."""
        return self.edit_contact(unique_id, unsubscribe_email=False)

    @locked
    def complete_objective(self, unique_id: str, key: str, at: datetime | None = None) -> None:
        """The person completes an objective. Raises KeyError for an unknown one."""
        contact = self.record(unique_id)
        self.completions.setdefault((contact.id, self.objectives[key].key), at or self.clock.now())
        self._touched(contact)

    @locked
    def completions_of(self, unique_id: str) -> dict[str, str | None]:
        """`{objective key: ISO time}`."""
        owner = self.record(unique_id).id
        return {key: iso_micro(at) for (contact_id, key), at in self.completions.items() if contact_id == owner}

    @locked
    def start_journey(self, unique_id: str, template_id: str) -> str:
        """A user of the team starts a journey; its id. Raises KeyError for an unknown template."""
        contact = self.record(unique_id)
        journey = contacts.add_journey(self, contact, template_id)
        self._touched(contact)
        return journey.id

    @locked
    def journeys_of(self, unique_id: str) -> list[dict[str, Any]]:
        """The contact's journeys: `{"id", "slug", "template_id", "name", "owner_id"}`."""
        owner = self.record(unique_id).id
        keys = ("id", "slug", "template_id", "name", "owner_id")
        return [{k: getattr(each, k) for k in keys} for each in self.journeys.values() if each.contact_id == owner]

    @locked
    def add_template(self, name: str) -> str:
        """A template; its id."""
        new = self.new_id()
        self.templates[new] = name
        return new

    @locked
    def add_objective(self, key: str, name: str) -> str:
        """An objective of the team; its id."""
        return self.add_objective_record(key, name, TEAM_ID).id

    @locked
    def configure_webhook(self, url: str | None, *secrets: str) -> None:
        """Set (or with None remove) the webhook; secrets current first. ValueError for what is no address or secret."""
        if url and not (url.startswith(("http://", "https://")) and all(isinstance(each, str) for each in secrets)):
            raise ValueError("an address with http:// or https://, then the secrets as text")
        self.hook = Hook(url, secrets) if url else None

    @locked
    def expire_tokens(self) -> None:
        """Make all tokens invalid at once."""
        self.tokens.clear()

    @locked
    def restore_credentials(self) -> None:
        """Undo a revocation."""
        self.credentials_revoked = False
