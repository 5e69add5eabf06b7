"""The table of operators that kilnx writes itself."""

from __future__ import annotations

from typing import Any

import pytest

from converter.lowering import custom_handlers
from runtimes.errors import UnsupportedOperator


def test_an_operator_that_onnx_means_otherwise_is_refused(keras: Any) -> None:
    import tensorflow as tf

    from converter.export.export import export

    def truncated(x: Any) -> Any:
        return tf.raw_ops.Mod(x=x, y=tf.constant(3, tf.int32))

    tensor = keras.Input((4,), dtype="int32")
    layer = keras.layers.Lambda(truncated, name="remainder", dtype="int32")
    with pytest.raises(UnsupportedOperator, match=r"'remainder'.*Mod.*something else"):
        export(keras.Model(tensor, layer(tensor)))


def test_no_name_is_left_to_be_mistaken() -> None:
    """An operator of TensorFlow that nobody converts must not be in ONNX under that name."""
    import onnx.defs
    import tensorflow as tf
    import tf2onnx.tfonnx  # noqa: F401  # its handlers register themselves
    from tf2onnx import handler

    converted = {*handler.tf_op.create_mapping(18, None), *custom_handlers({})}
    known_to_onnx = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert (set(dir(tf.raw_ops)) & known_to_onnx) - converted == set()
