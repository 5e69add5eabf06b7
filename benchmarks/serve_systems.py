"""The servers that are compared: what each installs, and how each is started."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peer_environment import python_with
from serve_models import bundle_of
from serve_payloads import Format, nested_json, v2_binary, v2_json

HERE = Path(__file__).parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Started:
    """What to run, and where it answers; ``{port}`` stands for the port."""

    command: Sequence[str]
    ready: str
    infer: str


@dataclass(frozen=True)
class System:
    """One server.

    ``start`` takes a Python, the model, and an empty folder that it may write into.
    """

    name: str
    packages: tuple[str, ...]
    start: Callable[[str, Path, Path], Started]
    formats: Mapping[str, Format]

    def python(self, cache: Path) -> str:
        """The Python that has its packages: that of this process, or one made under ``cache``."""
        if not self.packages:
            return sys.executable
        return python_with(self.packages, cache / self.name)

    def version(self, python: str) -> str:
        """The installed version of its first package."""
        code = f"import importlib.metadata as m; print(m.version({self.distribution!r}))"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    @property
    def distribution(self) -> str:
        """The distribution that gives it its name."""
        return self.packages[0] if self.packages else self.name.split()[0]


def _kilnx(python: str, model: Path, folder: Path, *more: str) -> Started:
    command = [python, "-m", "converter", "serve", f"model={model}", "--port", "{port}", *more]
    return Started(command, "/v2/health/ready", "/v2/models/model/infer")


def _without_batching(python: str, model: Path, folder: Path) -> Started:
    return _kilnx(python, model, folder, "--max-batch", "1")


def _monitored(python: str, model: Path, folder: Path) -> Started:
    """With the reference of a bundle; requests have to look like it, as those of the demo do."""
    bundle = bundle_of(model)
    if not bundle.exists():
        raise RuntimeError(f"there is no {bundle}")
    return _kilnx(python, bundle, folder)


def _floor(python: str, model: Path, folder: Path) -> Started:
    command = [python, "-m", "uvicorn", "serve_app_asgi:app", "--app-dir", str(HERE)]
    command += ["--port", "{port}", "--loop", "uvloop", "--http", "httptools"]
    command += ["--lifespan", "off", "--no-access-log", "--log-level", "warning"]
    return Started(command, "/", "/v2/models/model/infer")


def _echo(python: str, model: Path, folder: Path) -> Started:
    return Started(_floor(python, model, folder).command, "/", "/echo")


def _mlserver(python: str, model: Path, folder: Path) -> Started:
    """In its own process: workers of their own would add a hop to each request."""
    shutil.copy(HERE / "serve_app_mlserver.py", folder / "served.py")
    settings = {"parallel_workers": 0, "debug": False, "http_port": "{port}"}
    settings |= {"grpc_port": 0, "metrics_port": 0, "use_structured_logging": False}
    one = {"name": "model", "implementation": "served.OnnxRuntime"}
    one["parameters"] = {"uri": str(model)}  # type: ignore[assignment]
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(one), encoding="utf-8")
    command = [python, "-m", "mlserver.cli.main", "start", str(folder)]
    return Started(command, "/v2/models/model/ready", "/v2/models/model/infer")


def _kserve(python: str, model: Path, folder: Path) -> Started:
    command = [python, str(HERE / "serve_app_kserve.py"), "--http_port", "{port}"]
    return Started(command, "/v2/models/model/ready", "/v2/models/model/infer")


def _bentoml(python: str, model: Path, folder: Path) -> Started:
    shutil.copy(HERE / "serve_app_bentoml.py", folder / "served.py")
    command = [python, "-m", "bentoml", "serve", "served:Service", "--port", "{port}"]
    command += ["--working-dir", str(folder), "--host", "127.0.0.1"]
    return Started(command, "/readyz", "/infer")


def _litserve(python: str, model: Path, folder: Path) -> Started:
    command = [python, str(HERE / "serve_app_litserve.py"), "{port}"]
    return Started(command, "/health", "/predict")


BOTH: Mapping[str, Format] = {"json": v2_json, "binary": v2_binary}
V2_JSON: Mapping[str, Format] = {"json": v2_json}
NESTED: Mapping[str, Format] = {"json": nested_json}

SYSTEMS = (
    System("kilnx", (), _kilnx, BOTH),
    System("kilnx unbatched", (), _without_batching, V2_JSON),
    System("kilnx monitored", (), _monitored, BOTH),
    System("uvicorn", (), _floor, V2_JSON),
    System("mlserver", ("mlserver", "onnxruntime"), _mlserver, V2_JSON),
    System("kserve", ("kserve", "onnxruntime"), _kserve, BOTH),
    System("bentoml", ("bentoml", "onnxruntime"), _bentoml, NESTED),
    System("litserve", ("litserve", "onnxruntime"), _litserve, V2_JSON),
)
ECHO = System("uvicorn echo", (), _echo, BOTH)
