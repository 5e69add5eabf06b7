"""CPU time of reading a request and of writing its answer, without a server or a model.

    python benchmarks/protocol.py [--seconds 0.5]

Microseconds, the least of five; ``same`` answers with as many elements as the request has, ``few``
with ten.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from runtimes.serving.protocol.limits import ProtocolLimits
from runtimes.serving.protocol.messages import InferRequest, InferResponse, Tensor
from runtimes.serving.protocol.parse import parse_infer
from runtimes.serving.protocol.write import write_infer

LIMITS = ProtocolLimits()
SIZES = (256, 27_648)
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="for each figure")
    seconds = parser.parse_args().seconds
    print(f"{'elements':>8} {'form':>6} {'grpc/http':>9} {'read':>9} {'same':>9} {'few':>9}")
    for size in SIZES:
        values = np.random.default_rng(0).standard_normal((1, size)).astype(np.float32)
        for binary in (True, False):
            body, length = request_of(values, binary=binary)
            request = parse_infer(body, length, LIMITS)
            few = values[:, :10].copy()
            row = (
                least(lambda body=body, length=length: parse_infer(body, length, LIMITS), seconds),
                least(lambda request=request, values=values: answer(request, values), seconds),
                least(lambda request=request, few=few: answer(request, few), seconds),
            )
            print_row(size, "binary" if binary else "json", "http", row)
        print_row(size, "raw", "grpc", grpc_row(values, seconds))


def request_of(values: np.ndarray, *, binary: bool) -> tuple[bytes, int | None]:
    """The body of a request, and how much of it is JSON if not all is."""
    tensor = {"name": "x", "datatype": "FP32", "shape": values.shape}
    if not binary:
        document = {"inputs": [{**tensor, "data": values.ravel().tolist()}]}
        return json.dumps(document).encode(), None
    tensor["parameters"] = {"binary_data_size": values.nbytes}
    document = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    header = json.dumps(document).encode()
    return header + values.tobytes(), len(header)


def answer(request: InferRequest, values: np.ndarray) -> object:
    output = Tensor("y", "FP32", values.shape, values)
    return write_infer(InferResponse("model", "1", request.id, (output,)), request)


def grpc_row(values: np.ndarray, seconds: float) -> tuple[float, float, float]:
    from runtimes.serving.grpc.messages import MESSAGE_CLASSES
    from runtimes.serving.grpc.requests import read_request, write_response

    made = MESSAGE_CLASSES["ModelInferRequest"]
    message = made(model_name="model", raw_input_contents=[values.tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=values.shape)
    data = message.SerializeToString()
    request = read_request(message, LIMITS)

    def write(array: np.ndarray) -> bytes:
        output = Tensor("y", "FP32", array.shape, array)
        response = InferResponse("model", "1", None, (output,))
        written: bytes = write_response(response, request).SerializeToString()
        return written

    few = values[:, :10].copy()
    return (
        least(lambda: read_request(made.FromString(data), LIMITS), seconds),
        least(lambda: write(values), seconds),
        least(lambda: write(few), seconds),
    )


def least(work: Callable[[], object], seconds: float) -> float:
    """Microseconds of one call: the least of several rounds that take ``seconds`` together."""
    work()
    start = time.process_time()
    work()
    count = max(1, int(seconds / ROUNDS / max(time.process_time() - start, 1e-6)))
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(count):
            work()
        rounds.append((time.process_time() - start) / count)
    return min(rounds) * 1e6


def print_row(size: int, form: str, way: str, row: tuple[float, float, float]) -> None:
    print(f"{size:>8} {form:>6} {way:>9} {row[0]:>9.1f} {row[1]:>9.1f} {row[2]:>9.1f}")


if __name__ == "__main__":
    main()
