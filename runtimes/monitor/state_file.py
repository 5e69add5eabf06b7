"""What outlives a restart: one JSON file, replaced whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from runtimes.atomic_files import replace_text
from runtimes.monitor.reference import Reference

_FORMAT, _VERSION = "kilnx-monitor-state", 1
_MOST_BYTES = 64_000_000


class StateFile:
    """A file of one model's monitor.

    Attributes:
        note: What is to be said of it: that it was damaged, or belonged to something else.
    """

    def __init__(self, path: Path, reference: Reference | None) -> None:
        self._path = path
        text = "" if reference is None else reference.to_json()
        self._belongs_to = hashlib.sha256(text.encode()).hexdigest()
        self.note: str | None = None

    def read(self) -> dict[str, Any] | None:
        """What was saved for this reference; None, with a note, where there is nothing to use."""
        try:
            if self._path.stat().st_size > _MOST_BYTES:
                raise ValueError(f"more than {_MOST_BYTES} bytes")
            document = json.loads(self._path.read_text(encoding="utf-8"))
            if document["format"] != _FORMAT or document["version"] != _VERSION:
                raise ValueError("another format or version")
            state = document["state"]
        except FileNotFoundError:
            return None
        except OSError as error:
            self.note = f"the monitor's state {self._path} cannot be read: {error.strerror}"
            return None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self.damaged(error)
            return None
        if document.get("reference") != self._belongs_to or not isinstance(state, dict):
            self.note = (
                f"the monitor's state {self._path} belongs to another reference; monitoring "
                "begins anew"
            )
            return None
        return state

    def damaged(self, error: BaseException) -> None:
        """Note that what was read cannot be used."""
        self.note = (
            f"the monitor's state {self._path} is damaged ({type(error).__name__}: "
            f"{str(error)[:100]}); monitoring begins anew"
        )

    def write(self, state: dict[str, Any]) -> None:
        """Replace the file; a disk that refuses is noted, not raised: serving goes on."""
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "reference": self._belongs_to,
            "state": state,
        }
        try:
            replace_text(self._path, json.dumps(document, allow_nan=False) + "\n")
        except OSError as error:
            self.note = f"the monitor's state cannot be written: {error.strerror or error}"
