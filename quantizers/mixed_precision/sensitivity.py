"""How much noise one operator in INT8 puts on the output, all others in float."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from quantizers.mixed_precision.candidate import CalibratedModel, score
from quantizers.options import QuantizeOptions
from quantizers.policy.plan import make_plan
from quantizers.qdq.dynamic import find_weights_only, place_weights_only
from quantizers.qdq.grids import assign_grids, observed_values
from quantizers.qdq.place import insert_qdq
from quantizers.qdq_form import QdqForm
from quantizers.weights.codes import quantize_weights
from runtimes.data.dataset import Dataset
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.remembering import RememberingRuntime
from runtimes.onnx_files.load_save import weight_bytes
from runtimes.progress import Progress, silent

_SAMPLES = 16
_SAMPLES_OF_LARGE = 4
_LARGE = 40 * 2**20


def measure_sensitivities(
    reference: ir.Model,
    basis: CalibratedModel,
    names: Sequence[str],
    data: Dataset,
    options: QuantizeOptions,
    *,
    progress: Progress = silent,
) -> dict[str, float]:
    """SQNR of the model's worst output with one operator alone in INT8, dB, by its name.

    Operators that are not worth INT8 alone (an addition, say) have none.
    """
    if not names:
        return {}
    samples, found = samples_for(basis.source), {}
    # The float model is the same for all: it is opened once, and runs once.
    with RememberingRuntime(reference, threads=options.threads, config=NO_SPINNING) as whole:
        for number, name in enumerate(names, 1):
            progress("measuring the noise of operators", number, len(names))
            model = _alone(basis, name, options)
            if model is not None:
                found[name] = score(whole, model, data, options, samples=samples).sqnr_db
    return found


def samples_for(source: ir.Model) -> int:
    """How many samples tell the noise of an operator."""
    return _SAMPLES if weight_bytes(source) < _LARGE else _SAMPLES_OF_LARGE


def _alone(basis: CalibratedModel, name: str, options: QuantizeOptions) -> ir.Model | None:
    """The model with one operator in INT8; None where it is not worth that alone."""
    model, whole = basis.source.clone(), _whole(basis, name, options.qdq)
    everything = {str(node.name) for node in model.graph}
    plan = make_plan(model.graph, everything - whole, options.qdq)
    single = find_weights_only(model.graph, everything - whole, options.form)
    if not plan.units and not single:
        return None
    ranges = {str(v.name): basis.ranges[str(v.name)] for v in observed_values(plan)}
    grids = assign_grids(plan, ranges)
    codes = quantize_weights(
        plan, grids, basis.statistics, basis.covariances, options, known=basis.rounded
    )
    if plan.units:
        insert_qdq(model.graph, plan, grids, weights=codes.weights)
    place_weights_only(model, single, target_cpu=options.target_cpu)
    return model


def _whole(basis: CalibratedModel, name: str, form: QdqForm) -> set[str]:
    """The operator called ``name`` with what it absorbs, or what shares its table."""
    for unit in make_plan(basis.source.graph, form=form).units:
        if unit.name == name:
            return {name, *(str(node.name) for node in unit.absorbed)}
    for one in find_weights_only(basis.source.graph):
        if one.name == name:
            return set(one.together)
    return {name}
