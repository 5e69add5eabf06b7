"""A small gRPC client that keeps a server busy: prints one line of JSON with what it saw.

    python serve_grpc_client.py ADDRESS MODEL TENSOR SHAPE FILE CLIENTS SECONDS

``SHAPE`` is ``1,256``, ``FILE`` holds the tensor's bytes. The request is written by hand from the
Open Inference Protocol's field numbers and sent as bytes; answers are not parsed: the client shares
no code with the server.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

METHOD = "/inference.GRPCInferenceService/ModelInfer"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def main() -> None:
    address, model, tensor, shape, file, clients, seconds = sys.argv[1:]
    request = infer_request(
        model, tensor, [int(n) for n in shape.split(",")], Path(file).read_bytes()
    )
    stop = time.monotonic() + float(seconds)
    with ThreadPoolExecutor(int(clients)) as pool:
        done = list(pool.map(lambda _: keep_busy(address, request, stop), range(int(clients))))
    every = sorted(one for times, _ in done for one in times)
    found = {"requests": len(every), "failed": sum(failed for _, failed in done)}
    found |= {f"p{p}_us": round(1e6 * quantile(every, p / 100)) for p in (50, 99)}
    print(json.dumps(found))


def keep_busy(address: str, request: bytes, stop: float) -> tuple[list[float], int]:
    """One connection that sends the next request when the answer is there; seconds, failures."""
    # Channels of one process share a connection unless they are told apart.
    options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
    times, failed = [], 0
    with grpc.insecure_channel(address, options) as channel:
        call = channel.unary_unary(METHOD)
        while (start := time.monotonic()) < stop:
            try:
                call(request, timeout=30)
            except grpc.RpcError:
                failed += 1
            times.append(time.monotonic() - start)
    return times, failed


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def infer_request(model: str, tensor: str, shape: list[int], raw: bytes) -> bytes:
    """``ModelInferRequest`` with one FP32 tensor in ``raw_input_contents``."""
    dimensions = b"".join(map(varint, shape))
    one = text(1, tensor) + text(2, "FP32") + bytes_field(3, dimensions)
    return text(1, model) + bytes_field(5, one) + bytes_field(7, raw)


def text(number: int, value: str) -> bytes:
    return bytes_field(number, value.encode())


def bytes_field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


if __name__ == "__main__":
    main()
