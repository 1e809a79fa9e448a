"""Fixtures of the end-to-end tests.

``server``   one server process per module, with the product's templates and those of ``templates/`` beside this file;
             at the end of the module nothing of its environments may be left
``phones``   makes phones with people who are signed up; their environments are deleted after the test
"""

import itertools
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from scripts.load_templates import TEMPLATES_FOLDER
from tests.e2e.server import ServerProcess, files_naming, processes_naming, wait_until
from tests.phone.client import Phone

Phones = Callable[[], Awaitable[Phone]]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    process = ServerProcess(ALLOWED_ORIGINS="https://app.example.org")
    try:
        load_test_templates(process)
        process.start()
        yield process
        leave_nothing_behind(process)
    except BaseException:
        print(process.log_tail())
        raise
    finally:
        process.close()


def load_test_templates(process: ServerProcess) -> None:
    """Load the product's templates and the tests' own, as an operator with own templates does."""
    folder = process.data_dir / "templates"
    shutil.copytree(TEMPLATES_FOLDER, folder)
    shutil.copytree(Path(__file__).parent / "templates", folder, dirs_exist_ok=True)
    loaded = process.run("load-templates", str(folder))
    assert loaded.returncode == 0, loaded.stderr
    shutil.rmtree(folder)


def leave_nothing_behind(process: ServerProcess) -> None:
    """Stop the server once everything was deleted, and look for processes, sockets and folders."""
    homes = process.data_dir / "environments"
    wait_until(lambda: not list(homes.iterdir()), "the removal of all environments")
    assert process.stop() == 0
    assert not processes_naming(str(process.data_dir))
    assert not files_naming("tmux", process.data_dir)


@pytest.fixture
async def phones(server: ServerProcess) -> AsyncIterator[Phones]:
    made: list[Phone] = []

    async def make() -> Phone:
        phone = Phone(server.url, username=f"person_{next(_numbers)}")
        made.append(phone)
        await phone.sign_up()
        return phone

    yield make
    for phone in made:
        if phone.tokens is None:
            await phone.sign_in()
        for environment in await phone.environments():
            await phone.delete(environment["id"])
        await phone.http.aclose()


@pytest.fixture
async def phone(phones: Phones) -> Phone:
    return await phones()
