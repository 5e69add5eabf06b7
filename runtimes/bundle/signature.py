"""Signatures of manifests in minisign's format: https://jedisct1.github.io/minisign/.

The tool ``minisign`` makes and verifies the same: ``minisign -V -p key.pub -m kilnx-bundle.json``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from runtimes.bundle.faults import Fault, refusal
from runtimes.bundle.file_names import SIGNATURE
from runtimes.errors import RuntimeUnavailable, first_line
from runtimes.extras import missing_extra

LARGEST_SIGNATURE_BYTES = 1 << 14
"""Larger files are no signatures."""

Signer = Callable[[bytes, str], bytes]
"""Makes a signature of some bytes, with a comment that is signed, too."""

Password = str | Callable[[], str]
"""A password, or what asks for it where a key has one."""

PublicKey = str | os.PathLike[str]
"""A public key of minisign: 56 characters in Base64, or the path of its file."""

PublicKeys = PublicKey | tuple[PublicKey, ...]
"""One public key, or several of which any may have signed."""

_LARGEST_KEY_BYTES = 1 << 14
_LONGEST_KEY = 100


def open_signer(key: str | os.PathLike[str], password: Password | None = None) -> Signer:
    """What signs with the secret key in a file, which ``minisign -G`` makes.

    Raises ``BundleError`` where it is no such key, or its password is another one.
    """
    minisign, path = _library(), Path(key)
    try:
        secret = minisign.SecretKey.from_bytes(_read_key(path))
        encrypted = secret.is_encrypted()
        if encrypted and password is not None:
            secret.decrypt(password if isinstance(password, str) else password())
    except (minisign.Error, ValueError) as error:
        raise refusal(
            Fault.KEY,
            f"{path} cannot be used to sign: {first_line(error)}; make a key with minisign -G",
        ) from error
    if encrypted and password is None:
        raise refusal(Fault.KEY, f"{path} is protected by a password, and none was given")

    def sign(raw: bytes, comment: str) -> bytes:
        return bytes(secret.sign(raw, trusted_comment=comment)) + b"\n"

    return sign


def check_signature(
    raw: bytes, signature: bytes | None, public_key: PublicKeys, where: Path
) -> None:
    """Raise ``BundleError`` unless the owner of a public key signed exactly these bytes."""
    minisign = _library()
    keys = [_public_key(minisign, one) for one in _each(public_key)]
    if signature is None:
        raise refusal(
            Fault.UNSIGNED, f"{where} is not signed: there is no {SIGNATURE} in it to verify"
        )
    try:
        found = minisign.Signature.from_bytes(signature)
    except ValueError as error:
        raise refusal(
            Fault.SIGNATURE, f"{where}: {SIGNATURE} is not a signature: {first_line(error)}"
        ) from error
    reasons = [reason for key in keys if (reason := _refused(minisign, key, raw, found))]
    if len(reasons) == len(keys):
        with_what = "this key" if len(keys) == 1 else f"any of the {len(keys)} keys"
        raise refusal(
            Fault.SIGNATURE,
            f"{where} was not signed with {with_what}, or was changed afterwards ({reasons[-1]})",
        )


def require_keys(public_keys: PublicKeys) -> None:
    """Raise ``BundleError`` for what is no public key, before anything is verified with it."""
    minisign = _library()
    for one in _each(public_keys):
        _public_key(minisign, one)


def _each(public_keys: PublicKeys) -> Iterable[PublicKey]:
    found = public_keys if isinstance(public_keys, tuple) else (public_keys,)
    if not found:
        raise ValueError("nothing is signed by nobody: give a public key")
    return found


def _refused(minisign: Any, key: Any, raw: bytes, signature: Any) -> str:
    """Why the owner of a key did not sign these bytes; empty where they did."""
    try:
        key.verify(raw, signature)
    except (minisign.VerifyError, ValueError) as error:
        return first_line(error)
    return ""


def _public_key(minisign: Any, given: PublicKey) -> Any:
    text = os.fspath(given)
    try:
        if len(text) < _LONGEST_KEY and text.startswith("RW") and not Path(text).exists():
            return minisign.PublicKey.from_base64(text)
        return minisign.PublicKey.from_bytes(_read_key(Path(text)))
    except ValueError as error:
        raise refusal(
            Fault.KEY, f"{text[:200]} is not a public key of minisign: {first_line(error)}"
        ) from error


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_KEY_BYTES)
    except OSError as error:
        raise refusal(
            Fault.KEY, f"the key {path} cannot be read: {error.strerror or error}"
        ) from error


def _library() -> Any:
    try:
        import minisign
    except ImportError as error:
        raise RuntimeUnavailable(
            missing_extra("py-minisign", "sign", "to sign and to verify bundles")
        ) from error
    return minisign
