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
from runtimes.engines.runtime import Runtime
from runtimes.onnx_files.load_save import weight_bytes
from runtimes.progress import Progress, silent

_SAMPLES = 16
_SAMPLES_OF_LARGE = 4
_LARGE = 40 * 2**20


def measure_sensitivities(
    reference: Runtime,
    basis: CalibratedModel,
    names: Sequence[str],
    data: Dataset,
    options: QuantizeOptions,
    *,
    progress: Progress = silent,
) -> dict[str, float]:
    """SQNR of the model's worst output with one operator alone in INT8, dB, by its name.

    Operators that are not worth INT8 alone (an addition, say) have none. The ``reference`` is open;
    a ``RememberingRuntime`` runs once for all of them.
    """
    samples, wholes = samples_for(basis.source), _wholes(basis, options.qdq)
    found = {}
    for number, name in enumerate(names, 1):
        progress("measuring the noise of operators", number, len(names))
        model = _alone(basis, wholes.get(name, {name}), options)
        if model is not None:
            found[name] = score(reference, model, data, options, samples=samples).sqnr_db
    return found


def samples_for(source: ir.Model) -> int:
    """How many samples tell the noise of an operator."""
    return _SAMPLES if weight_bytes(source) < _LARGE else _SAMPLES_OF_LARGE


def _alone(basis: CalibratedModel, whole: set[str], options: QuantizeOptions) -> ir.Model | None:
    """The model with one operator in INT8; None where it is not worth that alone."""
    model = basis.source.clone()
    others = {str(node.name) for node in model.graph} - whole
    plan = make_plan(model.graph, others, options.qdq)
    single = find_weights_only(model.graph, others, options.form)
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


def _wholes(basis: CalibratedModel, form: QdqForm) -> dict[str, set[str]]:
    """Each operator by its name, with what it absorbs, or with what shares its table."""
    graph = basis.source.graph
    found = {one.name: set(one.together) for one in find_weights_only(graph)}
    for unit in make_plan(graph, form=form).units:
        found[unit.name] = {unit.name, *(str(node.name) for node in unit.absorbed)}
    return found
