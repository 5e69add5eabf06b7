"""``QuantizedModel``: quantization-aware training.

Imported only when it is asked for, as is all that subclasses ``keras.Model``.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from converter.compression.trainable.source import trainable_graph
from quantizers.options import QuantizeOptions
from quantizers.static import quantize_model
from quantizers.training.form import Form
from quantizers.training.keras_model import GraphModel, register
from quantizers.training.quantized_form import QuantizedForm
from quantizers.training.scales import separate_bias_scales
from quantizers.training.weight_bits import levels_of, weights_of, with_weight_bits
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError, ModelError
from runtimes.onnx_files.load_save import model_inputs
from runtimes.onnx_graph.quantized import is_quantized

_FEWEST_BITS, _BITS = 2, 8


@register
class QuantizedModel(GraphModel):
    """A Keras model that is trained as it will run: with INT8 activations and weights of few bits.

    Float models are quantized first, whatever operators the policy of ``quantize_model`` allows;
    give a file that ``quantize`` wrote to train what it placed. ``to_onnx`` writes the codes into
    the same Q/DQ graph. The outputs are those of INT8 kernels but for their rounding.

    Args:
        model: A Keras model or file, an ONNX file, an ``onnx_ir.Model`` or a ``GraphModel``.
        data: What ``Dataset.open`` takes; calibrates. Not needed for a model that is quantized.
        weight_bits: Of weights, 2 to 8; they stay bytes, of which fewer codes are used.
        per_channel: A scale for each output channel of a weight, or one for all.
        learn_scales: Whether the scales of weights and activations are trained, too.
        name: Of the Keras model; None: that of the graph.

    Raises:
        DataError: There are no data and the model is not quantized, or they do not fit.
        ModelError: Nothing in the model can be quantized.
        UnsupportedOperator: An operator cannot be exported or trained.
        RuntimeUnavailable: Keras is not installed, or runs on another backend than TensorFlow.

    Example:
        >>> model = QuantizedModel("model.onnx", "samples.npz", weight_bits=4)
        >>> model.compile("adam", "mse")
    """

    def __init__(
        self,
        model: Any,
        data: Any = None,
        *,
        weight_bits: int = _BITS,
        per_channel: bool = True,
        learn_scales: bool = False,
        name: str | None = None,
    ) -> None:
        if not _FEWEST_BITS <= weight_bits <= _BITS:
            raise DataError(f"weight_bits is {weight_bits}; give a number from 2 to 8")
        graph = _quantized(trainable_graph(model), data)
        if weight_bits < _BITS or not per_channel:
            graph = with_weight_bits(graph, weight_bits, per_channel=per_channel)
        if learn_scales:
            graph = graph.clone()
            separate_bias_scales(graph)
        form = QuantizedForm(graph, levels_of(graph), learn_scales)
        self._begin(form, name, model)

    def _settings(self) -> dict[str, Any]:
        form = self._form
        assert isinstance(form, QuantizedForm)
        return {"levels": dict(form.levels), "learn_scales": form.learn_scales}

    @classmethod
    def _form_of(cls, model: ir.Model, settings: dict[str, Any]) -> Form:
        return QuantizedForm(model, settings["levels"], settings["learn_scales"])


def _quantized(graph: ir.Model, data: Any) -> ir.Model:
    if is_quantized(graph):
        return graph
    if data is None:
        raise DataError(
            "the model is not quantized yet, which takes samples: give data, such as "
            "QuantizedModel(model, {'image': x})"
        )
    samples = Dataset.open(data, inputs=model_inputs(graph)).without_labels()
    found, report = quantize_model(graph, samples, options=QuantizeOptions(threads=1))
    if not any(True for _ in weights_of(found)):
        raise ModelError(f"no weights of this model can be quantized to train: {report.reason}")
    return found
