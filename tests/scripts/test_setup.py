"""The set-up that start.sh and test.sh share, with a Python that only writes down what it was asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """\
#!/bin/sh
# Makes an empty virtual environment of itself; "installs" unless a file says that the network is gone.
echo "$*" >> asked
case "$*" in
    "-m venv .venv")
        mkdir -p .venv/bin && touch .venv/pyvenv.cfg && cp "$0" .venv/bin/python
        echo "#!$PWD/.venv/bin/python" > .venv/bin/pip ;;
    *"-m pip install"*) [ ! -e offline ] ;;
esac
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project's root with a pyproject.toml, and ``bin`` with nothing but such a Python and the basic tools."""
    tree = tmp_path / "the project"
    (tree / "bin").mkdir(parents=True)
    (tree / "pyproject.toml").write_text("[project]\n")
    for tool in ("bash", "sh", "basename", "cat", "cp", "flock", "grep", "id", "mkdir", "rm", "sha256sum", "touch"):
        (tree / "bin" / tool).symlink_to(str(shutil.which(tool)))
    (tree / "bin" / "python3").write_text(PYTHON)
    (tree / "bin" / "python3").chmod(0o755)
    return tree


def run(tree: Path, commands: str, *before: str) -> subprocess.CompletedProcess[str]:
    script = f'set -euo pipefail; source "{ROOT}/scripts/setup.sh"; {commands}'
    environ = {"PATH": str(tree / "bin"), "HOME": str(tree)}
    return subprocess.run(
        [*before, "bash", "-c", script, "start.sh"], cwd=tree, env=environ, capture_output=True, text=True, check=False
    )


def asked(tree: Path) -> list[str]:
    """Return what Python was asked to do since the last look, checks left out."""
    lines = (tree / "asked").read_text().splitlines() if (tree / "asked").exists() else []
    (tree / "asked").unlink(missing_ok=True)
    return [line for line in lines if line.startswith("-m")]


INSTALL = "-m pip install --quiet --disable-pip-version-check --editable"


def test_the_first_run_sets_up_and_the_second_does_nothing(tree: Path):
    assert run(tree, "make_environment .").returncode == 0
    assert asked(tree) == ["-m venv .venv", f"{INSTALL} ."]
    second = run(tree, "make_environment .")
    assert (second.returncode, second.stderr, asked(tree)) == (0, "", [])


def test_other_requirements_are_installed_into_the_same_environment(tree: Path):
    run(tree, "make_environment .")
    asked(tree)
    (tree / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert run(tree, "make_environment .").returncode == 0
    assert asked(tree) == [f"{INSTALL} ."]


def test_what_tests_need_holds_what_the_product_needs(tree: Path):
    run(tree, "make_environment .")
    asked(tree)
    run(tree, "make_environment '.[dev]'")
    assert asked(tree) == [f"{INSTALL} .[dev]"]
    run(tree, "make_environment .; make_environment '.[dev]'")
    assert asked(tree) == []


@pytest.mark.parametrize(
    "harm",
    [
        "touch .venv/.installing",
        "rm .venv/bin/pip",
        "rm .venv/bin/python",
        "rm -r .venv/*",
        "rm .venv/pyvenv.cfg",
    ],
)
def test_a_half_made_environment_is_made_anew(tree: Path, harm: str):
    run(tree, "make_environment .")
    asked(tree)
    assert subprocess.run(["bash", "-c", harm], cwd=tree, check=False).returncode == 0
    assert run(tree, "make_environment .").returncode == 0
    assert asked(tree) == ["-m venv .venv", f"{INSTALL} ."]
    assert not (tree / ".venv" / ".installing").exists()


def test_a_moved_project_gets_another_environment(tree: Path):
    run(tree, "make_environment .")
    moved = tree.parent / "moved"
    tree.rename(moved)
    asked(moved)
    assert run(moved, "make_environment .").returncode == 0
    assert asked(moved) == ["-m venv .venv", f"{INSTALL} ."]


def test_an_environment_of_somebody_else_is_left_alone_with_a_sentence(tree: Path):
    run(tree, "make_environment .")
    (tree / ".venv").chmod(0o555)
    # Root writes anywhere because of a capability (capabilities(7)) that it can do without.
    as_ordinary = [str(shutil.which("setpriv")), "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    refused = run(tree, "make_environment '.[dev]'", *as_ordinary)
    (tree / ".venv").chmod(0o755)
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        f"start.sh: {tree}/.venv has to be written, and belongs to somebody else; run this as its owner."
    ]


def test_a_failed_download_is_tried_again_and_says_so(tree: Path):
    (tree / "offline").touch()
    failed = run(tree, "make_environment .; echo not reached")
    assert failed.returncode == 1
    assert "start.sh: the installation failed" in failed.stderr
    assert "not reached" not in failed.stdout
    asked(tree)
    (tree / "offline").unlink()
    assert run(tree, "make_environment .").returncode == 0
    assert asked(tree) == [f"{INSTALL} ."]


def test_without_a_python_that_is_new_enough_it_says_what_to_do(tree: Path):
    (tree / "bin" / "python3").write_text("#!/bin/sh\nexit 1\n")
    failed = run(tree, "make_environment .")
    assert failed.returncode == 1
    assert "Python 3.11 or newer is needed" in failed.stderr
    assert "apt-get install python3 python3-venv" in failed.stderr


def test_a_package_that_cannot_be_installed_is_tried_once_and_named(tree: Path):
    run(tree, "make_environment .")
    if os.geteuid() == 0:
        (tree / "bin" / "apt-get").write_text("#!/bin/sh\necho 'E: no such package'; exit 100\n")
        (tree / "bin" / "apt-get").chmod(0o755)
    for tool in ("env", "tail"):
        (tree / "bin" / tool).symlink_to(str(shutil.which(tool)))
    first = run(tree, "add_system_packages bash:bash no-such:no-such-package; echo on")
    assert (first.returncode, first.stdout) == (0, "on\n")
    assert "Installing no-such-package" in first.stderr
    assert "sudo apt-get install no-such-package" in first.stderr
    second = run(tree, "add_system_packages bash:bash no-such:no-such-package")
    assert second.stderr == "no-such-package is missing; please run: sudo apt-get install no-such-package\n"


@pytest.mark.parametrize("script", ["start.sh", "test.sh"])
def test_a_link_to_a_script_does_what_the_script_does(tmp_path: Path, script: str):
    root = tmp_path / "the project"
    (root / "scripts").mkdir(parents=True)
    (root / "scripts" / "setup.sh").write_text("make_environment() { pwd; exit 7; }\n")
    shutil.copy(ROOT / script, root)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "link").symlink_to(f"../the project/{script}")
    (tmp_path / "link").symlink_to("bin/link")
    done = subprocess.run([tmp_path / "link"], cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{root.resolve()}\n", "")


@pytest.mark.parametrize("script", ["start.sh", "test.sh", ".ci/run", "scripts/setup.sh"])
def test_the_scripts_are_clean(script: str):
    checker = shutil.which("shellcheck")
    command = [checker, "-x", script] if checker else ["bash", "-n", script]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
