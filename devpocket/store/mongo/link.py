"""The connection to MongoDB: its options, and riding out the loss of the primary.

No transactions, no change streams, no collations and no upsert whose filter says more than ``_id``: a standalone
server has none of the first two, and servers differ in the rest. One document is one decision.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Any, TypeVar
from urllib.parse import urlsplit

from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError as InvalidOptionError
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)
from pymongo.errors import DuplicateKeyError as KeyTakenError

from devpocket.errors import ConfigurationError, UnavailableError
from devpocket.store.port import Document

T = TypeVar("T")
Database = AsyncDatabase[Document]

RIDE_OUT_S = 8.0
"""How long an operation is tried again: an election takes some seconds, and a phone waits 30."""

RETRY_AFTER_S = 5.0
_CLOSE_TIMEOUT_S = 2.0
_DEFAULT_DATABASE = "devpocket"
_OPTIONS: dict[str, Any] = {
    "appname": "devpocket",
    "w": "majority",
    "retryWrites": True,
    "wTimeoutMS": 5000,
    "connectTimeoutMS": 2000,
    "serverSelectionTimeoutMS": 2000,
    "socketTimeoutMS": 10_000,
    "waitQueueTimeoutMS": 5000,
}
"""What the URL does not say otherwise. Every wait has an end."""

_TRANSIENT_CODES = frozenset({1, 6, 7, 89, 91, 112, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436, 14031})
"""Host unreachable, shutting down, stepping down, not primary, write conflict, disk full (MongoDB's error code table).

1 is an internal error, of which nobody knows more; a gateway whose own database is away (FerretDB) says so.
"""


class Link:
    """One client and its database, shared by all collections."""

    def __init__(self, url: str) -> None:
        given = url.partition("?")[2].lower()
        options = {name: value for name, value in _OPTIONS.items() if f"{name.lower()}=" not in given}
        self._running: set[asyncio.Future[Any]] = set()
        self.hosts = urlsplit(url).netloc.rpartition("@")[2]
        try:
            self._client: AsyncMongoClient[Document] = AsyncMongoClient(url, **options)
            codec: CodecOptions[Document] = CodecOptions(tz_aware=True, tzinfo=UTC)
            self.database: Database = self._client.get_default_database(_DEFAULT_DATABASE, codec_options=codec)
        except (InvalidURI, InvalidOptionError, ValueError) as error:
            raise ConfigurationError(f"DATABASE_URL is not a MongoDB URL that can be used: {error}") from None

    async def close(self) -> None:
        """Give running operations a moment, then close all connections and stop the client's own tasks."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_CLOSE_TIMEOUT_S)
            for task in late:
                task.cancel()
        await self._client.close()

    async def server_version(self) -> str:
        """Return the server's version, after one round trip that is not tried again."""
        info = await self.call(lambda _: self._client.admin.command("buildInfo"), patience_s=0)
        return str(info["version"])

    async def call(self, operation: Callable[[bool], Awaitable[T]], *, patience_s: float | None = None) -> T:
        """Run an operation, again and again for ``patience_s`` (``RIDE_OUT_S``) while the database does not answer.

        ``operation`` is told whether it is repeated: then its first attempt may have been carried out although the
        answer was lost. Raises :class:`~devpocket.errors.UnavailableError` in the end, and at once for what the server
        refuses, a taken key excepted: whoever goes on in spite of a database that is away does so here, too. When the
        caller is cancelled the operation goes on by itself: PyMongo would throw the connection away, and leak one it is
        just opening.
        """
        task = asyncio.ensure_future(self._ride_out(operation, RIDE_OUT_S if patience_s is None else patience_s))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Future[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that was cancelled does not fetch it

    async def _ride_out(self, operation: Callable[[bool], Awaitable[T]], patience_s: float) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        pause_s, repeated = 0.05, False
        while True:
            try:
                return await operation(repeated)
            except KeyTakenError:
                raise
            except PyMongoError as error:
                if not _is_transient(error):
                    raise self._unavailable("The database refuses.", error) from error
                if loop.time() + pause_s >= deadline:
                    raise self._unavailable("The database does not answer just now.", error) from error
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - spreads out retries, guards nothing
            pause_s, repeated = min(pause_s * 2, 1.0), True

    def _unavailable(self, sentence: str, error: PyMongoError) -> UnavailableError:
        text = str(error).partition(", Timeout:")[0].partition(", full error:")[0]
        detail = f"MongoDB at {self.hosts}: {type(error).__name__}: {' '.join(text.split())}"  # on one line
        return UnavailableError(sentence, detail=detail[:300], retry_after_s=RETRY_AFTER_S)


def _is_transient(error: PyMongoError) -> bool:
    if isinstance(error, (ConnectionFailure, WTimeoutError, ExecutionTimeout)):
        return True
    if error.has_error_label("RetryableWriteError"):
        return True
    return isinstance(error, OperationFailure) and error.code in _TRANSIENT_CODES
