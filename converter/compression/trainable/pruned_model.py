"""``PrunedModel``: fine-tuning of what pruning left.

Imported only when it is asked for, as is all that subclasses ``keras.Model``.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from converter.compression.trainable.source import trainable_graph
from converter.pruning.cut_to import cut_to
from converter.pruning.prepare import PruneOptions
from converter.pruning.search.savings import Target
from quantizers.rewrites.prepare import refuse_quantized
from quantizers.training.form import PlainForm
from quantizers.training.keras_model import GraphModel, register
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import model_inputs


@register
class PrunedModel(GraphModel):
    """A Keras model that trains what pruning to a target left.

    Whole channels go, those first that matter least for what they cost, and the layers behind are
    refitted to do without; no budget of accuracy is asked, because training is to recover it.
    ``to_onnx`` writes the smaller graph.

    Args:
        model: A Keras model or file, an ONNX file, an ``onnx_ir.Model`` or a ``GraphModel``.
        data: What ``Dataset.open`` takes; decides which channels go. No labels are needed.
        flops: The share of the multiply-adds that is left, 0 to 1.
        params: The share of the parameters that is left; one of the two is given.
        seed: Of all draws.
        name: Of the Keras model; None: that of the graph.

    Raises:
        DataError: The data do not fit, or the model cannot be made as small as that.
        ModelError: The model is quantized already, or cannot be read.
        UnsupportedOperator: An operator cannot be exported or trained.
        RuntimeUnavailable: Keras is not installed, or runs on another backend than TensorFlow.

    Example:
        >>> model = PrunedModel("model.onnx", "samples.npz", flops=0.5)
        >>> model.compile("adam", "mse")
    """

    def __init__(
        self,
        model: Any,
        data: Any,
        *,
        flops: float | None = None,
        params: float | None = None,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        target = _target(flops, params)
        source = trainable_graph(model)
        refuse_quantized(source)
        samples = Dataset.open(data, inputs=model_inputs(source)).without_labels()
        pruned = cut_to(source, samples, PruneOptions(target=target, seed=seed))
        self._begin(PlainForm(_clean(pruned)), name, model)


def _target(flops: float | None, params: float | None) -> Target:
    if (flops is None) == (params is None):
        raise DataError("say what is left by flops or by params, and not by both: flops=0.5")
    share = flops if flops is not None else params
    assert share is not None
    if not 0 < share < 1:
        raise DataError(f"{share} is no share of the model: give one between 0 and 1, such as 0.5")
    return Target("macs" if flops is not None else "parameters", share)


def _clean(model: ir.Model) -> ir.Model:
    from converter.passes import optimize

    return optimize(model.clone())
