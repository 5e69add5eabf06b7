"""The options of ONNX Runtime's execution providers, under its own names for them.

https://onnxruntime.ai/docs/execution-providers/
"""

from __future__ import annotations

from runtimes.engines.ort_cuda import CudaOptions

ON_NVIDIA = ("cuda", "tensorrt")
"""Providers whose data lie in a GPU's memory."""


def provider_options(
    provider: str, *, cuda: CudaOptions | None, threads: int | None, quantized: bool
) -> dict[str, str] | None:
    """The options of one provider, None for one that has none.

    Float32 stays float32: OpenVINO and TensorRT would choose a narrower type by themselves.

    Args:
        provider: kilnx' name of it.
        cuda: Options of the GPU.
        threads: The number of threads, for providers that have threads of their own.
        quantized: Whether the model computes in INT8, which TensorRT wants to be told.
    """
    if provider == "cuda":
        return (cuda or CudaOptions()).to_provider_options()
    if provider == "tensorrt":
        return {
            "device_id": str((cuda or CudaOptions()).device),
            "trt_fp16_enable": "0",
            "trt_int8_enable": str(int(quantized)),
        }
    if provider == "ort-openvino":
        options = {"device_type": "CPU", "precision": "FP32"}
        return options if threads is None else {**options, "num_of_threads": str(threads)}
    return None
