"""Who made a bundle: signatures of minisign, and every way in which one can be forged."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import minisign
import pytest
from bundles import MANIFEST, change_manifest, make_bundle

from runtimes import Bundle
from runtimes.bundle import Fault, open_signer, repack
from runtimes.errors import BundleError, RuntimeUnavailable

pytestmark = pytest.mark.fast

SIGNATURE = f"{MANIFEST}.minisig"
Keys = Callable[..., tuple[Path, Path]]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Write a new pair of keys: the secret one, and the public one."""

    def make(name: str = "mine", password: str | None = None) -> tuple[Path, Path]:
        pair = minisign.KeyPair.generate()
        public = bytes(pair.public_key)
        if password is not None:
            pair.secret_key.encrypt(password, opslimit=32768, memlimit=1 << 20)
        secret_path, public_path = tmp_path / f"{name}.key", tmp_path / f"{name}.pub"
        secret_path.write_bytes(bytes(pair.secret_key) + b"\n")
        public_path.write_bytes(public + b"\n")
        return secret_path, public_path

    return make


@pytest.mark.parametrize("form", ["bundle", "bundle.kilnx"])
def test_who_signed_can_be_verified(tmp_path: Path, keys: Keys, form: str) -> None:
    secret, public = keys()
    path = make_bundle(tmp_path, form, sign=open_signer(secret))
    with Bundle.open(path, public_key=public) as bundle:
        assert bundle.signed
        assert bundle.name == "digits"
    text = public.read_text().splitlines()[1]
    Bundle.open(path, public_key=text).close()
    Bundle.open(path).close()  # who does not ask need not have a key


def test_a_signature_is_part_of_the_same_bytes(tmp_path: Path, keys: Keys) -> None:
    sign = open_signer(keys()[0])
    first = make_bundle(tmp_path, "a.kilnx", sign=sign)
    assert first.read_bytes() == make_bundle(tmp_path, "b.kilnx", sign=sign).read_bytes()


def test_a_signature_goes_along(tmp_path: Path, keys: Keys) -> None:
    secret, public = keys()
    with Bundle.open(make_bundle(tmp_path, sign=open_signer(secret))) as bundle:
        repack(bundle, tmp_path / "copy.kilnx").close()
    Bundle.open(tmp_path / "copy.kilnx", public_key=public).close()
    other, other_public = keys("other")
    with Bundle.open(tmp_path / "copy.kilnx") as bundle:
        repack(bundle, tmp_path / "theirs", sign=open_signer(other)).close()
    Bundle.open(tmp_path / "theirs", public_key=other_public).close()


def test_the_format_is_that_of_minisign(tmp_path: Path, keys: Keys) -> None:
    secret, public = keys()
    folder = make_bundle(tmp_path, sign=open_signer(secret), version="7")
    signature = minisign.Signature.from_file(folder / SIGNATURE)
    minisign.PublicKey.from_file(public).verify((folder / MANIFEST).read_bytes(), signature)
    assert signature.trusted_comment == "kilnx bundle digits 7"


@pytest.mark.skipif(shutil.which("minisign") is None, reason="the tool minisign is not here")
def test_the_tool_itself_verifies_and_signs(tmp_path: Path) -> None:
    def tool(*arguments: str) -> None:
        subprocess.run(["minisign", *arguments], cwd=tmp_path, check=True, capture_output=True)

    tool("-G", "-W", "-p", "k.pub", "-s", "k.key")
    folder = make_bundle(tmp_path, sign=open_signer(tmp_path / "k.key"))
    tool("-V", "-p", "k.pub", "-m", f"{folder.name}/{MANIFEST}")
    other = make_bundle(tmp_path, "other")
    tool("-S", "-s", "k.key", "-m", f"{other.name}/{MANIFEST}")
    Bundle.open(other, public_key=tmp_path / "k.pub").close()


def test_a_key_with_a_password(tmp_path: Path, keys: Keys) -> None:
    secret, public = keys(password="tin")
    for wrong in (None, "brass", ""):
        with pytest.raises(BundleError, match="password") as caught:
            open_signer(secret, wrong)
        assert caught.value.kind == Fault.KEY
    path = make_bundle(tmp_path, sign=open_signer(secret, lambda: "tin"))
    Bundle.open(path, public_key=public).close()


