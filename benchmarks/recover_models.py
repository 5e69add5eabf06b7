"""Models for ``benchmarks/recover.py`` that are made rather than given.

    python benchmarks/recover_models.py demo|transformer FOLDER

``demo`` is the network of ``kilnx demo`` with its data, ``transformer`` the encoder with random
weights of ``benchmarks/quantize.py``. Writes a model, ``calibration.npz`` and ``test.npz``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from quantize_cases import transformer  # noqa: E402

from converter.demo import load_digits, trained_network  # noqa: E402
from runtimes.progress import silent  # noqa: E402

_EPOCHS = 14  # as the command


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=("demo", "transformer"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.name == "demo":
        demo(options.folder)
    else:
        transformer(options.folder, options.folder)
    return 0


def demo(folder: Path) -> None:
    """What the command trains and calibrates with, and what it judges with."""
    train, test = load_digits(0)
    np.savez(folder / "calibration.npz", **train)
    np.savez(folder / "test.npz", **test)
    trained_network(train, 0, _EPOCHS, silent).save(folder / "model.keras")


if __name__ == "__main__":
    sys.exit(main())
