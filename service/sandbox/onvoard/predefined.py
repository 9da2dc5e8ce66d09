"""What every OnVoard account has from the start: predefined property types, native resources and activity types."""

from __future__ import annotations

from service.sandbox.onvoard.store import ActivityType, PropertyType, Resource, Store

# key, label, value type, field type (public help: predefined contact properties)
CONTACT_PROPERTIES = [
    ("name", "Name", "STRING", "TEXT"),
    ("email", "Email", "STRING", "EMAIL"),
    ("phone", "Phone", "STRING", "PHONE"),
    ("first_name", "First Name", "STRING", "TEXT"),
    ("last_name", "Last Name", "STRING", "TEXT"),
    ("country", "Country", "STRING", "COUNTRY"),
    ("region", "Region", "STRING", "TEXT"),
    ("city", "City", "STRING", "TEXT"),
    ("street_address", "Street Address", "STRING", "TEXT"),
    ("postal_code", "Postal Code", "STRING", "TEXT"),
    ("timezone", "Timezone", "STRING", "TIMEZONE"),
    ("is_from_eu", "Is from EU", "BOOLEAN", "SWITCH"),
    ("dob", "Date of Birth", "DATETIME", "DATE"),
    ("age", "Age", "NUMBER", "NUMBER"),
    ("days_until_next_birthday", "Days until next Birthday", "NUMBER", "NUMBER"),
]
# Top-level fields and derived values: listed as property types, not writable as properties.
READONLY_PROPERTIES = frozenset(
    {"name", "email", "phone", "first_name", "last_name", "is_from_eu", "age", "days_until_next_birthday"}
)
RESERVED = ("activity_id", "activity_datetime", "contact_id", "contact_email")

EMAIL_KEYS = ["email_id", "email_name", "broadcast_id", "recipient_id"]
ORDER_KEYS = ["order_id", "product_id", "product_name", "currency"]
# key, name, icon, text properties, number properties
NATIVE_ACTIVITIES = [
    ("email_delivered", "Email Delivered", "envelope", EMAIL_KEYS, []),
    ("email_opened", "Email Opened", "envelope", EMAIL_KEYS, []),
    ("email_link_clicked", "Email Link Clicked", "envelope", [*EMAIL_KEYS, "url"], []),
    ("email_unsubscribed", "Email Unsubscribed", "envelope", EMAIL_KEYS, []),
    ("order_placed", "Order Placed", "shopping-cart", ORDER_KEYS, ["total_price"]),
    ("order_fulfilled", "Order Fulfilled", "shopping-cart", ORDER_KEYS, ["total_price"]),
    ("checkout_abandoned", "Checkout Abandoned", "shopping-cart", ["checkout_id"], ["total_price"]),
    ("product_viewed", "Product Viewed", "eye-open", ["product_id", "product_name"], []),
    ("review_created", "Review Created", "star", ["review_id", "product_id"], ["rating"]),
]
NATIVE_OBJECTS = [
    ("", "contact_list", "Contact List", "ONVOARD", "List of contacts."),
    ("shopify", "customer", "Shopify Customer", "EXTERNAL", "Resource to represent Shopify Customer."),
]


def install(store: Store) -> None:
    """Fill a new account."""
    for key, label, value_type, field_type in CONTACT_PROPERTIES:
        proptype = PropertyType(
            store.new_id(""), store.next_seq(), key, label, value_type, field_type, f"{label} of contact.", "PREDEFINED"
        )
        store.contact_property_types[proptype.id] = proptype
    for namespace, key, name, kind_of, helper in NATIVE_OBJECTS:
        new_id, seq = store.new_id("resrc_"), store.next_seq()
        resource = Resource(new_id, seq, namespace, key, name, kind_of, "OBJECT", "NATIVE", helper_text=helper)
        store.resources[resource.id] = resource
        add_property_types(store, resource, [("id", "STRING"), ("name", "STRING")])
    for key, name, icon, texts, numbers in NATIVE_ACTIVITIES:
        _native_activity(store, key, name, icon, [(t, "STRING") for t in texts] + [(n, "NUMBER") for n in numbers])


def _native_activity(store: Store, key: str, name: str, icon: str, properties: list[tuple[str, str]]) -> None:
    resource = Resource(
        store.new_id("resrc_"), store.next_seq(), "", key, name, "ONVOARD", "ACTIVITY", "NATIVE", icon, None, name
    )
    store.resources[resource.id] = resource
    add_reserved(store, resource)
    add_property_types(store, resource, properties)
    kind = ActivityType(store.new_id("catype_"), store.next_seq(), resource.id, "{{ " + properties[0][0] + " }}")
    store.activity_types[kind.id] = kind


def add_reserved(store: Store, resource: Resource) -> None:
    """The four property types that each resource of kind ACTIVITY gets by itself (Resource Property Types)."""
    add_property_types(
        store, resource, [(key, "DATETIME" if key == "activity_datetime" else "STRING") for key in RESERVED]
    )


def add_property_types(store: Store, resource: Resource, properties: list[tuple[str, str]]) -> None:
    """Property types with a label made from the key."""
    for key, value_type in properties:
        label = key.replace("_", " ").title()
        proptype = PropertyType(
            store.new_id(""), store.next_seq(), key, label, value_type, definition_type="", resource_id=resource.id
        )
        store.resource_property_types[proptype.id] = proptype
