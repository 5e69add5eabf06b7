"""Signatures of manifests in minisign's format: https://jedisct1.github.io/minisign/.

The tool ``minisign`` makes and verifies the same: ``minisign -V -p key.pub -m kilnx-bundle.json``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
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
    raw: bytes, signature: bytes | None, public_key: str | os.PathLike[str], where: Path
) -> None:
    """Raise ``BundleError`` unless the owner of ``public_key`` signed exactly these bytes.

    The key is that of minisign: 56 characters in Base64, or the path of its file.
    """
    minisign = _library()
    key = _public_key(minisign, public_key)
    if signature is None:
        raise refusal(
            Fault.UNSIGNED, f"{where} is not signed: there is no {SIGNATURE} in it to verify"
        )
    try:
        key.verify(raw, minisign.Signature.from_bytes(signature))
    except minisign.VerifyError as error:
        raise refusal(
            Fault.SIGNATURE,
            f"{where} was not signed with this key, or was changed afterwards ({error})",
        ) from error
    except ValueError as error:
        raise refusal(
            Fault.SIGNATURE, f"{where}: {SIGNATURE} is not a signature: {first_line(error)}"
        ) from error


def _public_key(minisign: Any, given: str | os.PathLike[str]) -> Any:
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
