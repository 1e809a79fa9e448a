"""Template files: what is wrong with each is said with file and line, all at once."""

from pathlib import Path

import pytest

from devpocket.domain.environments import ResourceLimits
from devpocket.domain.templates import TemplateCategory, TemplateStatus
from scripts.load_templates import TEMPLATES_FOLDER
from scripts.template_files import TemplateFilesError, read_templates

GOOD = """\
name: python
display_name: Python
description: Python and pip
category: programming_language
docker_image: python:3.11-slim
default_resources: {cpu: 500m, memory: 1Gi, storage: 10Gi}
"""


def problems_of(directory: Path) -> list[str]:
    with pytest.raises(TemplateFilesError) as caught:
        read_templates(directory)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_a_small_file_gets_the_defaults(tmp_path: Path):
    (tmp_path / "python.yaml").write_text(GOOD)
    (template,) = read_templates(tmp_path)
    assert template.category is TemplateCategory.PROGRAMMING_LANGUAGE
    assert template.status is TemplateStatus.ACTIVE
    assert template.default_resources == ResourceLimits(cpu="500m", memory="1Gi", storage="10Gi")
    assert (template.tags, template.startup_commands, template.default_port) == ((), (), None)


def test_a_whole_file_is_taken_as_it_stands(tmp_path: Path):
    text = """\
status: beta
version: "3.11"
tags: [python, "3"]
default_port: 8000
environment_variables: {LANG: C.UTF-8, EMPTY: ""}
startup_commands:
  - |
    echo one
    echo two
documentation_url: https://docs.python.org/3/
icon_url: null
"""
    (tmp_path / "python.yml").write_text(GOOD + text)
    (template,) = read_templates(tmp_path)
    assert template.status is TemplateStatus.BETA
    assert (template.version, template.tags, template.default_port) == ("3.11", ("python", "3"), 8000)
    assert template.environment_variables == {"LANG": "C.UTF-8", "EMPTY": ""}
    assert template.startup_commands == ("echo one\necho two\n",)
    assert (template.documentation_url, template.icon_url) == ("https://docs.python.org/3/", None)


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("""\
name: Py thon
display_name: 3.11
catgory: devops
category: shop
docker_image: python:3.11
environment_variables:
  LANG: C
  DEBUG: yes
  9LIVES: "1"
  HOME: /tmp
default_resources:
  cpu: lots
  memory: 0Gi
  stroage: 10Gi
default_port: "80"
tags: [a, 3]
startup_commands: echo
documentation_url: ftp://example.org
""")
    (tmp_path / "b.yaml").write_text("name: b: c\n")
    assert problems_of(tmp_path) == [
        "a.yaml:1: description: is missing",
        "a.yaml:1: name: must be of a-z, 0-9, dots and hyphens, like nodejs-18",
        "a.yaml:2: display_name: must be text; put it in quotes",
        'a.yaml:3: catgory: unknown key; did you mean "category"?',
        "a.yaml:4: category: must be one of: programming_language, framework, database, devops, operating_system",
        "a.yaml:8: environment_variables.DEBUG: must be text; put it in quotes",
        "a.yaml:9: environment_variables.9LIVES: must be the name of a variable, like LANG",
        "a.yaml:10: environment_variables.HOME: is set by the server",
        "a.yaml:11: default_resources.storage: is missing",
        'a.yaml:12: default_resources.cpu: must be like "500m" or "2"',
        'a.yaml:13: default_resources.memory: must be like "1Gi" or "512Mi"',
        'a.yaml:14: default_resources.stroage: unknown key; did you mean "storage"?',
        "a.yaml:15: default_port: must be a whole number",
        "a.yaml:16: tags[1]: must be text; put it in quotes",
        "a.yaml:17: startup_commands: must be a list",
        "a.yaml:18: documentation_url: must be an http or https address",
        "b.yaml:1: is not YAML: mapping values are not allowed here",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "1: must be a mapping of keys to values"),
        (b"- a\n", "1: must be a mapping of keys to values"),
        (b"a: 1\nb: \xff\n", "2: is not UTF-8 text"),
        (b"a: 1\n\0", "2: is not YAML: special characters are not allowed"),
        (b"a: 'x\n", "2: is not YAML: found unexpected end of stream"),
        (b"a: 1\nb: 2\na: 3\n", '3: the key "a" is there twice'),
        (b"a: 1\n---\nb: 2\n", "2: holds more than one document"),
        (b"a: &a [x]\nb: [*a, *a]\n", "1: anchors and aliases are not taken; write the value out"),
        (b"a: !!python/name:os.system x\n", "1: the tag tag:yaml.org,2002:python/name:os.system is not taken"),
        (b"[" * 10_000, "1: is nested more than 8 levels deep"),
        (b"1: x\n", "1: the key '1' must be text; put it in quotes"),
        (b"? [a]\n: b\n", "1: a key must be text"),
        (b"a: 2001-99-99\n", "1: is not YAML: month must be in 1..12"),
        (b"#" * 65_537, "1: is larger than 64 KiB"),
    ],
)
def test_text_that_is_no_plain_yaml_mapping_is_refused(tmp_path: Path, content: bytes, problem: str):
    (tmp_path / "x.yaml").write_bytes(content)
    assert problems_of(tmp_path) == [f"x.yaml:{problem}"]


def test_only_plain_files_are_read(tmp_path: Path):
    outside = tmp_path / "outside.txt"
    outside.write_text(GOOD)
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "link.yaml").symlink_to(outside)
    (folder / "folder.yaml").mkdir()
    assert problems_of(folder) == ["folder.yaml:1: is not a plain file", "link.yaml:1: is not a plain file"]


def test_a_name_is_used_once(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text("# a comment\n" + GOOD)
    assert problems_of(tmp_path) == ['b.yaml:2: name: "python" is used in a.yaml already']


def test_an_empty_or_missing_folder_is_a_problem(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("no template")
    assert problems_of(tmp_path) == [f"{tmp_path}:1: holds no template file (*.yaml)"]
    assert problems_of(tmp_path / "gone") == [f"{tmp_path}/gone:1: cannot be listed: No such file or directory"]


def test_the_templates_of_the_product_are_good():
    templates = {template.name: template for template in read_templates(TEMPLATES_FOLDER)}
    names = "python nodejs golang rust react nextjs flutter postgres ubuntu coding-agent"
    assert templates.keys() == set(names.split())
    assert {template.status for template in templates.values()} == {TemplateStatus.ACTIVE}
    assert templates["postgres"].category is TemplateCategory.DATABASE
    assert templates["ubuntu"].category is TemplateCategory.OPERATING_SYSTEM
    assert not [name for name, template in templates.items() if "alpine" in template.docker_image]
    commands = [command for template in templates.values() for command in template.startup_commands]
    assert not [command for command in commands if "apt-get" in command or "sudo" in command]
