"""The documentation says what is there: links, files, commands, options, names, messages, diffs."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runtimes.engines.provider_table import TABLE as PROVIDER_TABLE

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("converter", "quantizers", "runtimes")
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
]
HOW_TO = sorted((ROOT / "docs/contributing").glob("*-*.md")) + [
    ROOT / f"docs/contributing/{name}.md" for name in ("command", "engine", "metric")
]
# Options of other programs that the pages mention, and those that are no command's own.
OTHER_OPTIONS = {
    *("--version", "--help", "--debug", "--install-completion", "--show-completion"),
    *("--cpus", "--gpus", "--strict", "--ignore-scripts", "--hypothesis-profile"),
}

FENCE = re.compile(r"^( *)(`{3,})(\w*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
each_how_to = pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)


@cache
def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for _, _, language, body in FENCE.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield textwrap.dedent(body)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Python-Markdown makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.replace("`", "")) for heading in headings)
    return {re.sub(r"[-\s]+", "-", text.strip().lower()) for text in plain}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.is_file(), target
        assert not anchor or anchor in anchors(found), target


@each_page
def test_files_named_in_the_text_exist(page: Path) -> None:
    created = set(re.findall(r"^\+\+\+ b/(\S+)$", "\n".join(blocks(page, "diff")), re.MULTILINE))
    folders = "|".join((*PACKAGES, "tests", "benchmarks", "examples", "docs"))
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", prose(page)))
    named |= set(re.findall(r"\b(?:benchmarks|examples|tests)/[\w./]+", "\n".join(shell(page))))
    missing = {name for name in named - created if not (ROOT / name).exists()}
    assert not missing


@cache
def commands() -> dict[str, set[str]]:
    """Options by command, as the command line itself has them."""
    import typer.main

    from converter.cli import app

    group: Any = typer.main.get_command(app)
    return {name: set(_options(command)) for name, command in group.commands.items()}


def _options(command: Any) -> Iterator[str]:
    """Those of a command, or of all commands of a group."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for inner in getattr(command, "commands", {}).values():
        yield from _options(inner)


def shell(page: Path) -> Iterator[str]:
    return blocks(page, "console", "sh", "yaml", "")


def invocations(page: Path) -> Iterator[list[str]]:
    """The arguments of every call of kilnx on a page, in blocks and within lines."""
    for body in shell(page):
        joined = re.sub(r"\\\n", " ", body)
        for found in re.findall(r"(?:^|[\s/$])kilnx ([a-z-][^\n#&]*)", joined):
            yield shlex.split(found.split("   ")[0])
    for found in re.findall(r"`kilnx ([^`|]+)`", prose(page)):
        yield found.split()


@each_page
def test_commands_and_options_exist(page: Path) -> None:
    for command, *arguments in invocations(page):
        if command in OTHER_OPTIONS or command == "COMMAND":
            continue
        assert command in commands(), f"kilnx {command}"
        used = {argument for argument in arguments if re.match(r"--?[a-z]", argument)}
        assert used <= commands()[command] | OTHER_OPTIONS, f"kilnx {command}"


@each_page
def test_options_in_the_text_exist(page: Path) -> None:
    known = set().union(*commands().values()) | OTHER_OPTIONS
    named = re.findall(r"`(--[a-z][\w-]*)", prose(page))
    assert set(named) <= known


@each_page
def test_python_compiles(page: Path) -> None:
    for body in blocks(page, "python"):
        compile(body, str(page), "exec")


@each_page
def test_extras_exist(page: Path) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        known = tomllib.load(file)["project"]["optional-dependencies"]
    for named in re.findall(r"'[\w./]*\[([a-z,]+)\]'", page.read_text(encoding="utf-8")):
        assert set(named.split(",")) <= set(known), named


def test_the_page_of_engines_names_what_there_is() -> None:
    text = (ROOT / "docs/engines.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w[\w-]*)` \| .* \| .* \| .* \|$", text, re.MULTILINE))
    assert {"cpu", "opencv", "tract"} <= named <= set(PROVIDER_TABLE)
    with (ROOT / "pyproject.toml").open("rb") as file:
        known = tomllib.load(file)["project"]["optional-dependencies"]
    assert {row.extra for row in PROVIDER_TABLE.values() if row.extra} <= set(known)


def entries(package: str) -> list[str]:
    page = ROOT / "docs/reference" / f"{package}.md"
    return re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_an_entry(package: str) -> None:
    public = __import__(package).__all__
    assert sorted(entry.rpartition(".")[2] for entry in entries(package)) == sorted(public)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_entry_is_where_the_reference_says(package: str) -> None:
    for entry in entries(package):
        module, _, name = entry.rpartition(".")
        path = ROOT / f"{module.replace('.', '/')}.py"
        assert name in defined(path), entry


def defined(path: Path) -> set[str]:
    """Names that a module defines at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@cache
def source() -> str:
    """All code, with strings that go on in the next line joined."""
    texts = (path.read_text("utf-8") for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(texts))


def test_messages_of_the_troubleshooting_page_are_in_the_code() -> None:
    page = ROOT / "docs/troubleshooting.md"
    messages = re.findall(r"^### `(.+)`$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(messages) > 40
    for message in messages:
        for fixed in message.split("…"):
            assert fixed.strip() in source(), message


@each_how_to
def test_diffs_apply(page: Path) -> None:
    (diff,) = blocks(page, "diff")
    done = apply(diff, ROOT, "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@each_how_to
def test_diffs_pass_their_own_tests(page: Path, tmp_path: Path) -> None:
    (diff,) = blocks(page, "diff")
    for name in (*PACKAGES, "tests", "pyproject.toml", "setup.cfg"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    assert apply(diff, tmp_path).returncode == 0
    tests = re.findall(r"^\+\+\+ b/(tests/\S+)$", diff, re.MULTILINE)
    assert tests
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def apply(diff: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "apply", *options, "-"],
        input=diff,
        text=True,
        capture_output=True,
        cwd=folder,
        check=False,
    )


def test_the_tables_of_targets_are_what_their_files_say() -> None:
    path = ROOT / "docs/hooks/target_table.py"
    spec = importlib.util.spec_from_file_location("target_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.PAGE.read_text(encoding="utf-8")
    assert text == module.page(text), "run python docs/hooks/target_table.py"
