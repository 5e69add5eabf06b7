"""Which machine this is, as far as the time of kernels goes."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

from runtimes.cpu_info import cpu_info
from runtimes.errors import DataError
from runtimes.version import installed_version

# What ONNX Runtime chooses its kernels by, on x86 and on ARM.
_FEATURES = (
    "amx_int8",
    "amx_tile",
    "avx",
    "avx2",
    "avx512_bf16",
    "avx512_vnni",
    "avx512bw",
    "avx512f",
    "avx_vnni",
    "fma",
    "asimd",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)


@dataclass(frozen=True)
class Machine:
    """A CPU, the features that kernels are chosen by, ONNX Runtime's version and the threads.

    ``engine``: the name and version of another engine, where it is that one's clock that tells.
    """

    cpu: str
    features: tuple[str, ...]
    onnxruntime: str
    threads: int
    engine: str = ""

    def __str__(self) -> str:
        return (
            f"{self.cpu} ({', '.join(self.features) or 'no vector features known'}), "
            f"{self.engine or f'ONNX Runtime {self.onnxruntime}'}, {self.threads} "
            f"thread{'s' if self.threads != 1 else ''}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        told = {
            "cpu": self.cpu,
            "features": list(self.features),
            "onnxruntime": self.onnxruntime,
            "threads": self.threads,
        }
        return {**told, "engine": self.engine} if self.engine else told

    @classmethod
    def from_dict(cls, document: Any) -> Machine:
        """The reverse; raises ``DataError`` for anything else."""
        try:
            features = tuple(str(one)[:40] for one in document["features"][:100])
            cpu, version = str(document["cpu"])[:200], str(document["onnxruntime"])[:40]
            engine = str(document.get("engine", ""))[:80]
            return cls(cpu, features, version, int(document["threads"]), engine)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError("it does not say which machine was measured") from error


def this_machine(threads: int | None, engine: str = "") -> Machine:
    """The machine that runs this, with so many ``threads`` a run (None: ONNX Runtime's choice)."""
    cpu, flags = _cpu()
    features = tuple(one for one in _FEATURES if one in flags)
    onnxruntime = installed_version(["onnxruntime", "onnxruntime-gpu"]) or "none"
    return Machine(cpu, features, onnxruntime, threads or 0, engine)


def _cpu() -> tuple[str, frozenset[str]]:
    """The CPU's name and features, as Linux tells them; elsewhere the name alone."""
    told = cpu_info()
    if not told:
        return platform.processor() or platform.machine(), frozenset()
    flags = told.get("flags") or told.get("Features") or ""
    cpu = told.get("model name") or told.get("CPU part") or platform.machine()
    return cpu, frozenset(flags.split())
