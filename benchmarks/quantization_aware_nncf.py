"""NNCF with PyTorch on the task of ``quantization_aware.py``, in its own environment.

    python benchmarks/quantization_aware_nncf.py --bits 4 [--seeds 3] [--cache FOLDER]

The network is trained there anew, with the same data, layers, epochs and rates, and initial weights
of the same kind. ``nncf.quantize`` calibrates on the training data and gives weights few bits and
one scale a tensor; "quantized" is what that answers, "trained" what it answers once it was trained
with its quantizers; it refuses three bits. Both are of its own emulation in PyTorch. The first run
makes the environment; PyTorch for CPUs has to be where pip looks.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from peer_environment import python_with
from quantization_aware_peer import arguments, over_seeds

PACKAGES = ("torch==2.13.0", "nncf==3.4.*", "onnx", "numpy")
_FEW = 2


def main() -> int:
    options = arguments(__doc__)
    if options.worker:
        return work(options.worker, options.widths, options.epochs)
    over_seeds(__file__, python_with(PACKAGES, options.cache / "nncf_torch"), options)
    return 0


def work(path: Path, widths: list[int], epochs: int) -> int:
    """In the peer's environment: a line for each width."""
    import torch

    data = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
    data["x"], data["a"] = (data[name].permute(0, 3, 1, 2).contiguous() for name in ("x", "a"))
    seed = int(path.stem)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model = network()
    fit(model, data, rate=5e-3, batch=64, epochs=20)
    fp32 = top1(model, data)
    for bits in widths:
        start = time.monotonic()
        aware = quantized(model, data, bits)
        before = top1(aware, data)
        fit(aware, data, rate=1e-3, batch=32, epochs=epochs)
        seconds = time.monotonic() - start
        print(
            f"{seed:4} {bits:4} {fp32:7.4f} {before:10.4f} {top1(aware, data):8.4f} {seconds:8.1f}",
            flush=True,
        )
    return 0


def network() -> Any:
    """That of ``digits_network.py``, with the padding, the constants and the start of Keras."""
    from torch import nn

    def normalized(channels: int) -> Any:
        return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(
                nn.ZeroPad2d((0, 1, 0, 1)),
                nn.Conv2d(1, 16, 3, stride=2, bias=False),
                normalized(16),
                nn.ReLU(),
            )
            self.beside = nn.Sequential(
                nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
                normalized(16),
                nn.ReLU6(),
                nn.Conv2d(16, 16, 1, bias=False),
                normalized(16),
            )
            self.last = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2), nn.ReLU())
            self.digit = nn.Linear(32, 10)

        def forward(self, x: Any) -> Any:
            x = self.first(x)
            x = self.last(x + self.beside(x))
            return self.digit(x.mean(dim=(2, 3)))

    made = Network()
    for name, values in made.named_parameters():
        if values.ndim >= _FEW:
            nn.init.xavier_uniform_(values)
        elif name.endswith("bias"):
            nn.init.zeros_(values)
    return made


def quantized(model: Any, data: Any, bits: int) -> Any:
    """``model`` with emulated quantization; its weights have ``bits``, one scale a tensor."""
    import nncf
    from nncf.common.quantization.structs import QuantizationScheme
    from nncf.quantization.advanced_parameters import QuantizationParameters
    from torch.utils.data import DataLoader

    model.eval()
    batches = DataLoader(data["x"], batch_size=64)
    few = QuantizationParameters(
        num_bits=bits, mode=QuantizationScheme.SYMMETRIC, per_channel=False
    )
    return nncf.quantize(
        model,
        nncf.Dataset(batches),
        subset_size=len(batches),
        target_device=nncf.TargetDevice.NPU,  # the only one for which it takes four bits
        advanced_parameters=nncf.AdvancedQuantizationParameters(weights_quantization_params=few),
    )


def fit(model: Any, data: Any, *, rate: float, batch: int, epochs: int) -> None:
    """Adam and the entropy of the classes, as ``fit`` of Keras does."""
    import torch

    model.train()
    adam = torch.optim.Adam(model.parameters(), lr=rate, eps=1e-7)
    for _ in range(epochs):
        for rows in torch.randperm(len(data["x"])).split(batch):
            adam.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(data["x"][rows]), data["y"][rows])
            loss.backward()
            adam.step()
    model.eval()


def top1(model: Any, data: Any) -> float:
    import torch

    model.eval()
    with torch.no_grad():
        answers = model(data["a"]).argmax(dim=1)
    return float((answers == data["b"]).float().mean())


if __name__ == "__main__":
    sys.exit(main())
