"""Names that other systems refuse are refused first, with one that is right."""

from __future__ import annotations

import pytest

from converter.packaging.names import (
    dns_label,
    image_reference,
    image_tag,
    label_value,
    model_name,
    version_number,
    with_suffix,
)
from runtimes.errors import DataError

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("name", ["a", "digits", "a-1-b", "a" * 63])
def test_labels_of_dns(name: str) -> None:
    assert dns_label(name, "a Service") == name


@pytest.mark.parametrize(
    "name", ["", "Digits", "1a", "a_b", "a.b", "-a", "a-", "a\n", "ä", "a" * 64, "a b", "a/b"]
)
def test_what_is_no_label_of_dns(name: str) -> None:
    with pytest.raises(DataError, match="cannot name a Service: lowercase letters"):
        dns_label(name, "a Service")


def test_the_nearest_label_is_named() -> None:
    with pytest.raises(DataError, match=r"choose one with --name my-digits-2$"):
        dns_label("3 My_Digits.2!", "a Service")
    with pytest.raises(DataError, match=r"choose one with --name$"):
        dns_label("Ä", "a Service")


def test_a_shorter_length_holds() -> None:
    assert dns_label("a" * 53, "a thing", longest=53)
    with pytest.raises(DataError, match="at most 53 characters"):
        dns_label("a" * 54, "a thing", longest=53)


@pytest.mark.parametrize(
    "image",
    [
        "digits:1",
        "library/digits:1.2-rc_3",
        "registry.example.com:5000/team/digits:v1",
        "localhost:5000/digits:1",
        "[::1]:5000/digits:1",
        f"digits@sha256:{'0' * 64}",
        f"r.example.com/a__b/c-d:1@sha256:{'f' * 64}",
    ],
)
def test_images(image: str) -> None:
    assert image_reference(image) == image


@pytest.mark.parametrize(
    "image",
    [
        *("", ":1", "Digits:1", "a//b:1", "a:1:2", "a b:1", "a:-1", f"a:{'1' * 129}", "a:1\n"),
        *("-a:1", "a-:1", "https://r/a:1", "a@sha256:12", "a:1 --privileged", f"{'a' * 256}:1"),
    ],
)
def test_what_is_no_image(image: str) -> None:
    with pytest.raises(DataError, match="is no image: expected"):
        image_reference(image)


def test_an_image_that_may_be_another_tomorrow_is_refused() -> None:
    with pytest.raises(DataError, match=r"'r.example.com:5000/digits' has no tag.*digits:1"):
        image_reference("r.example.com:5000/digits")


def test_a_second_image_is_named_after_the_first() -> None:
    assert with_suffix("r:5000/digits:1", "-model") == "r:5000/digits-model:1"


def test_tags_and_values_of_labels() -> None:
    assert image_tag("1.2-rc.1", "version") == label_value("1.2-rc.1", "version") == "1.2-rc.1"
    for version in ("1+cpu", "", "ä", ".1"):
        with pytest.raises(DataError, match="cannot be an image's tag"):
            image_tag(version, "version")
        with pytest.raises(DataError, match="cannot be the value of a label"):
            label_value(version, "version")


def test_versions_of_repositories_are_whole_numbers() -> None:
    assert version_number("12") == 12
    for version in ("0", "01", "1.0", "-1", "v1", "", "1\n", "9" * 19, "١"):
        with pytest.raises(DataError, match="whole numbers from 1"):
            version_number(version)


def test_models_of_repositories() -> None:
    assert model_name("My.digits_2-b") == "My.digits_2-b"
    for name in ("", ".hidden", "..", "a/b", "a b", "ä", "a\n"):
        with pytest.raises(DataError, match="cannot name a model in a repository"):
            model_name(name)
