"""What a step raises can speak of the user's machine or data; any other error is kilnx's own."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from runtimes.data.dataset import Dataset
from runtimes.errors import KilnxError

# Where the system refuses to write, every other step would meet the same.
_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO)

# Samples at a time where all data are read only to see whether they can be.
_REREAD = 32


def refused_by_machine_or_data(error: Exception, data: Iterable[Dataset | None]) -> bool:
    """Whether the system refused, or else ``data`` cannot be read.

    They may be read for the first time here: those that cannot be read raise once more.
    """
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        return True
    for dataset in data:
        for _ in () if dataset is None else dataset.batches(_REREAD):
            pass
    return False


def explained(error: Exception, data: Iterable[Dataset | None]) -> bool:
    """Whether a command of one step ends with ``error``: a refusal, the system's or the data's."""
    return isinstance(error, KilnxError) or refused_by_machine_or_data(error, data)