def _refused(path: Path, key: Path, kind: Fault) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle.open(path, public_key=key)
    assert caught.value.kind == kind


def test_forgeries(tmp_path: Path, keys: Keys) -> None:
    secret, public = keys()
    mallory, theirs = keys("mallory")
    honest = make_bundle(tmp_path, sign=open_signer(secret))

    _refused(make_bundle(tmp_path, "unsigned"), public, Fault.UNSIGNED)
    _refused(honest, theirs, Fault.SIGNATURE)
    _refused(make_bundle(tmp_path, "resigned", sign=open_signer(mallory)), public, Fault.SIGNATURE)

    moved = make_bundle(tmp_path, "moved", version="666")
    shutil.copy(honest / SIGNATURE, moved / SIGNATURE)
    _refused(moved, public, Fault.SIGNATURE)

    edited = tmp_path / "edited"
    shutil.copytree(honest, edited)
    change_manifest(edited, lambda document: document.update(policy={}))
    _refused(edited, public, Fault.SIGNATURE)

    swapped = tmp_path / "swapped"
    shutil.copytree(honest, swapped)
    raw = (swapped / "model.onnx").read_bytes()
    (swapped / "model.onnx").write_bytes(raw[:-1] + b"!")
    _refused(swapped, public, Fault.DIGEST)


def test_a_comment_that_was_not_signed(tmp_path: Path, keys: Keys) -> None:
    secret, public = keys()
    folder = make_bundle(tmp_path, sign=open_signer(secret))
    raw = (folder / SIGNATURE).read_bytes()
    (folder / SIGNATURE).write_bytes(raw.replace(b"bundle digits 1", b"bundle digits 2"))
    _refused(folder, public, Fault.SIGNATURE)


def test_keys_of_the_same_number_are_not_the_same(tmp_path: Path, keys: Keys) -> None:
    """The number of a key is no secret: a forger takes it over."""
    _, public = keys()
    mine = minisign.PublicKey.from_file(public)
    forged = minisign.KeyPair.generate()
    forged.secret_key._keynum_sk.key_id[:] = mine._keynum_pk.key_id
    forged.secret_key._update_checksum()
    (tmp_path / "forged.key").write_bytes(bytes(forged.secret_key))
    folder = make_bundle(tmp_path, sign=open_signer(tmp_path / "forged.key"))
    _refused(folder, public, Fault.SIGNATURE)


@pytest.mark.parametrize("raw", [b"", b"x", b"\xff" * 99, b"a\nb\nc\nd\n", b"x" * (1 << 15)])
def test_what_is_no_signature(tmp_path: Path, keys: Keys, raw: bytes) -> None:
    secret, public = keys()
    folder = make_bundle(tmp_path, sign=open_signer(secret))
    (folder / SIGNATURE).write_bytes(raw)
    _refused(folder, public, Fault.SIGNATURE)


@pytest.mark.parametrize("raw", [b"", b"x", b"untrusted comment: x\nAAAA\n", b"\xff" * 99])
def test_what_is_no_key(tmp_path: Path, keys: Keys, raw: bytes) -> None:
    folder = make_bundle(tmp_path, sign=open_signer(keys()[0]))
    (tmp_path / "no.key").write_bytes(raw)
    _refused(folder, tmp_path / "no.key", Fault.KEY)
    _refused(folder, tmp_path / "nowhere.pub", Fault.KEY)
    for path in (tmp_path / "no.key", tmp_path / "nowhere.key"):
        with pytest.raises(BundleError) as caught:
            open_signer(path)
        assert caught.value.kind == Fault.KEY


def test_a_signature_needs_digests(tmp_path: Path, keys: Keys) -> None:
    secret, public = keys()
    folder = make_bundle(tmp_path, sign=open_signer(secret))
    with pytest.raises(ValueError, match="says nothing"):
        Bundle.open(folder, verify=False, public_key=public)


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "minisign", None)
    with pytest.raises(RuntimeUnavailable, match=r"kilnx\[sign\]|\[sign\]"):
        open_signer(tmp_path / "key")
    with pytest.raises(RuntimeUnavailable, match="'sign'"):
        Bundle.open(make_bundle(tmp_path), public_key="RW")
