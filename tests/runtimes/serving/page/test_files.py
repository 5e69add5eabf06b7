"""The page's files: what is served, under which policy, and nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from runtimes.serving import page as package
from runtimes.serving.page import PAGE_HEADERS, page_response

FOLDER = Path(package.__file__).parent
NAMES = sorted(file.name for file in FOLDER.iterdir() if file.suffix in {".css", ".js", ".svg"})
SCRIPTS = [name for name in NAMES if name.endswith(".js")]

pytestmark = pytest.mark.fast


def test_the_root_is_the_page() -> None:
    status, kind, body = page_response("/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert body == (FOLDER / "index.html").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_served_with_its_type(name: str) -> None:
    kinds = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    status, kind, body = page_response(f"/page/{name}")
    assert status == 200
    assert kind.split(";")[0] == kinds[Path(name).suffix]
    assert body == (FOLDER / name).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/__init__.py",
        "/page/index.html",
        "/page/../../errors.py",
        "/page//app.js",
        "/page/app.js?x",
        "",
        "/v2",
    ],
)
def test_nothing_else_is_served(path: str) -> None:
    assert page_response(path)[0] == 404


def test_what_the_page_names_is_served() -> None:
    text = (FOLDER / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'(?:src|href)="(page/[^"]+)"', text))
    assert {page_response("/" + one)[0] for one in named} == {200}
    assert {"page/app.js", "page/style.css", "page/parts.css", "page/icon.svg"} <= named


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_import_what_is_there(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    for found in re.findall(r'from "\./([^"]+)"', text):
        assert (FOLDER / found).is_file(), found
    assert "innerHTML" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_every_script_is_used() -> None:
    texts = "".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS)
    assert set(re.findall(r'from "\./([^"]+)"', texts)) == set(SCRIPTS) - {"app.js"}


def test_ids_that_scripts_ask_for_are_there() -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    texts = "".join((FOLDER / name).read_text(encoding="utf-8") for name in SCRIPTS)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'\bby\("([^"]+)"\)', texts)) <= set(ids)
    for names in re.findall(r'(?:labelledby|describedby|for)="([^"]+)"', page):
        assert set(names.split()) <= set(ids)


def test_nothing_stands_inline_and_nothing_comes_from_elsewhere() -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>|javascript:", page)
    everything = page + "".join((FOLDER / name).read_text(encoding="utf-8") for name in NAMES)
    assert set(re.findall(r"https?://[^\s\"']+", everything)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|\burl\(", everything)


def test_the_policy_allows_the_page_its_own_files_only() -> None:
    policy = PAGE_HEADERS["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    # The page carries the same policy, for a proxy that drops headers.
    own = re.search(r'Policy" content="([^"]+)"', page_response("/")[2].decode())
    assert own is not None
    assert policy.startswith(own[1])


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse(name: str, tmp_path: Path) -> None:
    copy = tmp_path / f"{name}.mjs"
    copy.write_bytes((FOLDER / name).read_bytes())
    command = ["node", "--check", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
