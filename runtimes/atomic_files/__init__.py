"""Output that appears whole or not at all, and never over a file of the user's."""

from runtimes.atomic_files.output import atomic_file, atomic_folder, replace_text
from runtimes.atomic_files.replaceable import (
    all_files,
    file_digest,
    file_digests,
    foreign_files,
    refuse_existing,
)
from runtimes.atomic_files.workspace import scratch_folder

__all__ = [
    "all_files",
    "atomic_file",
    "atomic_folder",
    "file_digest",
    "file_digests",
    "foreign_files",
    "refuse_existing",
    "replace_text",
    "scratch_folder",
]
