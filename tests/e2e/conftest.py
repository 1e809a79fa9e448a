"""Fixtures of the end-to-end tests.

``server``   one server process per module, with the product's templates and those of ``templates/`` beside this file;
             at the end of the module nothing of its environments may be left
``phones``   makes phones with people who are signed up; their environments are deleted after the test
"""

import itertools
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from scripts.load_templates import TEMPLATES_FOLDER
from tests.e2e.server import ServerProcess, files_naming, processes_naming, wait_until
from tests.phone.client import Phone

METRICS_TOKEN = "a-token-for-the-figures"
Phones = Callable[[], Awaitable[Phone]]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    process = ServerProcess(ALLOWED_ORIGINS="https://app.example.org", METRICS_TOKEN=METRICS_TOKEN)
    try:
        load_test_templates(process)
        process.start()
        yield process
        leave_nothing_behind(process)
    finally:
        process.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the server's last words beside the failure of a test."""
    report = yield
    process = getattr(item, "funcargs", {}).get("server")
    if report.failed and process:
        report.sections.append(("server log", process.log_tail()))
    return report


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
    folders = [process.data_dir / name for name in ("environments", "trash", "uids")]
    wait_until(lambda: not [path for folder in folders for path in folder.iterdir()], "the removal of all environments")
    assert process.stop() == 0
    assert not processes_naming(str(process.data_dir))
    assert not files_naming("tmux", process.data_dir)


@pytest.fixture
async def phones(server: ServerProcess) -> AsyncIterator[Phones]:
    async with AsyncExitStack() as stack:

        async def make() -> Phone:
            phone = await stack.enter_async_context(Phone(server.url, username=f"person_{next(_numbers)}"))
            await phone.sign_up()
            stack.push_async_callback(delete_everything, phone)
            return phone

        yield make


async def delete_everything(phone: Phone) -> None:
    """Delete the environments of a person, signing in again where a test signed out."""
    if phone.tokens is None:
        await phone.sign_in()
    for environment in await phone.environments():
        await phone.delete(environment["id"])


@pytest.fixture
async def phone(phones: Phones) -> Phone:
    return await phones()
