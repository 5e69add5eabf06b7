"""Folders that are no bundles: each kind of fault is refused by its own kind of error."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import MANIFEST, add_file, change_manifest, list_file, make_bundle

from runtimes import Bundle
from runtimes.bundle import Fault
from runtimes.bundle.canonical_json import canonical
from runtimes.errors import BundleError

pytestmark = pytest.mark.fast

EMPTY = {"sha256": "0" * 64, "size": 0}
Break = Callable[[Path], object]


def _link_inside(folder: Path) -> None:
    (folder / "fp32.onnx").unlink()
    (folder / "fp32.onnx").symlink_to("model.onnx")


def _link_outside(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"more")
    (folder / "extra").symlink_to(folder.parent / "secret")
    list_file(folder, "extra")


def _linked_folder(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere/extra").write_bytes(b"more")
    (folder / "sub").symlink_to(folder.parent / "elsewhere")
    list_file(folder, "sub/extra")


def _linked_manifest(folder: Path) -> None:
    (folder / MANIFEST).rename(folder.parent / "manifest")
    (folder / MANIFEST).symlink_to(folder.parent / "manifest")


def _socket(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("report.html")
    finally:
        os.chdir(here)


def _pipe(folder: Path) -> None:
    (folder / "report.html").unlink()
    os.mkfifo(folder / "report.html")


def _change_byte(folder: Path) -> None:
    raw = bytearray((folder / "model.onnx").read_bytes())
    raw[-1] ^= 1
    (folder / "model.onnx").write_bytes(raw)


def _grow(folder: Path) -> None:
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")


def _weights_elsewhere(folder: Path) -> None:
    from bundles import make_model_with_data

    model = make_model_with_data(folder.parent / "net.onnx", "w.bin")
    raw = model.read_bytes()
    (folder / "model.onnx").write_bytes(raw)
    list_file(folder, "model.onnx", raw)


def _text(old: bytes, new: bytes) -> Break:
    def change(folder: Path) -> None:
        raw = (folder / MANIFEST).read_bytes()
        assert old in raw
        (folder / MANIFEST).write_bytes(raw.replace(old, new, 1))

    return change


def _set(key: str, value: object) -> Break:
    return lambda folder: change_manifest(folder, lambda document: document.update({key: value}))


def _unset(key: str) -> Break:
    return lambda folder: change_manifest(folder, lambda document: document.pop(key))


def _entry(**fields: object) -> Break:
    return lambda folder: change_manifest(
        folder, lambda document: document["files"]["model.onnx"].update(fields)
    )


def _extra(name: str) -> Break:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"more")

    return write


def _raw(content: bytes) -> Break:
    return lambda folder: (folder / MANIFEST).write_bytes(content)


HOSTILE: dict[str, tuple[Break, Fault]] = {
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), Fault.NO_MANIFEST),
    "empty manifest": (_raw(b""), Fault.BAD_MANIFEST),
    "half a manifest": (_text(b'"target"', b'"target'), Fault.BAD_MANIFEST),
    "not text": (_raw(b"\xff\xfe\x00"), Fault.BAD_MANIFEST),
    "not an object": (_raw(b"[1,2]"), Fault.BAD_MANIFEST),
    "deep": (_raw(b"[" * 100_000 + b"]" * 100_000), Fault.BAD_MANIFEST),
    "huge": (_raw(b'"' + b"x" * (1 << 24) + b'"'), Fault.BAD_MANIFEST),
    "spaces": (_text(b":", b": "), Fault.BAD_MANIFEST),
    "key twice": (_text(b'{"', b'{"name":"digits","'), Fault.BAD_MANIFEST),
    "NaN": (_text(b"0.001", b"NaN"), Fault.BAD_MANIFEST),
    "other number": (_text(b"0.001", b"1e-3"), Fault.BAD_MANIFEST),
    "infinite": (_text(b"0.001", b"1e999"), Fault.BAD_MANIFEST),
    "newer": (_set("format", 2), Fault.NEWER_FORMAT),
    "format is text": (_set("format", "1"), Fault.BAD_MANIFEST),
    "format is true": (_set("format", True), Fault.BAD_MANIFEST),
    "no files": (_unset("files"), Fault.BAD_MANIFEST),
    "no name": (_unset("name"), Fault.BAD_MANIFEST),
    "name is a path": (_set("name", "../../etc"), Fault.BAD_MANIFEST),
    "name is a number": (_set("name", 5), Fault.BAD_MANIFEST),
    "labels are numbers": (_set("labels", [1]), Fault.BAD_MANIFEST),
    "policy is a list": (_set("policy", []), Fault.BAD_MANIFEST),
    "packages are numbers": (_set("packages", {"onnxruntime": 1}), Fault.BAD_MANIFEST),
    "digest is short": (_entry(sha256="ab"), Fault.BAD_MANIFEST),
    "digest in capitals": (_entry(sha256="A" * 64), Fault.BAD_MANIFEST),
    "size is negative": (_entry(size=-1), Fault.BAD_MANIFEST),
    "size is a fraction": (_entry(size=1.5), Fault.BAD_MANIFEST),
    "size is true": (_entry(size=True), Fault.BAD_MANIFEST),
    "size is beyond": (_text(b'"size":', b'"size":9999999999999999'), Fault.BAD_MANIFEST),
    "size is huge": (_entry(size=2**53 - 1), Fault.SIZE),
    "no model": (
        lambda folder: change_manifest(folder, lambda d: d["files"].pop("model.onnx")),
        Fault.BAD_MANIFEST,
    ),
    "a path upwards": (lambda folder: list_file(folder, "../secret"), Fault.OUTSIDE),
    "upwards in between": (lambda folder: list_file(folder, "a/../../b"), Fault.OUTSIDE),
    "absolute": (lambda folder: list_file(folder, "/etc/passwd"), Fault.OUTSIDE),
    "a drive": (lambda folder: list_file(folder, "C:evil"), Fault.OUTSIDE),
    "a share": (lambda folder: list_file(folder, "\\\\host\\x"), Fault.OUTSIDE),
    "backslashes": (lambda folder: list_file(folder, "a\\b"), Fault.BAD_NAME),
    "a zero byte": (lambda folder: list_file(folder, "a\0b"), Fault.BAD_NAME),
    "empty part": (lambda folder: list_file(folder, "a//b"), Fault.BAD_NAME),
    "empty name": (lambda folder: list_file(folder, ""), Fault.BAD_NAME),
    "hidden": (lambda folder: add_file(folder, ".bashrc"), Fault.BAD_NAME),
    "device": (lambda folder: add_file(folder, "NUL.txt"), Fault.BAD_NAME),
    "trailing dot": (lambda folder: add_file(folder, "a."), Fault.BAD_NAME),
    "other letters": (lambda folder: add_file(folder, "modèle"), Fault.BAD_NAME),
    "name too long": (lambda folder: list_file(folder, "a" * 241), Fault.BAD_NAME),
    "lists itself": (lambda folder: list_file(folder, MANIFEST), Fault.BAD_NAME),
    "lists its signature": (lambda f: list_file(f, f"{MANIFEST}.minisig"), Fault.BAD_NAME),
    "case in the manifest": (lambda folder: list_file(folder, "Model.onnx"), Fault.CASE_COLLISION),
    "case in the folder": (_extra("MODEL.ONNX"), Fault.CASE_COLLISION),
    "case of a folder": (
        lambda folder: (add_file(folder, "a/x"), add_file(folder, "A/y")),
        Fault.CASE_COLLISION,
    ),
    "file and folder": (lambda folder: list_file(folder, "model.onnx/x"), Fault.DUPLICATE),
    "too many": (
        lambda folder: change_manifest(
            folder,
            lambda d: d["files"].update({f"{n}": EMPTY for n in range(10_001)}),
        ),
        Fault.TOO_MANY,
    ),
    "missing": (lambda folder: (folder / "fp32.onnx").unlink(), Fault.MISSING),
    "listed only": (lambda folder: list_file(folder, "more"), Fault.MISSING),
    "extra": (_extra("more"), Fault.EXTRA),
    "extra below": (_extra("sub/more"), Fault.EXTRA),
    "empty folder": (lambda folder: (folder / "sub").mkdir(), Fault.EXTRA),
    "grown": (_grow, Fault.SIZE),
    "changed": (_change_byte, Fault.DIGEST),
    "wrong digest": (_entry(sha256="0" * 64), Fault.DIGEST),
    "link inside": (_link_inside, Fault.LINK),
    "link outside": (_link_outside, Fault.LINK),
    "linked folder": (_linked_folder, Fault.LINK),
    "linked manifest": (_linked_manifest, Fault.LINK),
    "pipe": (_pipe, Fault.SPECIAL),
    "weights elsewhere": (_weights_elsewhere, Fault.WEIGHTS),
    "not a model": (lambda folder: add_file(folder, "model.onnx", b"\xff" * 9), Fault.MODEL),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_refused(tmp_path: Path, name: str) -> None:
    change, kind = HOSTILE[name]
    folder = make_bundle(tmp_path)
    change(folder)
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    assert caught.value.kind == kind
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_a_socket_is_refused(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path)
    (folder / "report.html").unlink()
    _socket(folder)
    with pytest.raises(BundleError, match="neither a file nor a folder") as caught:
        Bundle.open(folder)
    assert caught.value.kind == Fault.SPECIAL


def test_every_changed_file_is_named(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path)
    for name in ("model.onnx", "fp32.onnx"):
        raw = (folder / name).read_bytes()
        (folder / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 255]))
    with pytest.raises(BundleError, match=r"'fp32\.onnx', 'model\.onnx' changed"):
        Bundle.open(folder)


def test_without_verification_sizes_and_names_count_all_the_same(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path)
    _change_byte(folder)
    with Bundle.open(folder, verify=False) as bundle:
        assert bundle.name == "digits"
    _grow(folder)
    with pytest.raises(BundleError, match="its manifest says"):
        Bundle.open(folder, verify=False)


def test_what_is_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.open(tmp_path / "nothing.kilnx")
    with pytest.raises(BundleError, match="kilnx package") as caught:
        Bundle.open(tmp_path)
    assert caught.value.kind == Fault.NO_MANIFEST
    with pytest.raises(BundleError, match="neither a file nor a folder"):
        Bundle.open("/dev/null")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path)
    (folder / "model.onnx").chmod(0)
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.open(folder)


def test_a_report_that_is_none(tmp_path: Path) -> None:
    for raw in (b"[]", b"{", b"[" * 100_000):
        folder = make_bundle(tmp_path, report=raw, force=True)
        with Bundle.open(folder) as bundle, pytest.raises(BundleError, match="not a report"):
            _ = bundle.report


def test_every_kind_is_documented() -> None:
    page = Path(__file__).resolve().parents[3] / "docs/bundle.md"
    _, table = page.read_text(encoding="utf-8").split("| kind |")
    documented = re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)
    assert sorted(documented) == sorted(kind.value for kind in Fault)


def test_canonical_bytes_of_the_specification() -> None:
    """The example of RFC 8785, section 3.2.3 and 3.2.2, and numbers of its appendix B."""
    value = {"\u20ac": 1, "\r": 2, "1": 3, "\u0080": 4, "\U0001f600": 5, "\ufb33": 6}
    assert list(canonical(value).decode().replace('"', "").strip("{}").split(",")) == [
        "\\r:2",
        "1:3",
        "\u0080:4",
        "\u20ac:1",
        "\U0001f600:5",
        "\ufb33:6",
    ]
    numbers = [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001, 1e21, 5e-324]
    assert canonical(numbers) == b"[333333333.3333333,1e+30,4.5,0.002,1e-27,1e+21,5e-324]"
    assert canonical([-0.0, 1e20, -1e-7, 1e-6]) == b"[0,100000000000000000000,-1e-7,0.000001]"
