"""An aarch64 Python with ONNX Runtime that runs on x86, built without root in one folder.

Debian's qemu-user-static translates the instructions; Debian's arm64 packages of Python and the C
library are unpacked, not installed; ONNX Runtime and NumPy are the aarch64 wheels of PyPI. QEMU
looks for every file below ``-L`` first, so that no chroot is needed. There it finds the CPU
description of an ARM core, too: ONNX Runtime reads /proc/cpuinfo and /sys, and crashes on those of
an x86 machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PYTHON = "3.11"
"""Of Debian 12, which the packages come from."""

_SUITE = "bookworm"
_PACKAGES = (
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libbz2-1.0"),
    *("liblzma5", "libssl3", "libuuid1"),
    *(f"python{PYTHON}-minimal", f"libpython{PYTHON}-minimal", f"libpython{PYTHON}-stdlib"),
)
_WHEELS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# What each core of QEMU's has: the kernels of ONNX Runtime are chosen by it.
_BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_DOT = f"{_BASE} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
CORES: Mapping[str, tuple[str, str]] = {
    "cortex-a53": ("0xd03", _BASE),
    "neoverse-n1": ("0xd0c", _DOT),
    "max": ("0xd40", f"{_DOT} sve asimdfhm i8mm bf16 svei8mm svebf16"),
}
"""QEMU's name of a core: its part number and its features, as Linux tells them.

The Cortex-A53 (Raspberry Pi 3) has no dot product, the Neoverse N1 (Graviton 2) has one, and
``max`` has the products of 8-bit matrices, too.
"""


class Unavailable(Exception):
    """Something that this needs is not on the machine."""


def build(folder: Path, versions: Mapping[str, str]) -> None:
    """Fill ``folder``; what is there already stays. ``versions`` of the wheels by name."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not here: this needs a Debian or Ubuntu machine")
    folder.mkdir(parents=True, exist_ok=True)
    if qemu(folder) is None:
        _unpack(folder, ["qemu-user-static"], folder / "host", config=None)
    if not (folder / "root/usr/bin" / f"python{PYTHON}").exists():
        _unpack(folder, _PACKAGES, folder / "root", config=_apt_config(folder))
    site = folder / "site"
    wanted = [f"{name}=={version}" for name, version in versions.items()]
    if not all((site / f"{one.replace('==', '-')}.dist-info").is_dir() for one in wanted):
        _install(site, wanted)


def qemu(folder: Path) -> str | None:
    """The translator: the machine's own, or the one that was unpacked."""
    own = folder / "host/usr/bin/qemu-aarch64-static"
    return str(own) if own.exists() else shutil.which("qemu-aarch64-static")


def run(
    folder: Path, core: str, arguments: Sequence[str], *, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run the aarch64 Python on a ``core`` of QEMU's."""
    _describe(folder / "root", core)
    program = qemu(folder)
    assert program is not None
    root = folder / "root"
    return subprocess.run(
        [
            program,
            "-cpu",
            core,
            "-L",
            str(root),
            str(root / f"usr/bin/python{PYTHON}"),
            "-B",
            *arguments,
        ],
        env={
            "PATH": "/usr/bin",
            "HOME": str(folder),
            "PYTHONHOME": str(root / "usr"),
            "PYTHONPATH": str(folder / "site"),
            "PYTHONNOUSERSITE": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _describe(root: Path, core: str) -> None:
    """Write what ONNX Runtime reads of the CPU: one core with its part number and features."""
    part, features = CORES[core]
    texts = {
        "proc/cpuinfo": (
            f"processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: {features}\n"
            f"CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\n"
            f"CPU part\t: {part}\nCPU revision\t: 1\n\n"
        ),
        **dict.fromkeys(
            (f"sys/devices/system/cpu/{name}" for name in ("possible", "present", "kernel_max")),
            "0\n",
        ),
    }
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    (root / "sys/devices/system/cpu/cpu0/topology").mkdir(parents=True, exist_ok=True)


def _apt_config(folder: Path) -> Path:
    """An apt of our own for arm64: neither the machine's sources nor its packages are touched."""
    apt = folder / "apt"
    for name in ("lists/partial", "archives/partial", "state", "etc"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "state/status").touch()
    signed = f" signed-by={_KEYRING}" if Path(_KEYRING).exists() else ""
    (apt / "etc/sources.list").write_text(
        f"deb [arch=arm64{signed}] http://deb.debian.org/debian {_SUITE} main\n"
    )
    config = apt / "apt.conf"
    config.write_text(
        'APT::Architecture "arm64";\nAPT::Architectures "arm64";\n'
        f'Dir::State "{apt}/state";\nDir::State::status "{apt}/state/status";\n'
        f'Dir::State::lists "{apt}/lists";\nDir::Cache "{apt}";\n'
        f'Dir::Cache::archives "{apt}/archives";\nDir::Etc::sourcelist "{apt}/etc/sources.list";\n'
        'Dir::Etc::sourceparts "-";\nAcquire::Languages "none";\n'
    )
    _call(["apt-get", "-q", "update"], folder, config)
    return config


def _unpack(folder: Path, packages: Sequence[str], target: Path, *, config: Path | None) -> None:
    """Download ``packages`` and unpack them to ``target``; nothing is installed."""
    where = folder / "packages"
    where.mkdir(exist_ok=True)
    _call(["apt-get", "-q", "download", *packages], where, config)
    for package in sorted(where.glob("*.deb")):
        _call(["dpkg-deb", "-x", str(package), str(target)], where, None)
    shutil.rmtree(where)


def _install(site: Path, wanted: Sequence[str]) -> None:
    platforms = [word for tag in _WHEELS for word in ("--platform", tag)]
    tag = PYTHON.replace(".", "")
    command = [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target", str(site)]
    command += [*platforms, "--python-version", PYTHON, "--implementation", "cp"]
    command += ["--abi", f"cp{tag}", "--only-binary=:all:", "--no-deps", *wanted]
    _call(command, site.parent, None)


def _call(command: Sequence[str], folder: Path, config: Path | None) -> None:
    environment = {**os.environ, **({} if config is None else {"APT_CONFIG": str(config)})}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{' '.join(command[:3])} failed: {lines[-1] if lines else '?'}")
