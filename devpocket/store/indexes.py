"""The one table of collections and indexes. Both adapters build what they need from it.

To add a collection, an index or an expiry, add a row; a new collection's name also goes into
:class:`~devpocket.store.port.Store`.

* Every collection has the index ``"id"``: all documents in the order of their ``_id``.
* A **unique** index holds only the documents that carry all its fields (absent or ``None`` is not held), and its
  fields hold text. So a key that is given up (the name of a deleted environment) is simply removed from the document.
* Any other index holds every document; an absent field counts as ``None``, which sorts first.
* Documents of a collection that **expires** may carry ``expires_at``; from that moment on they do not exist.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Index:
    """One access path: its name within the collection, the fields in order, and why it is there."""

    name: str
    fields: tuple[str, ...]
    reason: str
    unique: bool = False


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """One kind of document, its indexes, and when its documents expire (``None``: never).

    ``reported`` names number fields that a report aggregates in the database.
    """

    name: str
    what: str
    indexes: tuple[Index, ...] = ()
    expires: str | None = None
    reported: tuple[str, ...] = ()

    def index(self, name: str) -> Index:
        """Return the declared index of that name; :class:`ValueError` if there is none."""
        if name == BY_ID.name:
            return BY_ID
        for index in self.indexes:
            if index.name == name:
                return index
        declared = ", ".join(index.name for index in (BY_ID, *self.indexes))
        raise ValueError(f"{self.name} has no index {name!r}; declared are: {declared}")


BY_ID = Index("id", (), "the id itself; walking over everything in bounded pages")

METRIC_AVERAGES = ("cpu_percent", "memory_percent", "storage_percent")
METRIC_COUNTERS = ("network_in_bytes", "network_out_bytes")

COLLECTIONS: tuple[CollectionSpec, ...] = (
    CollectionSpec(
        "users",
        "accounts",
        (
            Index("email_key", ("email_key",), "sign in and register by the lower-cased address", unique=True),
            Index("username_key", ("username_key",), "sign in and register by the lower-cased name", unique=True),
            Index("google_id", ("google_id",), "sign in with Google; most accounts have none", unique=True),
            Index("deletion", ("deletion_requested_at",), "accounts whose removal was cut short"),
        ),
    ),
    CollectionSpec(
        "sessions",
        "refresh-token families, the token hashed",
        (
            Index("token_hash", ("token_hash",), "refresh finds its family by the token's hash", unique=True),
            Index("user", ("user_id", "created_at"), "list and end the sessions of a user"),
        ),
        expires="with the refresh token",
    ),
    CollectionSpec(
        "codes",
        "verification and reset codes, hashed, with a try count",
        (
            Index("token_hash", ("token_hash",), "a reset token comes alone; six-digit codes have none", unique=True),
            Index("user_purpose", ("user_id", "purpose", "created_at"), "the newest code of a user for one purpose"),
        ),
        expires="24 h for verification, 1 h for a reset",
    ),
    CollectionSpec(
        "environments",
        "what is wanted and what is: spec, desired, phase, fence",
        (
            Index("user_name", ("user_id", "name_key"), "a name is unique among a user's live ones", unique=True),
            Index("user_updated", ("user_id", "updated_at"), "a user's list, newest first"),
            Index("user_phase", ("user_id", "phase", "updated_at"), "a user's list with a status filter; counts"),
            Index("settled", ("settled", "updated_at"), "the sweep for those whose desired and phase differ"),
            Index("phase", ("phase", "updated_at"), "those stuck in a phase beyond its deadline; counts by phase"),
            Index("template", ("template_id", "created_at"), "who uses a template"),
            Index("cluster", ("cluster_id", "created_at"), "what runs on a cluster, before it is removed"),
        ),
    ),
    CollectionSpec(
        "leases",
        "who owns an environment (the id is the environment's), with a fence that only grows",
        (Index("held_until", ("held_until",), "the sweep for leases whose owner died"),),
    ),
    CollectionSpec(
        "templates",
        "what an environment is made from",
        (
            Index("name", ("name",), "requests name a template by id or name", unique=True),
            Index("status_category", ("status", "category", "name"), "the list with its filters"),
        ),
    ),
    CollectionSpec(
        "terminal_sessions",
        "who is attached, from where, since when",
        (
            Index("environment", ("environment_id", "started_at"), "who is attached to an environment"),
            Index("user", ("user_id", "started_at"), "what a user is attached to"),
            Index("is_open", ("is_open", "seen_at"), "the sweep for those whose process died"),
        ),
        expires="a while after its end",
    ),
    CollectionSpec(
        "metrics",
        "samples of an environment's use",
        (Index("environment_at", ("environment_id", "at"), "the latest sample; history over a span"),),
        expires="30 days after the sample (a setting)",
        reported=(*METRIC_AVERAGES, *METRIC_COUNTERS),
    ),
    CollectionSpec(
        "logs",
        "installation and life-cycle lines",
        (Index("environment_at", ("environment_id", "at"), "the latest lines; lines since a moment"),),
        expires="7 days after the line (a setting)",
    ),
    CollectionSpec(
        "clusters",
        "places environments run in, kubeconfigs encrypted",
        (
            Index("name", ("name",), "names are unique", unique=True),
            Index("status", ("status", "created_at"), "choosing one that takes new environments"),
        ),
    ),
    CollectionSpec(
        "audit",
        "sign-ins, locks, acts of administrators",
        (
            Index("user_at", ("user_id", "at"), "what happened to an account, newest first"),
            Index("at", ("at",), "what happened on this server, newest first"),
        ),
        expires="90 days after the act",
    ),
    CollectionSpec(
        "mails",
        "the outbox: mails to be sent or tried again",
        (
            Index("state_due", ("state", "due_at"), "the next mails to send"),
            Index("user", ("user_id", "due_at"), "everything of a user goes with the account"),
        ),
        expires="some days after it was sent or given up",
    ),
    CollectionSpec("settings", "values made once and shared by all processes, such as the secret key"),
    CollectionSpec(
        "counters",
        "slots taken under a limit: the set of their holders",
        (Index("taken_at", ("taken_at",), "the sweep for slots that were taken and never used"),),
    ),
    CollectionSpec("attempts", "counts within a window, such as wrong passwords", expires="when the window ends"),
)


def collection_spec(name: str) -> CollectionSpec:
    """Return the row of that name; :class:`KeyError` if there is none."""
    return _BY_NAME[name]


_BY_NAME = {spec.name: spec for spec in COLLECTIONS}
