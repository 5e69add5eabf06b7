"""KServe's way to serve what it has no runtime for: a custom ``Model``.

Takes the options of KServe's own server, such as ``--http_port``.
"""

from __future__ import annotations

import os
from typing import Any

import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server


class OnnxRuntime(Model):
    """An ONNX file; tensors by KServe's own types."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self.names = [one.name for one in self.session.get_outputs()]
        self.ready = True

    def predict(
        self, payload: InferRequest, headers: Any = None, response_headers: Any = None
    ) -> InferResponse:
        """Run one request; binary tensors are answered in binary."""
        feed = {one.name: one.as_numpy() for one in payload.inputs}
        binary = any("binary_data_size" in (one.parameters or {}) for one in payload.inputs)
        outputs = []
        for name, value in zip(self.names, self.session.run(None, feed), strict=True):
            output = InferOutput(name, list(value.shape), "FP32")
            output.set_data_from_numpy(value, binary_data=binary)
            outputs.append(output)
        return InferResponse(payload.id or "", self.name, outputs)


if __name__ == "__main__":
    arguments, _ = model_server.parser.parse_known_args()
    server = ModelServer(http_port=arguments.http_port, enable_grpc=False, workers=1)
    server.start([OnnxRuntime("model", os.environ["KILNX_BENCHMARK_MODEL"])])
