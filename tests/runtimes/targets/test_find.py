"""Targets are found by name, and every file describes one that holds together."""

from __future__ import annotations

import onnx.defs
import onnx_ir as ir
import pytest

from runtimes.engines.provider_names import PROVIDER_NAMES
from runtimes.errors import DataError
from runtimes.targets import DEFAULT_TARGET, Target, find_target, target_names
from runtimes.targets.find import target_of


def test_no_name_is_the_default_target() -> None:
    assert find_target(None) is find_target(DEFAULT_TARGET)
    assert find_target().is_default


def test_a_target_is_itself() -> None:
    target = find_target("tract")
    assert find_target(target) is target


def test_the_default_target_stands_first_and_the_others_by_the_alphabet() -> None:
    first, *others = target_names()
    assert first == DEFAULT_TARGET
    assert others == sorted(others)


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(DataError, match=r"no target 'opnvino' \(did you mean 'openvino'\?\)"):
        find_target("opnvino")


@pytest.mark.parametrize("name", target_names())
def test_a_target_names_engines_that_there_are(name: str) -> None:
    target = find_target(name)
    assert {target.engine, target.clock, *target.also} <= set(PROVIDER_NAMES)


@pytest.mark.parametrize("name", target_names())
def test_a_target_refuses_only_operators_that_there_are(name: str) -> None:
    standard = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    refused = {operator for operator in find_target(name).refused if "." not in operator}
    assert refused <= standard


@pytest.mark.parametrize("name", target_names())
def test_a_target_takes_int8_or_says_why_not(name: str) -> None:
    target = find_target(name)
    assert (target.int8 is None) == bool(target.no_int8)
    assert target.few_bits == (not target.no_few_bits)
    assert target.oldest_int8_opset <= target.opset


def test_what_is_only_slow_in_one_engine_does_not_bind_the_portable_target() -> None:
    web, portable = find_target("onnxruntime-web").int8, find_target("portable").int8
    assert web is not None
    assert portable is not None
    depthwise, whole = (
        ir.Node("", "Conv", [], attributes=[ir.AttrInt64("group", group)]) for group in (8, 1)
    )
    assert "grouped convolution" in str(web.float_reason(depthwise))
    assert web.float_reason(whole) is None
    assert portable.float_reason(depthwise) is None
    assert portable.float_reason(ir.Node("", "MaxPool", [])) is not None  # OpenCV has none


def test_the_portable_target_refuses_what_any_engine_refuses() -> None:
    portable = find_target("portable")
    for member in ("openvino", "opencv", "tract", "reference", "onnxruntime-web"):
        target = find_target(member)
        assert portable.opset <= target.opset
        assert set(target.refused) <= set(portable.refused)
        assert target.engine in {portable.engine, *portable.also}


def test_a_document_of_a_target_states_only_what_a_target_has() -> None:
    facts = {"title": "One", "engine": "cpu", "domains": [""], "no_int8": "it is old"}
    assert target_of("one", facts) == Target("one", "One", "cpu", "cpu", no_int8="it is old")
    with pytest.raises(TypeError, match="colour"):
        target_of("one", {**facts, "colour": "red"})
