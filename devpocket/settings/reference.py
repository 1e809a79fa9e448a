"""The reference of all settings, written from the dataclasses: ``python -m devpocket.settings.reference``.

Writes ``docs/configuration.md`` and ``.env.example``; a test compares them with what would be written.
"""

import ast
import inspect
import textwrap
from itertools import groupby

from devpocket.settings.load import PROJECT_DIR, all_settings

PAGE = PROJECT_DIR / "docs" / "configuration.md"
EXAMPLE = PROJECT_DIR / ".env.example"

_INTRODUCTION = """\
# Configuration

Settings are environment variables. What is not there is read from a file `.env` in the working directory, or else
beside the program; `.env.example` lists all of them with their defaults. An empty variable counts as absent. Nothing
has to be set: without any, the server keeps an SQLite file and listens on this machine alone.

All problems are reported at once, each with the name, what was given (a secret by its length alone) and what is
allowed, and the server does not start (exit status 2). An entry of `.env` that looks like a slip of the pen (`PROT`)
and a line that cannot be read are problems too; such a variable of the surroundings is a warning. Secrets are masked
wherever settings are printed.

Times are written as `500ms`, `90s`, `15m`, `12h`, `30d`, or as seconds; sizes as `4096`, `64KiB`, `10MiB` (powers of
1024) or `10MB` (powers of 1000). Lists have commas between. What each plan allows is not a setting but a table in
`config/plans.yaml` (`PLANS_FILE`); a plan never gives rights.

This page is written from the source by `python -m devpocket.settings.reference`.
"""
_EXAMPLE_HEAD = """\
# Settings of DevPocket Server, each with its default. Copy to `.env` and take the # away from what you change.
# docs/configuration.md says more. Written by `python -m devpocket.settings.reference`.
"""


def page() -> str:
    """Return ``docs/configuration.md``."""
    parts = [_INTRODUCTION]
    for concern, entries in groupby(all_settings(), key=lambda found: found[0]):
        documented = _field_docs(concern)
        parts.append(f"## {(concern.__doc__ or '').rstrip('.')}\n")
        for _, field, source in entries:
            default = f"`{source.default}`" if source.default else "none"
            rule = f"Default: {default}. Allowed: {source.kind.allowed}."
            parts.append(f"### `{source.name}`\n\n{documented[field.name]}\n\n{rule}\n")
    return "\n".join(parts)


def example() -> str:
    """Return ``.env.example``."""
    parts = [_EXAMPLE_HEAD]
    for concern, entries in groupby(all_settings(), key=lambda found: found[0]):
        documented = _field_docs(concern)
        parts.append(f"# --- {concern.__doc__}\n")
        for _, field, source in entries:
            comment = textwrap.fill(
                documented[field.name].replace("`", ""), 110, initial_indent="# ", subsequent_indent="# "
            )
            parts.append(f"{comment}\n#{source.name}={source.default}\n")
    return "\n".join(parts)


def _field_docs(concern: type) -> dict[str, str]:
    """Return the docstring below each field of ``concern``, in one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(concern))).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - tells mypy what the source of a class is
    found: dict[str, str] = {}
    for statement, follower in zip(body.body, body.body[1:], strict=False):
        match statement, follower:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.replace("``", "`").split())
    return found


def main() -> None:
    """Write both files."""
    for path, text in ((PAGE, page()), (EXAMPLE, example())):
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")  # noqa: T201 - a program for the command line


if __name__ == "__main__":
    main()
