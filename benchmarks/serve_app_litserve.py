"""LitServe: an API that takes and gives Open Inference Protocol v2 in JSON.

It reads annotations when it is imported: they must not be strings.
"""

import os
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class OnnxRuntime(litserve.LitAPI):
    """An ONNX file."""

    def setup(self, device: str) -> None:
        """Open it in the worker."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["KILNX_BENCHMARK_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.names = [one.name for one in self.session.get_outputs()]

    def decode_request(self, request) -> dict[str, Any]:  # type: ignore[no-untyped-def]
        """Tensors of the request, which is without an annotation a parsed body."""
        return {
            one["name"]: np.array(one["data"], np.float32).reshape(one["shape"])
            for one in request["inputs"]
        }

    def predict(self, x: dict[str, Any]) -> list[Any]:
        """Run one request."""
        outputs: list[Any] = self.session.run(None, x)
        return outputs

    def encode_response(self, output: list[Any]) -> dict[str, Any]:
        """The outputs in the same form."""
        named = zip(self.names, output, strict=True)
        return {
            "outputs": [
                {
                    "name": name,
                    "shape": list(value.shape),
                    "datatype": "FP32",
                    "data": value.ravel().tolist(),
                }
                for name, value in named
            ]
        }


if __name__ == "__main__":
    server = litserve.LitServer(OnnxRuntime(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
