"""``convert``: turns a Keras model into an ONNX file that is proven to match it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import onnx_ir as ir

from converter.export.bfloat16 import NOTE, uses_bfloat16
from converter.export.channels_first import Layout, is_image
from converter.export.dimension_names import share_dimension_names
from converter.export.export import export
from converter.export.image_inputs import channels_last_images
from converter.export.low_bit_notes import low_bit_notes, preferred_opset
from converter.export.opsets import choose_opset
from converter.export.other_backends import Sample, as_file, compare_with_original, proven_on
from converter.export.proof.chunks import prove_chunks
from converter.export.proof.expectations import Expectation, expectations
from converter.export.proof.prove import OutputProof, prove
from converter.export.sources import load_source
from converter.export.target_proof import fitted, prove_in_engines
from converter.export.tensorflow_process import in_tensorflow
from converter.export.tracing.states import State, refuse_stateless, states_of
from runtimes.atomic_files import atomic_file, refuse_existing
from runtimes.defects import Defect, contain
from runtimes.errors import DataError
from runtimes.keras_models.backend import other_backend
from runtimes.keras_models.live_keras2 import is_live_keras2
from runtimes.keras_models.load import KerasSource
from runtimes.keras_models.signature import KerasSignature
from runtimes.onnx_files.load_save import file_bytes, model_inputs, model_outputs, write_model
from runtimes.options import KerasOptions, flat_options
from runtimes.readable import ReadableReport
from runtimes.targets import DEFAULT_TARGET, Target, find_target


@dataclass(frozen=True)
class ConversionReport(ReadableReport):
    """What was converted and how closely the file matches Keras; sizes are in bytes.

    ``defects``: notes that failed by kilnx' own fault.
    """

    source: str
    output: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: int
    parameters: int
    size_bytes: int
    proofs: tuple[OutputProof, ...]
    notes: tuple[str, ...] = ()
    defects: tuple[Defect, ...] = ()
    target: str = DEFAULT_TARGET

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        return asdict(self)

    def headline(self) -> str:
        """What was written."""
        return (
            f"{self.output}: opset {self.opset}, {self.nodes} nodes, {self.parameters:,} "
            f"parameters, {self.size_bytes / 1024:,.1f} KiB"
        )

    def rows(self) -> list[dict[str, str]]:
        """How closely each output matches Keras, one row per output and sample."""
        return [
            {
                "proof against Keras": proof.output,
                "at": _sizes(proof),
                "largest error": f"{proof.max_abs_error:.2e}",
                "allowed": f"{proof.allowed:.2e}",
            }
            for proof in self.proofs
        ]


def _sizes(proof: OutputProof) -> str:
    sizes = {"batch": proof.batch, **proof.sizes}
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


@dataclass(frozen=True)
class ConvertOptions:
    """What ``convert`` writes.

    Attributes:
        opset: The opset; None: 18, or 21 for int4 weights, or what the target needs.
        target_ort: The oldest ONNX Runtime release that must be able to open the file, such as
            ``1.16``.
        target: The runtime that the file is for, by name; None: ONNX Runtime.
        layout: ``nchw`` makes image inputs channels first.
        data: What ``Dataset.open`` takes: samples for the comparison; None: random samples.
        stateful: Whether the states of stateful RNNs, and other variables that a call writes to,
            become optional inputs (``<layer>/h``) and outputs (``<layer>/h_next``). Otherwise
            every run starts from the model's current state.
        force: Whether to replace an existing output.
    """

    opset: int | None = None
    target_ort: str | None = None
    layout: Layout = "nhwc"
    data: Any = None
    stateful: bool = False
    force: bool = False
    target: Target | str | None = None


@flat_options(options=ConvertOptions, keras=KerasOptions)
def convert(
    model: KerasSource,
    output: str | os.PathLike[str],
    *,
    options: ConvertOptions = ConvertOptions(),
    keras: KerasOptions = KerasOptions(),
) -> ConversionReport:
    """Convert a Keras model to an ONNX file that has been run and matches Keras.

    The fields of both dataclasses can also be given as keywords. A live model is not changed, and
    neither is its state.

    Args:
        model: A live model, or the path of a ``.keras`` or HDF5 file, of a model in JSON, or of a
            SavedModel folder.
        output: The file to write.
        options: Opset, layout, samples for the comparison, whether to replace the output.
        keras: How a file is read: signature, custom objects, whether its code may run.

    Returns:
        What was written, and how closely it matches Keras.

    Raises:
        UnsupportedOperator: An operator has no ONNX form; the message names the layer.
        ConversionError: The model cannot be traced, the file does not match Keras, or the target
            does not run one of its operators; the message names the node.
        ModelError: The file cannot be read.
        DataError: ``data`` does not fit, or ``output`` exists.

    Example:
        >>> report = convert("model.keras", "converted.onnx")
        >>> report.opset, report.outputs
        (18, ('scores: float32[batch, 3]',))
    """
    opset, target_ort, layout = options.opset, options.target_ort, options.layout
    choose_opset(opset, target_ort, options.target)  # errors in these before a model is loaded
    if layout not in get_args(Layout):
        raise DataError(f"there is no layout {layout!r}; choose one of {get_args(Layout)}")
    place: dict[str, Any] = {
        "force": options.force,
        "inputs": (model, options.data, keras.weights),
    }
    refuse_existing(output, **place)
    if other_backend() is not None and not is_live_keras2(model):
        return _in_tensorflow(model, output, place, options, keras)
    report, _ = convert_on_tensorflow(model, output, options, keras)
    return report


def _in_tensorflow(
    model: KerasSource,
    output: str | os.PathLike[str],
    place: Mapping[str, Any],
    options: ConvertOptions,
    keras: KerasOptions,
) -> ConversionReport:
    """``convert`` by a process that has TensorFlow; a live model also judges the file itself."""
    with atomic_file(output, **place) as path, as_file(model, keras) as (file, how):
        other = replace(options, force=True)
        report, samples = in_tensorflow(convert_on_tensorflow, file, path, other, how)
        report = replace(report, source=str(model), output=str(output))
        if isinstance(model, str | os.PathLike):
            return report
        notes = compare_with_original(path, model, samples)
        return replace(report, source=model.name, notes=(*report.notes, *notes))


def convert_on_tensorflow(
    model: KerasSource,
    output: str | os.PathLike[str],
    options: ConvertOptions,
    keras: KerasOptions,
) -> tuple[ConversionReport, tuple[Sample, ...]]:
    """``convert`` where Keras runs on TensorFlow, and the samples that the file was proven on."""
    opset, target_ort, layout = options.opset, options.target_ort, options.layout
    place: dict[str, Any] = {
        "force": options.force,
        "inputs": (model, options.data, keras.weights),
    }
    live, keras_signature = load_source(model, **keras.to_dict())
    target = find_target(options.target)
    version = choose_opset(opset, target_ort, target, default=preferred_opset(live))
    with atomic_file(output, **place) as path:
        expected = expectations(live, keras_signature, options.data)
        moved = [variable for run in expected for variable in run.moved]
        states = states_of(live, moved)
        if options.stateful:
            refuse_stateless(live, states, moved)
        graph, proofs = _export_and_prove(
            path,
            live,
            keras_signature,
            expected,
            opset=version,
            layout=layout,
            states=states if options.stateful else (),
            target=target,
        )
        elsewhere = prove_in_engines(path, target, proven_on(expected, proofs, keras_signature))
        images = _moved_images(live, keras_signature, layout)
        notes, defects = _told(
            lambda: _notes(live, keras_signature, layout),
            lambda: _state_notes(states, options.stateful),
            lambda: low_bit_notes(path, live, graph, expected, images=images),
        )
        report = ConversionReport(
            source=live.name if live is model else str(model),
            output=str(output),
            opset=graph.opset_imports[""],
            inputs=tuple(str(spec) for spec in model_inputs(graph)),
            outputs=tuple(str(spec) for spec in model_outputs(graph)),
            nodes=sum(1 for _ in ir.traversal.RecursiveGraphIterator(graph.graph)),
            parameters=live.count_params(),
            size_bytes=file_bytes(path),
            proofs=proofs,
            notes=(*notes, *elsewhere),
            defects=defects,
            target=target.name,
        )
    return report, proven_on(expected, proofs, keras_signature, images)


def _told(
    *parts: Callable[[], tuple[str, ...]],
) -> tuple[tuple[str, ...], tuple[Defect, ...]]:
    """The notes of all parts; one that fails costs no file that is written and proven."""
    notes, defects = list[str](), list[Defect]()
    for part in parts:
        found = contain("a note on the model", part)
        if isinstance(found, Defect):
            notes.append(str(found))
            defects.append(found)
        else:
            notes += found
    return tuple(notes), tuple(defects)


def _notes(model: Any, signature: KerasSignature, layout: Layout) -> tuple[str, ...]:
    found = [signature.note, NOTE if uses_bfloat16(model) else None]
    if layout == "nchw":
        moved = channels_last_images(model, signature)
        found += [
            f"the input {spec.name!r} stays as it is: the layers that read it already expect "
            "channels first"
            for spec in signature.inputs
            if is_image(len(spec.shape or ())) and spec.name not in moved
        ]
    return tuple(note for note in found if note is not None)


def _state_notes(states: Sequence[State], stateful: bool) -> tuple[str, ...]:
    if not states:
        return ()
    names = ", ".join(state.name for state in states)
    if stateful:
        return (
            f"the model's state is an optional input ({names}) and an output "
            f"({', '.join(state.next_name for state in states)}); a state that is not fed starts "
            "from the value saved in the model",
        )
    return (
        f"the model keeps a state between calls ({names}): every run of the file starts from "
        "the state saved in the model; --stateful (stateful=True) makes it an input "
        "and an output",
    )


def export_to(
    path: str | os.PathLike[str], model: Any, signature: KerasSignature
) -> tuple[ir.Model, tuple[Sample, ...]]:
    """Export a live model to ``path`` and prove the file; the graph, and the proof's samples."""
    expected = expectations(model, signature)
    graph, proofs = _export_and_prove(
        path, model, signature, expected, opset=preferred_opset(model), layout="nhwc"
    )
    return graph, proven_on(expected, proofs, signature)


def _export_and_prove(
    path: str | os.PathLike[str],
    model: Any,
    signature: KerasSignature,
    expected: Sequence[Expectation],
    *,
    opset: int,
    layout: Layout,
    states: Sequence[State] = (),
    target: Target | None = None,
) -> tuple[ir.Model, tuple[OutputProof, ...]]:
    graph = export(model, signature, opset=opset, layout=layout, states=states)
    if target is not None:
        graph = fitted(graph, target)
    share_dimension_names(graph, signature, expected)
    write_model(graph, path)
    names = [str(value.name) for value in graph.graph.outputs[: len(expected[0].outputs)]]
    images = _moved_images(model, signature, layout)
    proofs = prove(path, model, signature, names, expected, graph=graph, images=images)
    if states:
        proofs += prove_chunks(path, model, signature, states, expected, graph=graph, images=images)
    return graph, proofs


def _moved_images(model: Any, signature: KerasSignature, layout: Layout) -> tuple[str, ...]:
    """The inputs that are channels first in the file, but not in Keras."""
    return channels_last_images(model, signature) if layout == "nchw" else ()
