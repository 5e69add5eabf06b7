"""BentoML: a service with one endpoint that takes the input by its name, as nested lists.

It reads annotations when it is imported: they must not be strings.
"""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Service:
    """An ONNX file with one input."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["KILNX_BENCHMARK_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api
    def infer(self, image: np.ndarray) -> np.ndarray:
        """Run one request."""
        output: np.ndarray = self.session.run(None, {"image": image.astype(np.float32)})[0]
        return output
