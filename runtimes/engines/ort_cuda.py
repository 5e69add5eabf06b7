"""ONNX Runtime's CUDA provider: its options, and runs whose data stays on the device.

https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.base import Array, Feed
from runtimes.errors import ModelError


@dataclass(frozen=True)
class CudaOptions:
    """Options of the CUDA provider.

    ``tf32``: multiply float32 values with ten bits of mantissa, which is faster and has a relative
    error of 1e-3; leave it off unless only speed is measured. ``memory_limit_bytes`` limits the
    arena, and ``grow_exactly`` lets it grow by the requested size instead of by powers of two.
    ``graph_capture``: record the kernels of the first run and replay them, which needs fixed shapes
    and every node on the GPU. ``device``: the GPU's index.
    """

    tf32: bool = False
    memory_limit_bytes: int | None = None
    grow_exactly: bool = True
    graph_capture: bool = False
    device: int = 0

    def to_provider_options(self) -> dict[str, str]:
        """The options under ONNX Runtime's names."""
        options = {
            "device_id": str(self.device),
            "use_tf32": str(int(self.tf32)),
            "arena_extend_strategy": "kSameAsRequested" if self.grow_exactly else "kNextPowerOfTwo",
            "enable_cuda_graph": str(int(self.graph_capture)),
        }
        if self.memory_limit_bytes is not None:
            options["gpu_mem_limit"] = str(self.memory_limit_bytes)
        return options

    def place(self) -> dict[str, Any]:
        """The device of arrays, as arguments of ``OrtValue.ortvalue_from_numpy``."""
        return {"device_type": "cuda", "device_id": self.device}


def refuse_quantized(model: str) -> ModelError:
    """The error that says why a quantized model does not run on CUDA, and what to do."""
    return ModelError(
        f"{model} is an INT8 model, and the CUDA provider has no INT8 kernels: its quantized "
        "operators would run on the CPU, with copies in both directions. On a GPU, use the "
        "model in fp16, or --provider tensorrt; or run this file on the CPU (--provider cpu)"
    )


def run_bound(session: Any, feed: Feed, outputs: Sequence[str], options: Any) -> list[Array]:
    """Run once; the I/O binding copies inputs to the device and outputs back."""
    binding = session.io_binding()
    for name, values in feed.items():
        binding.bind_cpu_input(name, values)
    for name in outputs:
        binding.bind_output(name, "cpu")
    session.run_with_iobinding(binding, options)
    return list(binding.copy_outputs_to_cpu())


def prepare_bound(
    session: Any,
    feed: Feed,
    outputs: Sequence[str],
    options: Any,
    *,
    to_device: Callable[[Array], Any],
    device: int,
) -> Callable[[], object]:
    """A function that runs the model on the device, without copies, and waits until it is done.

    Inputs and outputs stay on the device, as in a pipeline that runs entirely on the GPU. Their
    addresses stay the same, which graph capture needs.
    """
    binding = session.io_binding()
    for name, values in feed.items():
        binding.bind_ortvalue_input(name, to_device(values))
    # Bind the outputs to the memory of the first run, so that later runs write there too.
    for name in outputs:
        binding.bind_output(name, "cuda", device)
    session.run_with_iobinding(binding, options)
    for name, value in zip(outputs, binding.get_outputs(), strict=True):
        binding.bind_ortvalue_output(name, value)

    def call() -> None:
        session.run_with_iobinding(binding, options)
        binding.synchronize_outputs()

    return call
