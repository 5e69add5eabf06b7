"""The stages of a model for KServe: a service for each, and a graph that asks one after the other.

The graph's router passes on an answer as the next request, as it is. So each stage takes all that
the one before it gives, and hands on what those behind it read, next to its own outputs.
https://kserve.github.io/website/docs/model-serving/inferencegraph/overview
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from converter.packaging.docker import server_image
from converter.packaging.kserve import (
    LONGEST_NAME,
    runtime_of,
    service_of,
    with_runtime,
    write_modelcar,
)
from converter.packaging.kubernetes import labels, write_manifest
from converter.packaging.names import dns_label, is_tagged, label_value, with_suffix
from converter.packaging.options import DeployOptions, Exported
from converter.packaging.staged import Staged, read_staged, specs_of
from runtimes.atomic_files import scratch_folder
from runtimes.base import TensorSpec
from runtimes.bundle import Bundle, write_bundle
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import load_graph, write_model


def export_graph(bundle: Bundle, folder: Path, options: DeployOptions) -> Exported:
    """Write ``modelcar-STAGE/`` for each stage, ``runtime/`` and ``manifests/`` into ``folder``.

    Raises ``DataError`` for stages that were cut from the graph of one machine.
    """
    name = dns_label(options.name or bundle.name, "an InferenceGraph", longest=LONGEST_NAME)
    version = label_value(bundle.version, "version")
    staged = read_staged(bundle.folder)
    if staged.exact is not None:
        raise DataError(
            f"{bundle.path} was cut, bit by bit, for {staged.exact}, and a cluster has machines of "
            "several kinds; partition the model without exact"
        )
    server = server_image(bundle, options)
    names = [
        dns_label(f"{name}-{stage.name}", "an InferenceService", longest=LONGEST_NAME)
        for stage in staged.stages
    ]
    (folder / "manifests").mkdir()
    images: dict[str, str] = {}
    for own, carrying in zip(names, carrying_stages(staged), strict=True):
        suffix = own.removeprefix(name)
        image = with_suffix(server, suffix) if is_tagged(server) else f"{own}:{version}"
        car = f"modelcar{suffix}"
        _write_car(carrying, own, bundle, folder / car)
        service = service_of(own, version, image, options, runtime=name)
        write_manifest(folder / f"manifests/inferenceservice{suffix}.yaml", service)
        images[image] = f"--file {car}/Containerfile {car}"
    runtime = runtime_of(name, version, server, bundle, options)
    write_manifest(folder / "manifests/servingruntime.yaml", runtime)
    write_manifest(folder / "manifests/inferencegraph.yaml", _graph(name, version, names))
    return with_runtime(
        bundle,
        folder,
        options,
        images,
        f"clients post requests of the protocol v2, in JSON, to the graph {name!r} itself",
        "the router passes tensors on as JSON text: it costs far more than kilnx serve of the "
        "bundle, which passes on bytes",
        "the router passes on no token unless KServe is configured to propagate the header "
        "Authorization",
    )


def carrying_stages(staged: Staged) -> Iterator[ir.Model]:
    """The stages such that each takes exactly what the one before it gives.

    The first takes the inputs of the whole, the last gives its outputs. What a stage has no use for
    and a later one has goes through it.
    """
    specs = specs_of(staged.signatures)
    wanted = {spec.name for spec in staged.whole.outputs}
    takes = [spec.name for spec in staged.whole.inputs]
    for place, stage in enumerate(staged.stages):
        behind = staged.stages[place + 1 :]
        later = wanted | {name for one in behind for name in one.inputs}
        held = list(dict.fromkeys((*takes, *stage.outputs)))
        gives = [name for name in held if name in later]
        if not behind:
            gives = [spec.name for spec in staged.whole.outputs]
        yield _carrying(load_graph(staged.folder / stage.file), takes, gives, specs)
        takes = gives


def _carrying(
    model: ir.Model, takes: Sequence[str], gives: Sequence[str], specs: dict[str, TensorSpec]
) -> ir.Model:
    own = {str(value.name): value for value in (*model.graph.inputs, *model.graph.outputs)}
    for name in takes:
        if name not in own:
            own[name] = _value(specs[name])
    model.graph.inputs.clear()
    model.graph.inputs.extend(own[name] for name in takes)
    model.graph.outputs.clear()
    model.graph.outputs.extend(own[name] for name in gives)
    return model


def _value(spec: TensorSpec) -> ir.Value:
    shape = None if spec.shape is None else ir.Shape(list(spec.shape))
    return ir.Value(
        name=spec.name, type=ir.TensorType(ir.DataType.from_numpy(spec.dtype)), shape=shape
    )


def _write_car(model: ir.Model, name: str, bundle: Bundle, folder: Path) -> None:
    """Write what builds the image of one stage: a bundle of its own, called as its service."""
    with scratch_folder() as scratch:
        write_model(model, scratch / "model.onnx")
        with write_bundle(
            scratch / "bundle",
            model=scratch / "model.onnx",
            name=name,
            version=bundle.version,
            packages=bundle.manifest["packages"],
            limits=bundle.limits,
            target=bundle.target,
        ) as own:
            write_modelcar(own, folder)


def _graph(name: str, version: str, services: Sequence[str]) -> dict[str, Any]:
    steps = [
        {
            "name": service.removeprefix(f"{name}-"),
            "serviceName": service,
            "data": "$response" if place else "$request",
            # A stage that fails ends the request; otherwise its error would be sent on.
            "dependency": "Hard",
        }
        for place, service in enumerate(services)
    ]
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {"name": name, "labels": labels(name, version)},
        "spec": {"nodes": {"root": {"routerType": "Sequence", "steps": steps}}},
    }
