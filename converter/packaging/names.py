"""Names that other systems accept, and what to say where they do not."""

from __future__ import annotations

import re

from runtimes.errors import DataError

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#rfc-1035-label-names:
# the names of Services start with a letter, and one name serves all objects.
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_LENGTH = 63
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
# https://pkg.go.dev/github.com/distribution/reference: the grammar of image references.
_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PATH_PART}(?:/{_PATH_PART})*"
_TAG = re.compile(r"[A-Za-z0-9_][\w.-]{0,127}", re.ASCII)
_IMAGE = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_PATH})(?P<tag>:{_TAG.pattern})?(?P<digest>@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)
# A folder below the model repository, and a part of the addresses that clients call.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_IMAGE_LENGTH = 255


def dns_label(name: str, what: str, *, longest: int = LABEL_LENGTH) -> str:
    """Return ``name`` if it names ``what`` (such as "a Service"), else raise ``DataError``."""
    if len(name) <= longest and _LABEL.fullmatch(name):
        return name
    raise DataError(
        f"{name!r} cannot name {what}: lowercase letters, digits and hyphens, a letter first, no "
        f"hyphen last, at most {longest} characters; choose one with --name{_suggested(name)}"
    )


def label_value(text: str, what: str) -> str:
    """Return ``text`` if it may be the value of a Kubernetes label, else raise ``DataError``."""
    if len(text) <= LABEL_LENGTH and _LABEL_VALUE.fullmatch(text):
        return text
    raise DataError(
        f"{what} {text!r} cannot be the value of a label: letters, digits, hyphens, dots and "
        f"underscores, at most {LABEL_LENGTH} characters; package the bundle with another version"
    )


def image_tag(text: str, what: str) -> str:
    """Return ``text`` if it may be the tag of a container image, else raise ``DataError``."""
    if _TAG.fullmatch(text):
        return text
    raise DataError(
        f"{what} {text!r} cannot be an image's tag: letters, digits, dots, hyphens and "
        "underscores, at most 128 characters; name the image with --image NAME:TAG"
    )


def image_reference(text: str) -> str:
    """Return the image reference ``text``, which has a tag or a digest; else ``DataError``.

    An image without either would be ``latest``: other bytes tomorrow.
    """
    found = _IMAGE.fullmatch(text)
    if found is None or len(found["name"]) > _IMAGE_LENGTH:
        raise DataError(
            f"{text!r} is no image: expected [REGISTRY/]NAME:TAG, such as "
            "registry.example.com/digits:1, the name in lowercase"
        )
    if found["tag"] is None and found["digest"] is None:
        raise DataError(
            f"the image {text!r} has no tag, and 'latest' may be another one tomorrow; "
            f"add one, such as {text}:1"
        )
    return text


def with_suffix(image: str, suffix: str) -> str:
    """The image whose repository has ``suffix`` behind its name, with the same tag."""
    found = _IMAGE.fullmatch(image)
    assert found is not None, image
    return f"{found['name']}{suffix}{found['tag'] or ''}"


def is_tagged(image: str) -> bool:
    """Whether the image reference has a tag and no digest, as one that is yet to be built has."""
    return "@" not in image


def model_name(name: str) -> str:
    """Return ``name`` if it can be a folder of a model repository, else raise ``DataError``."""
    if len(name) <= _IMAGE_LENGTH and _MODEL.fullmatch(name):
        return name
    raise DataError(
        f"{name!r} cannot name a model in a repository: letters, digits, dots, hyphens and "
        "underscores, a letter or digit first; choose one with --name"
    )


def version_number(version: str) -> int:
    """The version as a model repository counts it: a whole number from 1, else ``DataError``."""
    if re.fullmatch(r"[1-9][0-9]{0,17}", version):
        return int(version)
    raise DataError(
        f"version {version!r} cannot be a version of a model repository, where versions are whole "
        "numbers from 1; package the bundle with such a version"
    )


def _suggested(name: str) -> str:
    """The nearest label, as the end of the sentence; nothing where there is none."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").lstrip("0123456789-")
    plain = plain[:LABEL_LENGTH].rstrip("-")
    return f" {plain}" if plain and plain != name else ""
