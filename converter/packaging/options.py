"""What a deployment is told, and what an exporter tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtimes.errors import DataError
from runtimes.readable import ReadableReport

PORT = 8000
"""Where the server in a container listens."""

USER = 10001
"""Who the server in a container is: a user without a name that owns nothing."""


@dataclass(frozen=True)
class DeployOptions:
    """How a deployment differs from the plain one.

    Attributes:
        name: Of the objects that are made; None takes the bundle's name.
        image: The container image of the server, with its tag; None: name and version.
        replicas: The least number of copies that run.
        max_replicas: The most that scaling starts.
        cpus: Cores of one copy.
        max_batch: The most samples that Triton puts into one run; None: the bundle's limit, or 32.
        instances: Copies of the model in one Triton server.
        with_server: Whether an executable also has the server.
    """

    name: str | None = None
    image: str | None = None
    replicas: int = 1
    max_replicas: int = 4
    cpus: int = 1
    max_batch: int | None = None
    instances: int = 1
    with_server: bool = False

    def __post_init__(self) -> None:
        counts = {
            "replicas": self.replicas,
            "max_replicas": self.max_replicas,
            "cpus": self.cpus,
            "max_batch": 1 if self.max_batch is None else self.max_batch,
            "instances": self.instances,
        }
        for name, count in counts.items():
            if count < 1:
                raise DataError(f"{name} is {count}, and must be 1 or more")
        if self.max_replicas < self.replicas:
            raise DataError(
                f"max_replicas is {self.max_replicas}, less than replicas, {self.replicas}"
            )


@dataclass(frozen=True)
class Exported:
    """What an exporter did: the commands that come next, and what is worth knowing."""

    next_steps: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeployReport(ReadableReport):
    """What was written.

    Attributes:
        to: The system.
        folder: What was written, complete.
        bundle: Digest of the bundle in it.
        files: SHA-256 of every file, by its path in the folder.
        next_steps: Commands, to be run in the folder.
        notes: What is worth knowing.
    """

    to: str
    folder: str
    bundle: str
    files: Mapping[str, str]
    next_steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def headline(self) -> str:
        """What was written, and of which bundle."""
        return f"{self.folder}: {len(self.files)} files for {self.to}, of {self.bundle}"

    def rows(self) -> list[dict[str, str]]:
        """The commands that come next."""
        return [{"in that folder": step} for step in self.next_steps]
