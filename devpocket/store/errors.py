"""What a store refuses, by condition.

ConflictError
 +-- DuplicateKeyError      a unique key is taken; names the index
 +-- VersionConflictError   somebody else replaced the document first
 +-- StaleFenceError        the owner that writes has been superseded
NotFoundError
 +-- MissingDocumentError   there is no such document, or it has expired
ConfigurationError          the store cannot be opened as configured; one line that says what to do
 +-- StoreLockedError       another process has the SQLite file
 +-- StoreCorruptError      the file is not one of ours, or it is damaged
 +-- IndexMismatchError     the database's indexes contradict the table; lists each difference
UnavailableError            the store does not answer now: connection lost, disk full
 +-- WriteInDoubtError      it broke off during a write, and somebody has written since
"""

from collections.abc import Sequence

from devpocket.errors import ConfigurationError, ConflictError, NotFoundError, UnavailableError


class DuplicateKeyError(ConflictError):
    """A unique key is taken. ``collection`` and ``index`` name it (``"_id"`` for the id itself)."""

    default_code = "duplicate_key"

    def __init__(self, collection: str, index: str) -> None:
        super().__init__("This value is taken already.", detail=f"{collection}.{index} is taken")
        self.collection = collection
        self.index = index


class VersionConflictError(ConflictError):
    """The stored version is another one than that of the document: read it again and decide again."""

    default_code = "version_conflict"

    def __init__(self, collection: str, document_id: str, version: int) -> None:
        detail = f"{collection}/{document_id} is not at version {version} any more"
        super().__init__("Somebody else changed this first; try again.", detail=detail)


class StaleFenceError(ConflictError):
    """The document carries a higher fence: the writer's lease has passed to another owner."""

    default_code = "stale_fence"

    def __init__(self, collection: str, document_id: str, fence: int) -> None:
        detail = f"{collection}/{document_id} has a fence above {fence}"
        super().__init__("Another server process has taken this over.", detail=detail)


class MissingDocumentError(NotFoundError):
    """There is no such document, or it has expired."""

    def __init__(self, collection: str, document_id: str) -> None:
        super().__init__("This does not exist.", detail=f"{collection}/{document_id} does not exist")


class WriteInDoubtError(UnavailableError):
    """The connection broke during the write, and somebody has changed or removed the document since.

    Whether the write came before that, nobody can tell any more: to refuse it for what the document is now could
    refuse somebody because of their own command.
    """

    def __init__(self, collection: str, document_id: str) -> None:
        super().__init__(
            "The database was away for a moment, so this may have been carried out; look again.",
            code="in_doubt",
            detail=f"{collection}/{document_id} was written again before the answer to a write could be had",
            retry_after_s=1,
        )


class StoreLockedError(ConfigurationError):
    """Another process holds the SQLite file."""


class StoreCorruptError(ConfigurationError):
    """The SQLite file is damaged, or not one of ours."""


class IndexMismatchError(ConfigurationError):
    """Indexes of the database contradict the table; ``differences`` has one sentence for each."""

    def __init__(self, differences: Sequence[str]) -> None:
        super().__init__("The database's indexes differ from what this version needs: " + "; ".join(differences))
        self.differences = tuple(differences)
