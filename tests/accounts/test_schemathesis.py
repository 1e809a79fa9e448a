"""What the description promises is tried with administrator's rights, and with sessions that end on the way."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.accounts.conftest import CHIEF, running
from tests.accounts.people import Person, Web
from tests.handlers.test_openapi import CONFIGURATION, ENDS_THE_SESSION


async def signed_in(url: str, name: str) -> str:
    async with Web(url) as web:
        person = Person(web, name)
        await (person.sign_in() if name == CHIEF else person.sign_up())
        return person.access_token


@pytest.mark.parametrize(("name", "which"), [(CHIEF, "--exclude-path-regex"), ("leaver", "--include-path-regex")])
def test_nothing_is_found(name: str, which: str, tmp_path: Path):
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION, encoding="utf-8")
    with running(administrator=True) as process:
        token = asyncio.run(signed_in(process.url, name))
        run = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{process.url}/api/v1/openapi.json"]
        what = ["--header", f"Authorization: Bearer {token}", which, ENDS_THE_SESSION, "--phases", "coverage,fuzzing"]
        how = [
            "--max-examples",
            "2",
            "--generation-deterministic",
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
        ]
        found = subprocess.run(
            [*run, *what, *how],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if "PROXY" not in name.upper()},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
