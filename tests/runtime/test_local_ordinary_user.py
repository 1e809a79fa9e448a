"""The same on a laptop, where the server is an ordinary user's: the contract and the walls, run as one."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2]
UID = 45_678
SUITES = {
    "test_contract.py": "",
    "test_local_walls.py": "",
    "test_local_network.py": "loopback or ports or lost",
    "test_local_removal.py": "links or odd or hide or (twenty and none)",
    "test_local_limits.py": "bomb or together or full_home or scratch or still_grows",
    "test_local_lockouts.py": "",
}


def interpreter_of_everybody():
    """Return a command line of this Python version that an ordinary user can run, with our packages."""
    for program in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        paths = [str(SOURCES), *(path for path in sys.path if path.endswith("site-packages"))]
        argv = [*as_user(), "env", f"PYTHONPATH={':'.join(paths)}", "PYTHONDONTWRITEBYTECODE=1", program]
        result = subprocess.run(
            [*argv, "-c", "import pytest, structlog, devpocket"], cwd="/", capture_output=True, check=False
        )
        if result.returncode == 0:
            return argv
    return None


def as_user():
    """Return what makes a command run as an ordinary user."""
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]


@pytest.mark.skipif(os.getuid() != 0, reason="everything has been run as an ordinary user already")
@pytest.mark.parametrize("suite", sorted(SUITES))
def test_as_an_ordinary_user(suite):
    argv = interpreter_of_everybody()
    if argv is None:
        pytest.skip("no Python of this version that an ordinary user can run")
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, UID, UID)
        options = ["-k", SUITES[suite], "-q", "-x", "-p", "no:cacheprovider", "--tb=short", f"--basetemp={home}/pytest"]
        result = subprocess.run(
            [*argv, "-m", "pytest", *options, f"tests/runtime/{suite}"],
            cwd=SOURCES,
            env={"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
