"""The start-up commands of every template: without its tools, without a network, and a second time."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from devpocket.domain.templates import TemplateDefinition
from scripts.load_templates import TEMPLATES_FOLDER
from scripts.template_files import read_templates

HOME = "/home/devpocket"
BASIC_TOOLS = [
    "bash",
    "sh",
    "env",
    "cat",
    "chmod",
    "cp",
    "cut",
    "echo",
    "grep",
    "head",
    "ls",
    "mkdir",
    "mv",
    "od",
    "printf",
    "rm",
    "sed",
    "sleep",
    "tail",
    "timeout",
    "touch",
    "tr",
    "uname",
]
NO_NETWORK = {
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "npm_config_proxy": "http://127.0.0.1:9",
    "npm_config_https_proxy": "http://127.0.0.1:9",
}
TEMPLATES = {template.name: template for template in read_templates(TEMPLATES_FOLDER)}


@dataclass
class Machine:
    """A home, and a folder with the programs that this machine is said to have."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.root / "home" / "workspace").mkdir(parents=True)
        (self.root / "bin").mkdir()
        self.add(*BASIC_TOOLS)

    @property
    def home(self) -> Path:
        return self.root / "home"

    def add(self, *programs: str) -> None:
        for program in programs:
            found = shutil.which(program, path=os.defpath)
            if found:
                (self.root / "bin" / program).symlink_to(found)

    def install(self, template: TemplateDefinition) -> str:
        """Run the start-up commands as the runtime does; every one has to succeed. Return what they said."""
        own = {name: value.replace(HOME, str(self.home)) for name, value in template.environment_variables.items()}
        path = f"{self.home}/.local/bin:{self.root}/bin"
        said = ""
        for command in template.startup_commands:
            done = subprocess.run(
                ["bash", "-e", "-c", command],
                cwd=self.home / "workspace",
                env={**own, **self.variables, "HOME": str(self.home), "PATH": path},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done
            said += done.stdout
        return said


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("python", "Python is not installed on this machine"),
        ("nodejs", "Node.js is not installed on this machine"),
        ("golang", "Go is not installed on this machine"),
        ("rust", "Rust is not installed on this machine"),
        ("react", "Node.js is not installed on this machine"),
        ("nextjs", "Node.js is not installed on this machine"),
        ("flutter", "Flutter is not installed on this machine"),
        ("postgres", "PostgreSQL is not installed on this machine"),
        ("ubuntu", "The shell is ready"),
        ("coding-agent", "git is not installed on this machine"),
    ],
)
def test_a_missing_toolchain_is_a_sentence_not_a_failure(machine: Machine, name: str, sentence: str):
    template = TEMPLATES[name]
    said = machine.install(template)
    assert sentence in said
    assert "not found" not in said
    assert machine.install(template).count("\n") == said.count("\n")


@pytest.mark.parametrize(
    ("name", "programs", "sentence"),
    [
        ("nodejs", ("node", "npm"), "Packages could not be downloaded now"),
        ("react", ("node", "npm", "npx"), "The project could not be downloaded now"),
        ("nextjs", ("node", "npm", "npx"), "The project could not be downloaded now"),
        ("python", ("python3",), "could not be downloaded now|cannot make virtual environments"),
    ],
)
def test_without_a_network_it_says_what_is_missing(
    machine: Machine, name: str, programs: tuple[str, ...], sentence: str
):
    if not shutil.which(programs[0], path=os.defpath):
        pytest.skip(f"{programs[0]} is not on this machine")
    machine.add(*programs)
    machine.variables = NO_NETWORK
    said = machine.install(TEMPLATES[name])
    assert any(each in said for each in sentence.split("|")), said


def test_ubuntu_adds_its_alias_once(machine: Machine):
    machine.install(TEMPLATES["ubuntu"])
    machine.install(TEMPLATES["ubuntu"])
    assert (machine.home / ".bash_aliases").read_text() == "alias ll='ls -alF --color=auto'\n"


def test_what_the_user_changed_is_kept_when_go_is_installed_again(machine: Machine):
    machine.add("go")
    if not (machine.root / "bin" / "go").exists():
        (machine.root / "bin" / "go").write_text('#!/bin/sh\n[ "$1" = version ] && echo go1 || touch go.mod\n')
        (machine.root / "bin" / "go").chmod(0o755)
    assert "Made a module" in machine.install(TEMPLATES["golang"])
    program = machine.home / "workspace" / "main.go"
    program.write_text("package main // mine\n")
    assert "there already" in machine.install(TEMPLATES["golang"])
    assert program.read_text() == "package main // mine\n"
