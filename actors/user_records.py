"""Users as records: read, decide, compare and set."""

from collections.abc import Callable
from dataclasses import replace

from actors.ports import Ports
from devpocket.bus.port import Topic
from devpocket.domain.users import User, is_email_login, login_key
from devpocket.errors import ConflictError, NotFoundError, UnavailableError
from devpocket.ids import UserId
from devpocket.store.errors import DuplicateKeyError, MissingDocumentError, VersionConflictError
from devpocket.store.port import Document
from devpocket.store.records import to_document, user_from_document

_TRIES = 10
_TAKEN = {
    "email_key": "There is an account with this e-mail address already.",
    "username_key": "This username is taken. Please choose another one.",
    "google_id": "This Google account belongs to another user already.",
}


class UserRecords:
    """The accounts of a store, typed."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._users = ports.store.users

    async def insert(self, user: User) -> User:
        """Store a new account and return it as stored; ConflictError says which of its names is taken."""
        user = replace(user, version=1)
        try:
            await self._users.insert(_document(user))
        except DuplicateKeyError as error:
            raise _taken(error) from error
        return user

    async def get(self, user_id: UserId) -> User | None:
        """Return the account, or None."""
        return _user(await self._users.get(user_id))

    async def by_login(self, login: str) -> User | None:
        """Return the account that ``username_or_email`` names, or None."""
        index = "email_key" if is_email_login(login) else "username_key"
        return _user(await self._users.get_by(index, login_key(login)))

    async def by_email(self, email_key: str) -> User | None:
        """Return the account with this address, or None."""
        return _user(await self._users.get_by("email_key", email_key))

    async def by_google_id(self, google_id: str) -> User | None:
        """Return the account linked to this Google account, or None."""
        return _user(await self._users.get_by("google_id", google_id))

    async def change(self, user_id: UserId, decide: Callable[[User], User]) -> User:
        """Store what ``decide`` makes of the present account, tell all processes, and return it.

        NotFoundError when it is gone, ConflictError when a name is taken. ``decide`` may be called several times.
        """
        for _ in range(_TRIES):
            user = await self.get(user_id)
            if user is None:
                raise NotFoundError("There is no such account.")
            changed = decide(user)
            if changed == user:
                return user
            try:
                stored = await self._users.replace(_document(changed))
            except (VersionConflictError, MissingDocumentError):
                continue
            except DuplicateKeyError as error:
                raise _taken(error) from error
            await self._ports.bus.publish(Topic.USER_CHANGED, {"user_id": user_id})
            return user_from_document(stored)
        raise UnavailableError("The account is busy; try again.", retry_after_s=1)


def with_hash(user: User, stale: str | None, fresh: str) -> User:
    """Return the user with the hash ``fresh``, unless ``stale`` has been replaced by another one meanwhile."""
    return replace(user, password_hash=fresh) if user.password_hash == stale else user


def _document(user: User) -> Document:
    return {key: value for key, value in to_document(user).items() if value is not None or key != "google_id"}


def _user(document: Document | None) -> User | None:
    return user_from_document(document) if document else None


def _taken(error: DuplicateKeyError) -> ConflictError:
    return ConflictError(_TAKEN.get(error.index, "This value is taken already."), code=f"{error.index}_taken")
