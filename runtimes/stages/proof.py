"""A few samples with the whole model's answers, kept with its stages.

Whoever opens the stages can then see that together they still are the model that was cut, where
they run now, without the whole model: it may not even fit there.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtimes.base import Array, Feed
from runtimes.errors import ModelError

PROOF = "proof.npz"
SAMPLES = 4
"""So many samples are kept, where the model does not ask for another number."""

_MOST_BYTES = 16 << 20
_IN, _OUT = "in ", "out "


@dataclass(frozen=True)
class Proof:
    """What was fed to the whole model, and what it gave."""

    feed: Mapping[str, Array]
    outputs: Mapping[str, Array]


def write_proof(folder: Path, feed: Feed, outputs: Mapping[str, Array]) -> bool:
    """Write ``proof.npz``; not where it would be large, or hold text."""
    arrays = {f"{_IN}{name}": array for name, array in feed.items()}
    arrays |= {f"{_OUT}{name}": array for name, array in outputs.items()}
    kinds = {array.dtype.kind for array in arrays.values()}
    if not kinds <= set("fiubc") or sum(one.nbytes for one in arrays.values()) > _MOST_BYTES:
        return False
    with zipfile.ZipFile(folder / PROOF, "w") as archive:  # np.savez would write the time
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return True


def read_proof(folder: Path) -> Proof:
    """What ``proof.npz`` in ``folder`` holds; raises ``ModelError`` for one that is damaged."""
    path = folder / PROOF
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(one.file_size for one in archive.infolist()) > 2 * _MOST_BYTES:
                raise ValueError("it is too large")
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is damaged ({error}); partition the model again") from error
    return Proof(
        {name[len(_IN) :]: array for name, array in arrays.items() if name.startswith(_IN)},
        {name[len(_OUT) :]: array for name, array in arrays.items() if name.startswith(_OUT)},
    )
