"""The public interface: what there is, and that it speaks with one voice."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from typing import Any

import pytest

import converter
import quantizers
import runtimes
from runtimes.readable import ReadableReport

PACKAGES = {package.__name__: package for package in (converter, quantizers, runtimes)}
# Subclasses of keras.Model: to ask for one loads Keras, which these tests do without.
KERAS_MODELS = {"GraphModel", "PrunedModel", "QuantizedModel", "SharedModel"}
PUBLIC = {
    f"{package.__name__}.{name}": getattr(package, name)
    for package in PACKAGES.values()
    for name in package.__all__
    if name not in KERAS_MODELS
}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
OPTIONS = {
    name: value
    for name, value in PUBLIC.items()
    if dataclasses.is_dataclass(value) and name.endswith(("Options", "Budget"))
}
# A Keras option is not one of ONNX Runtime, and None leaves threads to the engine.
_OTHER_TYPES = {"threads"}


@pytest.mark.parametrize("package", PACKAGES.values(), ids=list(PACKAGES))
def test_dir_shows_what_there_is(package: Any) -> None:
    assert sorted(package.__all__) == list(package.__all__) == dir(package)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


def test_keras_is_loaded_only_by_the_models_that_need_it() -> None:
    names = [name for name in quantizers.__all__ if name not in KERAS_MODELS]
    code = f"import sys; from quantizers import {', '.join(names)}; print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert set(quantizers.__all__) >= KERAS_MODELS


def test_the_documented_names_are_there() -> None:
    assert {"compress", "convert", "dedupe", "prune"} <= set(converter.__all__)
    assert {"quantize", "quantize_model"} <= set(quantizers.__all__)
    assert {"Budget", "Dataset", "check", "open_runtime", "profile"} <= set(runtimes.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_document_every_parameter(name: str) -> None:
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    own = inspect.signature(inspect.unwrap(function)).parameters
    assert "Args:" in text
    for parameter in own:
        assert re.search(rf"^ +{parameter}: ", text, re.MULTILINE), parameter
    assert "Raises:" in text
    assert ">>> " in text


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_judge_take_few_parameters(name: str) -> None:
    function = FUNCTIONS[name]
    groups = [p for p in inspect.signature(function).parameters if p in ("options", "run")]
    if groups:
        assert len(inspect.signature(inspect.unwrap(function)).parameters) <= 8


def test_one_option_has_one_type_and_one_default() -> None:
    seen: dict[str, dict[tuple[str, str], list[str]]] = {}
    for name, function in FUNCTIONS.items():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.default is inspect.Parameter.empty or parameter.name == "options":
                continue
            kind = "" if parameter.name in _OTHER_TYPES else str(parameter.annotation)
            key = (kind, repr(parameter.default))
            seen.setdefault(parameter.name, {}).setdefault(key, []).append(name)
    differing = {name: found for name, found in seen.items() if len(found) > 1}
    assert not differing


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_frozen_and_documented(name: str) -> None:
    options = OPTIONS[name]
    assert options.__dataclass_params__.frozen
    text = inspect.getdoc(options) or ""
    for field in dataclasses.fields(options):
        assert re.search(rf"^ *{field.name}: |``{field.name}``", text, re.MULTILINE), field.name


def test_every_report_is_readable() -> None:
    reports = [value for name, value in PUBLIC.items() if name.endswith("Report")]
    assert reports
    for report in reports:
        assert issubclass(report, ReadableReport), report
        assert report.headline is not ReadableReport.headline


def test_a_report_in_a_notebook() -> None:
    @dataclasses.dataclass
    class Found(ReadableReport):
        notes: tuple[str, ...] = ("a < b",)

        def headline(self) -> str:
            return "2 > 1"

        def rows(self) -> list[dict[str, str]]:
            return [{"layer": "a&b", "error": "0"}]

    assert str(Found()) == "2 > 1"
    assert Found()._repr_html_() == (
        "<p><b>2 &gt; 1</b></p><table><thead><tr><th>layer</th><th>error</th></tr></thead>"
        "<tbody><tr><td>a&amp;b</td><td>0</td></tr></tbody></table><ul><li>a &lt; b</li></ul>"
    )
