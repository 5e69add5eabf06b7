"""The stages of a model as models of Triton, and an ensemble that runs one after the other.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/ensemble_models.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from converter.packaging.names import model_name, version_number
from converter.packaging.options import DeployOptions, Exported
from converter.packaging.protobuf_text import Enum, Message, map_entries
from converter.packaging.signature import Signature, copy_model
from converter.packaging.staged import Staged, read_staged
from converter.packaging.triton import (
    common_notes,
    how_it_runs,
    shared_fields,
    tensor,
    write_config,
    write_labels,
)
from runtimes.bundle import Bundle
from runtimes.errors import DataError
from runtimes.stages.manifest import Stage
from runtimes.stages.open_stage import provider_of

# Triton loads no model without a folder for its version, and an ensemble has nothing in it.
_KEEP = ".keep"


def export_ensemble(bundle: Bundle, folder: Path, options: DeployOptions) -> Exported:
    """Write ``repository/`` into ``folder``: a model for each stage, and the ensemble.

    Raises ``DataError`` for stages that were cut from the graph of one machine.
    """
    name, version = model_name(options.name or bundle.name), version_number(bundle.version)
    staged = read_staged(bundle.folder)
    _refuse_exact(bundle, staged)
    names = [f"{name}-{stage.name}" for stage in staged.stages]
    for own, stage, signature in zip(names, staged.stages, staged.signatures, strict=True):
        _write_stage(own, stage, signature, folder / "repository" / own, bundle, staged, options)
    ensemble = folder / "repository" / name
    (ensemble / str(version)).mkdir(parents=True)
    (ensemble / str(version) / _KEEP).touch()
    labels = write_labels(ensemble, bundle.labels, staged.whole)
    batched = staged.is_batched
    outputs = [{**tensor(one, batched=batched), **labels(one)} for one in staged.whole.outputs]
    config: Message = {
        "name": name,
        "platform": "ensemble",
        **shared_fields(bundle, options, batched=batched),
        "input": [tensor(one, batched=batched) for one in staged.whole.inputs],
        "output": outputs,
        "ensemble_scheduling": {"step": list(_steps(names, staged.stages, version))},
    }
    write_config(ensemble, config, bundle)
    return Exported(
        next_steps=("tritonserver --model-repository repository",),
        notes=tuple(_notes(name, staged)),
    )


def _write_stage(  # noqa: PLR0917
    name: str,
    stage: Stage,
    signature: Signature,
    model: Path,
    bundle: Bundle,
    staged: Staged,
    options: DeployOptions,
) -> None:
    batched = staged.is_batched
    copy_model(staged.folder / stage.file, model / str(version_number(bundle.version)), signature)
    config: Message = {
        "name": name,
        "backend": "onnxruntime",
        **shared_fields(bundle, options, batched=batched, file=stage.file),
        "input": [tensor(one, batched=batched) for one in signature.inputs],
        "output": [tensor(one, batched=batched) for one in signature.outputs],
        **how_it_runs(options, batched=batched),
        **_on_device(stage, options),
    }
    write_config(model, config, bundle)


def _on_device(stage: Stage, options: DeployOptions) -> Message:
    """The graphics card of a stage that has one; every other device is a CPU there."""
    if not stage.device.startswith("cuda"):
        return {}
    _, index = provider_of(stage.device)
    where: dict[str, Any] = {"count": options.instances, "kind": Enum("KIND_GPU")}
    return {"instance_group": [{**where, "gpus": [index or 0]}]}


def _steps(names: Sequence[str], stages: Sequence[Stage], version: int) -> Iterator[Message]:
    """Tensors of the ensemble are called as those of the stages, so each is mapped to itself."""
    for name, stage in zip(names, stages, strict=True):
        yield {
            "model_name": name,
            "model_version": version,
            "input_map": map_entries({one: one for one in stage.inputs}),
            "output_map": map_entries({one: one for one in stage.outputs}),
        }


def _refuse_exact(bundle: Bundle, staged: Staged) -> None:
    if staged.exact is not None:
        raise DataError(
            f"{bundle.path} was cut, bit by bit, for {staged.exact}, and Triton has a runtime of "
            "its own; partition the model without exact"
        )


def _notes(name: str, staged: Staged) -> Iterator[str]:
    yield f"clients ask for the ensemble {name!r}; Triton passes tensors on between its stages"
    if not staged.is_batched:
        yield "some tensor has no batch axis that all others share: no batching"
    if any(stage.is_on_server for stage in staged.stages):
        yield "stages whose device is a server run on the CPU of this Triton server"
    yield from common_notes(staged.whole)
