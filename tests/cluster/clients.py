"""A person who creates, types, stops, starts, updates and deletes, and writes down what was acknowledged."""

import asyncio
import itertools
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.cluster.ledger import Ledger, Promise
from tests.cluster.processes import ENVIRONMENTS, TEMPLATE
from tests.phone.client import Phone, Refused
from tests.phone.parsers import ParseError

TYPING_PATIENCE_S = 6.0
LINES = 5
NGINX = -1
Doing = Callable[[str, int], None]
"""Called with what a client is about to do and the number of the server it asks; NGINX for any."""


class Outcome(Enum):
    """What an answer promises."""

    DONE = auto()
    REFUSED = auto()
    NOT_SENT = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    outcome: Outcome
    status: int = 0
    body: Any = None


class Client:
    """One user on as many phones as there are ways to the servers. Does one thing at a time."""

    def __init__(self, username: str, urls: list[str], ledger: Ledger, seed: str, doing: Doing) -> None:
        self._username = username
        self._urls = urls
        self._ledger = ledger
        self._random = random.Random(seed)
        self._doing = doing
        self._phones: list[Phone] = []
        self._template_id = ""
        self._numbers = itertools.count(1)

    async def sign_up(self, stack: AsyncExitStack) -> None:
        """Get an account, and phones that are closed with ``stack``."""
        for url in self._urls:
            self._phones.append(await stack.enter_async_context(Phone(url, username=self._username)))
        await self._phones[0].sign_up()
        for phone in self._phones:
            phone.tokens = self._phones[0].tokens
        self._template_id = await self._phones[0].template_id(TEMPLATE)

    async def work(self, enough: asyncio.Event) -> None:
        """Do one thing after the other until it is enough."""
        while not enough.is_set():
            await self._step()

    async def _step(self) -> None:
        mine = [each for each in self._promises() if each.exists and each.environment_id]
        if not mine and any(each.exists is None for each in self._promises()):
            await self._clear_up()  # or a plan that is full of doubts would allow nothing for ever
        if not mine or self._random.random() < (0.5 if len(mine) < ENVIRONMENTS else 0.05):
            await self._create()
            return
        promise = self._random.choice(mine)
        actions = (self._type, self._switch, self._restart, self._update, self._list, self._delete)
        action = self._random.choices(actions, weights=(6, 3, 1, 2, 2, 2))[0]
        await action(promise)

    def _promises(self) -> list[Promise]:
        return [each for each in self._ledger.promises if each.user == self._username]

    # --- REST --------------------------------------------------------------------------------------------------------

    async def _ask(self, kind: str, method: str, path: str, body: Any = None) -> Answer:
        way = self._random.randrange(len(self._phones))
        self._doing(kind, way - 1)
        try:
            response = await self._phones[way].call(method, path, body)
            answer = Answer(Outcome.DONE, response.status_code, response.json() if response.content else None)
        except httpx.ConnectError:
            answer = Answer(Outcome.NOT_SENT)
        except Refused as refused:
            answer = Answer(Outcome.UNKNOWN if refused.status >= 500 else Outcome.REFUSED, refused.status, refused.body)
        except (httpx.HTTPError, ValueError):
            answer = Answer(Outcome.UNKNOWN)  # cut off, or a page of nginx instead of the server's answer
        if answer.outcome is Outcome.DONE:
            self._ledger.acknowledged[kind] += 1
        elif answer.outcome is Outcome.UNKNOWN:
            self._ledger.doubted[kind] += 1
        elif answer.status in {401, 429}:
            self._broken(kind, answer, "although signed in and within all limits")
        return answer

    def _broken(self, what: str, answer: Answer, why: str) -> None:
        self._ledger.broken.append(f"{self._username}: {what} was answered {answer.status} {answer.body} {why}")

    async def _create(self) -> None:
        promise = Promise(self._username, f"{self._username} {next(self._numbers)}")
        before = self._promises()
        body = {"name": promise.name, "template_id": self._template_id}
        self._ledger.add(promise)
        answer = await self._ask("create", "POST", "/environments", body)
        if answer.outcome is Outcome.DONE:
            promise.exists, promise.environment_id = True, answer.body["id"]
            if sum(each.exists is True for each in before) >= ENVIRONMENTS:
                self._broken("create", answer, "beyond the plan")
        elif answer.outcome in {Outcome.REFUSED, Outcome.NOT_SENT}:
            promise.exists = False
            if answer.outcome is Outcome.REFUSED and (
                answer.status != 403 or sum(each.exists is not False for each in before) < ENVIRONMENTS
            ):
                self._broken("create", answer, "within the plan")

    async def _switch(self, promise: Promise) -> None:
        """Stop what runs, start what is stopped."""
        desired, verb = ("stopped", "stop") if promise.desired == "running" else ("running", "start")
        await self._command(promise, verb, desired, is_certain=not promise.doubted_desired)

    async def _restart(self, promise: Promise) -> None:
        # Refused while it is on its way up, which its user cannot know.
        await self._command(promise, "restart", "running", is_certain=False)

    async def _command(self, promise: Promise, verb: str, desired: str, *, is_certain: bool) -> None:
        answer = await self._ask(verb, "POST", f"/environments/{promise.environment_id}/{verb}")
        if answer.outcome is Outcome.DONE:
            promise.desired = desired
        elif answer.outcome is Outcome.UNKNOWN:
            promise.doubted_desired |= {desired, promise.desired}
        elif answer.outcome is Outcome.REFUSED and (is_certain or answer.status != 400):
            self._broken(verb, answer, f"for {promise}")

    async def _update(self, promise: Promise) -> None:
        text = f"description {next(self._numbers)}"
        body = {"description": text}
        answer = await self._ask("update", "PUT", f"/environments/{promise.environment_id}", body)
        if answer.outcome is Outcome.DONE:
            promise.description = text
        elif answer.outcome is Outcome.UNKNOWN:
            promise.doubted_descriptions |= {text, promise.description}
        elif answer.outcome is Outcome.REFUSED:
            self._broken("update", answer, f"for {promise}")

    async def _delete(self, promise: Promise) -> None:
        is_doubted = promise.exists is None
        answer = await self._ask("delete", "DELETE", f"/environments/{promise.environment_id}")
        if answer.outcome is Outcome.DONE or (is_doubted and answer.status == 404):
            promise.exists = False
        elif answer.outcome is Outcome.UNKNOWN:
            promise.exists = None
        elif answer.outcome is Outcome.REFUSED:
            self._broken("delete", answer, f"for {promise}")

    async def _list(self, _promise: Promise) -> None:
        answer = await self._ask("list", "GET", "/environments")
        if answer.outcome is not Outcome.DONE:
            return
        listed = {each["id"] for each in answer.body}
        for promise in self._promises():
            if promise.exists is not None and promise.exists != (promise.environment_id in listed):
                self._broken("list", answer, f"against {promise}")

    async def _clear_up(self) -> None:
        """Look what has become of what is in doubt: keep what was created, delete once more what is still there."""
        answer = await self._ask("list", "GET", "/environments")
        if answer.outcome is not Outcome.DONE:
            return
        listed = {each["name"]: each["id"] for each in answer.body}
        for promise in self._promises():
            if promise.exists is not None or promise.name not in listed:
                continue
            if promise.environment_id:
                await self._delete(promise)
            else:
                promise.exists, promise.environment_id = True, listed[promise.name]

    # --- typing ------------------------------------------------------------------------------------------------------

    async def _type(self, promise: Promise) -> None:
        """Type lines into a file, each of which is acknowledged by what the shell shows."""
        way = self._random.randrange(len(self._phones))
        line = ""
        try:
            async with (
                asyncio.timeout(TYPING_PATIENCE_S),
                self._phones[way].terminal(promise.environment_id) as terminal,
            ):
                await terminal.wait_for("welcome", TYPING_PATIENCE_S)
                for _ in range(LINES):
                    line = f"{self._random.getrandbits(64):016x}"
                    self._doing("type", way - 1)
                    promise.doubted_lines.add(line)
                    await terminal.press("\x15")  # whatever a former connection left half typed
                    await terminal.run(f"echo {line} >> ~/lines && echo saved:'{line}'", f"saved:{line}")
                    promise.doubted_lines.discard(line)
                    promise.typed.append(line)
                    self._ledger.acknowledged["type"] += 1
        except ParseError as error:
            self._ledger.broken.append(f"{self._username}: {error}")
        except (AssertionError, TimeoutError, OSError, ConnectionClosed, WebSocketException):
            self._ledger.doubted["type"] += 1  # it does not run just now, or the way was cut

    async def delete_everything(self) -> None:
        """Delete all there is of this user, in doubt or not."""
        for environment in await self._phones[0].environments():
            await self._phones[0].delete(environment["id"])
