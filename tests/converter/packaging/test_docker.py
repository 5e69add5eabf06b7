"""The image and the compose file: pinned, nobody is root, nothing is writable that need not be."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from bundles import make_bundle

from converter.packaging.deploy import deploy
from converter.packaging.options import DeployOptions
from runtimes import Bundle
from runtimes.errors import DataError, RuntimeUnavailable

pytestmark = [pytest.mark.fast, pytest.mark.usefixtures("small_server")]


def export(bundle: Path, **options: Any) -> Path:
    output = bundle.parent / "docker"
    deploy(bundle, output, "docker", DeployOptions(**options))
    return output


def words(instruction: str, text: str) -> list[str]:
    """The words of an instruction in exec form, the last of them in the file."""
    found: list[str] = json.loads(re.findall(rf"^{instruction} (\[.*\])$", text, re.MULTILINE)[-1])
    return found


def test_everything_that_the_dockerfile_copies_is_there(tmp_path: Path) -> None:
    folder = export(make_bundle(tmp_path))
    text = (folder / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE)
    assert copied == ["requirements.txt", "wheels/", "bundle/"]
    assert all((folder / name).exists() for name in copied)
    kept = (folder / ".dockerignore").read_text().splitlines()
    assert kept[0] == "*"
    assert {f"!{name.rstrip('/')}" for name in copied} == set(kept[1:])


def test_the_bundle_in_it_is_whole(tmp_path: Path) -> None:
    source = make_bundle(tmp_path, "bundle.kilnx")
    with Bundle.open(export(source) / "bundle") as copy, Bundle.open(source) as bundle:
        assert copy.digest == bundle.digest


def test_versions_and_code_are_those_that_run_here(tmp_path: Path) -> None:
    folder = export(make_bundle(tmp_path))
    assert (folder / "requirements.txt").read_text() == "small-core==1.5\nsmall-web==1.5\n"
    (wheel,) = (folder / "wheels").iterdir()
    with zipfile.ZipFile(wheel) as held:
        assert "converter/packaging/docker.py" in held.namelist()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    bases = re.findall(r"^FROM (\S+)", (folder / "Dockerfile").read_text(), re.MULTILINE)
    assert bases == [f"python:{version}-slim-bookworm"] * 2


def test_the_server_is_started_as_nobody_and_asked_for_its_health(tmp_path: Path) -> None:
    text = (export(make_bundle(tmp_path), cpus=2) / "Dockerfile").read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert words("ENTRYPOINT", text) == ["kilnx"]
    command = words("CMD", text)
    assert command[:2] == ["serve", "/bundle"]
    assert command[command.index("--replicas") + 1] == "2"
    (health,) = re.findall(r"^    CMD (\[.*\])$", text, re.MULTILINE)
    python, option, code = json.loads(health)
    assert (python, option) == ("python", "-c")
    compile(code, "health", "exec")
    assert "/v2/health/ready" in code


def test_the_command_is_one_that_kilnx_has(tmp_path: Path) -> None:
    import typer.main

    from converter.cli import app

    commands = getattr(typer.main.get_command(app), "commands", {})
    if "serve" not in commands:
        pytest.skip("this kilnx has no server")
    command = words("CMD", (export(make_bundle(tmp_path)) / "Dockerfile").read_text())
    parsed = commands["serve"].make_context("serve", list(command[1:]))
    assert parsed.params["host"] == "0.0.0.0"
    assert parsed.params["plain"] is True
    assert Path(parsed.params["state"]) == Path("/state")  # a text in older versions of Typer


def test_compose_locks_the_container_down(tmp_path: Path) -> None:
    compose = yaml.safe_load((export(make_bundle(tmp_path), cpus=3) / "compose.yaml").read_text())
    service = compose["services"]["digits"]
    assert compose["name"] == "digits"
    assert service["image"] == "digits:1"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["cpus"] == "3"
    (volume,) = service["volumes"]
    assert volume.split(":") == ["state", "/state"]
    assert "state" in compose["volumes"]


def test_names_that_docker_refuses(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, name="Digits", version="1+a")
    with pytest.raises(DataError, match=r"'Digits' cannot name a service.*--name digits"):
        export(bundle)
    with pytest.raises(DataError, match="'1\\+a' cannot be an image's tag"):
        export(bundle, name="digits")
    assert not (tmp_path / "docker").exists()
    export(bundle, name="digits", image="registry.example.com/digits:2")


def test_without_a_server_here_there_is_nothing_to_pin(tmp_path: Path, needs: Any) -> None:
    needs('no-such-server; extra == "serve"', extras=("cpu", "gpu", "serve"))
    with pytest.raises(RuntimeUnavailable, match="the extra 'serve' brings it"):
        export(make_bundle(tmp_path))
    assert not (tmp_path / "docker").exists()
