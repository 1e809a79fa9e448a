"""Messages, and the table that leads each of them to its method.

A message is a frozen slotted dataclass that names its reply::

    @dataclass(frozen=True, slots=True)
    class StartEnvironment(Message[EnvironmentView]):
        environment_id: EnvironmentId

and an actor marks the method that handles it::

    @handles(StartEnvironment)
    async def start(self, message: StartEnvironment) -> EnvironmentView: ...
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar, overload

Reply_co = TypeVar("Reply_co", covariant=True)
ActorT = TypeVar("ActorT")
MessageT = TypeVar("MessageT")

Handler: TypeAlias = Callable[[Any, Any], Any]

_MARK = "__handles__"


class Message(Generic[Reply_co]):
    """The base of all messages; ``Message[None]`` is one whose reply says nothing but "done"."""

    __slots__ = ()

    keeps_awake: ClassVar[bool] = True
    """Whether handling it counts as activity. False for an actor's own ticks, or it would never retire."""


class _Mark(Generic[Reply_co]):
    """The decorator that :func:`handles` returns; it lets mypy compare the method's reply with the message's."""

    def __init__(self, message_class: type[Message[Reply_co]]) -> None:
        self._message_class = message_class

    @overload
    def __call__(
        self, method: Callable[[ActorT, MessageT], Coroutine[Any, Any, Reply_co]]
    ) -> Callable[[ActorT, MessageT], Coroutine[Any, Any, Reply_co]]: ...
    @overload
    def __call__(self, method: Callable[[ActorT, MessageT], Reply_co]) -> Callable[[ActorT, MessageT], Reply_co]: ...
    def __call__(self, method: Handler) -> Handler:
        setattr(method, _MARK, self._message_class)
        return method


def handles(message_class: type[Message[Reply_co]]) -> _Mark[Reply_co]:
    """Mark a method (``def`` or ``async def``) as the one that handles ``message_class``, and only exactly that."""
    return _Mark(message_class)


def handler_table(actor_class: type) -> Mapping[type, Handler]:
    """Return the methods of ``actor_class`` by the message class each handles.

    A subclass takes a message over by marking a method of its own, or by overriding the marked one (marked again or
    not).

    Raises:
        TypeError: if two methods of one class are marked for the same message.
    """
    table: dict[type, str] = {}
    for ancestor in reversed(actor_class.__mro__):
        own: dict[type, str] = {}
        for name, method in vars(ancestor).items():
            message_class = getattr(method, _MARK, None)
            if not isinstance(message_class, type):
                continue
            if message_class in own:
                raise TypeError(
                    f"{ancestor.__name__}: both {own[message_class]} and {name} handle {message_class.__name__}"
                )
            own[message_class] = name
        table.update(own)
    return {message_class: getattr(actor_class, name) for message_class, name in table.items()}
