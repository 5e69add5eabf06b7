"""``kilnx run``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from converter.cli.console import print_json, print_line, print_rows
from converter.cli.groups import ImageGroup, grouped
from converter.cli.options import Json, PublicKey, Threads
from converter.cli.progress import progress
from runtimes.engines.provider_names import PROVIDER_NAMES

if TYPE_CHECKING:
    from converter.packaging.run import Answers
    from runtimes.base import Array

_SHOWN_SAMPLES, _SHOWN_VALUES = 20, 6


@grouped
def run(
    model: Annotated[
        Path, typer.Argument(help="A bundle (file or folder), an ONNX file, or a folder of stages.")
    ],
    images: ImageGroup,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Samples: .npz, .npy, .csv, .parquet or a folder of images.",
            metavar="DATA",
            show_default="standard input: .npz, .npy or JSON",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The .npz to write the answers to.")
    ] = None,
    verify: PublicKey = None,
    provider: Annotated[
        str | None,
        typer.Option(
            help=f"Where to run: {', '.join(PROVIDER_NAMES)}.",
            show_default="that of the bundle's target, else cpu",
        ),
    ] = None,
    threads: Threads = 1,
    batch_size: Annotated[int, typer.Option(help="Samples a run at most.", min=1)] = 32,
    json: Json = False,
) -> None:
    """Run a model over samples; prints its answers, or writes them to a file."""
    from converter.packaging import run as command
    from runtimes.atomic_files import refuse_existing

    if output is not None:
        refuse_existing(output, force=False)
    with progress() as say, _samples(data, images) as samples:
        found = command.answers(model, samples, provider, threads, batch_size, verify, say)
    if output is not None:
        _write(output, found)
    if json:
        print_json(_document(found, None if output is None else str(output)))
        return
    if output is None:
        _show(found)
    else:
        print_line(f"{output}: the answers to {found.samples} samples")
    for note in found.notes:
        print_line(f"note: {note}")


@contextmanager
def _samples(data: Path | None, images: ImageGroup) -> Iterator[Any]:
    """What ``--data`` names, or what is piped in."""
    if data is not None:
        yield images.open(data)
        return
    from converter.packaging.samples_from_stdin import samples_from
    from runtimes.errors import DataError

    if sys.stdin.isatty():
        raise DataError("there are no samples; give --data, or pipe an .npz or JSON in")
    with samples_from(sys.stdin.buffer) as samples:
        yield samples


def _write(path: Path, found: Answers) -> None:
    from converter.packaging.warmup import npz_bytes
    from runtimes.atomic_files import atomic_file

    with atomic_file(path) as work:
        work.write_bytes(npz_bytes(found.outputs))


def _document(found: Answers, output: str | None) -> dict[str, Any]:
    """One JSON document; without the answers where a file holds them."""
    from runtimes.json_values import plain

    outputs = {name: values.tolist() for name, values in found.outputs.items()}
    return {
        "model": found.model,
        "version": found.version,
        "samples": found.samples,
        **({"outputs": plain(outputs)} if output is None else {"output": output}),
        "labels": list(found.labels),
        "notes": list(found.notes),
    }


def _show(found: Answers) -> None:
    """The first answers as a table."""
    rows = [
        {
            "sample": str(sample),
            **{name: _cell(values[sample], found) for name, values in found.outputs.items()},
        }
        for sample in range(min(found.samples, _SHOWN_SAMPLES))
    ]
    print_rows(rows)
    if found.samples > len(rows):
        print_line(f"… and {found.samples - len(rows)} more samples; -o OUT.npz writes all")


def _cell(values: Array, found: Answers) -> str:
    """The class with the highest score where classes have names, else the first numbers."""
    flat = values.reshape(-1)
    if len(found.labels) == len(flat) > 1:
        best = int(flat.argmax())
        return f"{found.labels[best]} ({flat[best]:.4g})"
    shown = ", ".join(_number(value) for value in flat[:_SHOWN_VALUES].tolist())
    return f"{shown}, …" if len(flat) > _SHOWN_VALUES else shown


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
