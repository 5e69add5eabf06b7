"""Samples that calibration has not seen: what a model is watched by is not what made it."""

from __future__ import annotations

from runtimes.data.dataset import Dataset
from runtimes.data.sample_digests import SampleDigests, shared_samples
from runtimes.errors import DataError

# Fewer samples in common are what any two sets have by chance: blank images, equal rows.
_BY_CHANCE = 0.01


def held_out(data: Dataset, calibration: SampleDigests | None) -> tuple[Dataset, str]:
    """The samples of ``data`` that did not calibrate, and a sentence on how that is known.

    Where all samples that calibrated are listed, those of ``data`` are left out. Raises
    ``DataError`` where nothing is left, or where not all are listed and some are in ``data``.
    """
    if calibration is None:
        return data, (
            f"whether samples of {data.name} calibrated the model is not known: there is no report "
            "that lists those; the reference holds only if none did"
        )
    shared = shared_samples(data, calibration)
    total = data.num_samples or 0
    if not len(shared):
        return data, f"no sample of {data.name} calibrated the model, by the report's digests"
    if not calibration.complete and len(shared) > _BY_CHANCE * total:
        raise DataError(
            f"samples of {data.name} calibrated the model, and the report does not list all that "
            "did; give --data that compress has not seen, such as those of its --eval"
        )
    try:
        left = data.without(shared)
    except DataError as error:
        raise DataError(
            f"all samples of {data.name} calibrated the model, and a reference of them would say "
            "that nothing ever changes; give --data that compress has not calibrated on"
        ) from error
    return left, (
        f"{len(shared)} samples of {data.name} calibrated the model and were left out: the "
        f"reference is of the other {left.num_samples}"
    )
