"""Tasks, by name: ``nox -s lint`` runs one, ``nox -l`` lists them.

They run in the environment that nox itself is installed in: TensorFlow is too large to be
installed once a task.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "test"]
nox.options.error_on_external_run = False

PACKAGES = ("converter", "quantizers", "runtimes")


def tool(name: str) -> str:
    """The program ``name`` of the environment that nox runs in."""
    return str(Path(sys.executable).with_name(name))


@nox.session
def test(session: nox.Session) -> None:
    """Everything but the long sweeps; arguments go to pytest: ``nox -s test -- -m fast``."""
    session.run(tool("pytest"), "-q", "-n", "2", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The long sweeps."""
    session.run(tool("pytest"), "-q", "-n", "2", "-m", "slow", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, types, the direction of imports, spelling."""
    session.run(tool("ruff"), "check", ".")
    session.run(tool("ruff"), "format", "--check", ".")
    session.run(tool("mypy"))
    session.run(tool("lint-imports"))
    session.run(tool("codespell"))


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, warnings as errors; ``nox -s docs -- serve`` shows it."""
    arguments = session.posargs or ["build", "--strict"]
    session.run(tool("mkdocs"), *arguments, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def coverage(session: nox.Session) -> None:
    """All tests with coverage; fails below the floor that ``pyproject.toml`` states."""
    measured = [f"--cov={package}" for package in PACKAGES]
    report = ["--cov-report=term:skip-covered"]
    session.run(tool("pytest"), "-q", "-n", "2", "-m", "", *measured, *report, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks that bring their own models: export and layers."""
    for name in ("layers", "export"):
        session.run(sys.executable, f"benchmarks/{name}.py", "--json", f"{name}.json")
