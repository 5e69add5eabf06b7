"""Bundles: a model with its proof, as a folder or one file, verified before it is used.

``docs/bundle.md`` is the specification.
"""

from runtimes.bundle.bundle import Bundle
from runtimes.bundle.faults import Fault
from runtimes.bundle.signature import open_signer
from runtimes.bundle.write import repack, write_bundle

__all__ = ["Bundle", "Fault", "open_signer", "repack", "write_bundle"]
