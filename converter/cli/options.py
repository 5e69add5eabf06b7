"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from runtimes.engines.provider_names import PROVIDER_NAMES

AllowFallback = Annotated[
    bool,
    typer.Option("--allow-fallback", help="Accept nodes that run elsewhere than on the provider."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
PublicKey = Annotated[
    str | None,
    typer.Option(
        "--verify",
        help="Public key of minisign, or its file, by which the bundle has to be signed.",
        metavar="KEY",
    ),
]
OnnxFile = Annotated[Path, typer.Argument(help="An ONNX file.")]
OutputFile = Annotated[Path, typer.Option("-o", "--output", help="The ONNX file to write.")]
Data = Annotated[
    Path,
    typer.Option(
        "--data", help="Samples: .npz, .npy, .csv, .parquet or a folder of images.", metavar="DATA"
    ),
]
OptionalData = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Samples: .npz, .npy, .csv, .parquet or a folder of images.", metavar="DATA"
    ),
]
Eval = Annotated[
    Path | None,
    typer.Option(
        "--eval", help="Samples to judge on, which calibration never sees.", metavar="DATA"
    ),
]
Costs = Annotated[
    str | None,
    typer.Option(
        "--costs",
        help="What kernels cost: a table that `kilnx costs measure` wrote; none measures anew.",
        metavar="FILE",
        show_default="this machine's, kept in the user's cache",
    ),
]
TrustCosts = Annotated[
    bool,
    typer.Option("--trust-costs", help="Let a cost table of another machine decide, for that one."),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        help="Height and width that a folder's images are brought to: 224x224.",
        show_default="what the model takes",
    ),
]
ImageScale = Annotated[
    float | None, typer.Option(help="Pixel scale, for pixels of 0 to 255: 0.00392 gives 0 to 1.")
]
ImageOffset = Annotated[float | None, typer.Option(help="Pixel offset, added after scaling.")]
SkipBroken = Annotated[
    bool,
    typer.Option("--skip-broken-images", help="Leave out images of a folder that are damaged."),
]
Metric = Annotated[
    list[str] | None,
    typer.Option(
        help="top1, binary_accuracy, auc, r2, mae, … or package.module:function (of outputs and "
        "labels, or y_true and y_pred); :OUTPUT behind it where there are several, =DROP for an "
        "acceptable loss of its own; repeatable. Else the labels choose.",
        metavar="NAME",
        show_default="what the labels mean",
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        help="Acceptable loss of a metric, in its unit.",
        min=0.0,
        show_default="0.01; 0.1 dB of psnr",
    ),
]
MinAgreement = Annotated[
    float | None,
    typer.Option(
        help="Minimum top-1 agreement for outputs without labels, 0 to 1.", show_default="0.99"
    ),
]
MinSqnr = Annotated[
    float | None,
    typer.Option(help="Minimum SQNR (dB) for outputs without labels.", show_default="20"),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Pass a drop only if its interval is inside.")
]
Stress = Annotated[
    Literal["default", "none"],
    typer.Option(help="none: judge on clean samples only."),
]
TimeBudget = Annotated[
    str | None,
    typer.Option(
        help="How long it may take: 90s, 5m, 1h. Decides by predicted cost how much is tried.",
        metavar="TIME",
        show_default="10m for compress, else 3m",
    ),
]
Effort = Annotated[
    Literal["low", "default", "high"],
    typer.Option(
        help="low tries little, and nothing twice; high tries more and learns the rounding of "
        "weights."
    ),
]
Threads = Annotated[int, typer.Option(help="Threads of a run.", min=1)]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Decisions = Annotated[
    Path | None,
    typer.Option(help="An earlier report (JSON) whose decisions are replayed.", metavar="REPORT"),
]
Prefer = Annotated[
    Literal["balanced", "speed", "size"],
    typer.Option(help="What counts: size keeps what is smaller, even if it is slower here."),
]
Recover = Annotated[
    bool | None,
    typer.Option(
        "--recover/--no-recover",
        help="Train what pruning leaves; by default where TensorFlow is installed and it is quick.",
        show_default=False,
    ),
]
KeepBest = Annotated[
    bool,
    typer.Option(
        "--keep-best",
        help="Ctrl-C ends training with the best so far; a second one ends the command.",
    ),
]
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)]
Cert = Annotated[Path | None, typer.Option(help="Certificate for TLS (PEM).", metavar="FILE")]
Key = Annotated[Path | None, typer.Option(help="Its private key.", metavar="FILE")]
Plain = Annotated[bool, typer.Option("--plain", help="Let other machines connect without TLS.")]
DeviceAddress = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Measure and judge on another machine, where `kilnx agent` runs.",
        metavar="HOST:PORT",
        show_default="this machine",
    ),
]
DeviceToken = Annotated[
    str | None,
    typer.Option(
        help="The token that the agent of the device wants to know.",
        envvar="KILNX_DEVICE_TOKEN",
        show_envvar=True,
    ),
]
DeviceCa = Annotated[
    Path | None,
    typer.Option(
        help="Certificates (PEM) by which the device is trusted.",
        envvar="KILNX_DEVICE_CA",
        show_envvar=True,
        metavar="FILE",
        show_default="those of the system",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        help="The runtime that it ships on: onnxruntime, openvino, opencv, tract, portable, …",
        metavar="NAME",
        show_default="onnxruntime",
    ),
]
Provider = Annotated[str, typer.Option(help=f"Where to measure: {', '.join(PROVIDER_NAMES)}.")]
Custom = Annotated[
    Path | None, typer.Option(help="Python file that defines the model's custom layers.")
]
Unsafe = Annotated[
    bool, typer.Option("--unsafe", help="Let code inside the model file run (Lambda layers).")
]
SignatureKey = Annotated[
    str | None, typer.Option(help="Which signature of a SavedModel, if not its default.")
]
Weights = Annotated[
    Path | None,
    typer.Option(help="Weights of a model in JSON, or instead of the file's own.", metavar="FILE"),
]
Signature = Annotated[
    list[str] | None,
    typer.Option(
        help="Input of a model that does not know its own, such as image=?,224,224,3:float32.",
        metavar="INPUT",
    ),
]


def signature_of(texts: list[str] | None) -> Any:
    """The inputs that ``--signature`` states, by name; None where it was not given."""
    if not texts:
        return None
    from converter.export.sources import parse_signature

    return dict(parse_signature(text) for text in texts)


def custom_of(path: Path | None) -> dict[str, Any] | None:
    """The classes and functions that the file of ``--custom`` defines."""
    if path is None:
        return None
    from runtimes.keras_models.load import import_keras, load_custom_objects

    import_keras()
    return load_custom_objects(path)


def data_of(
    path: Path | None,
    size: str | None,
    scale: float | None,
    offset: float | None,
    skip_broken: bool = False,
) -> Any:
    """The data as they are, or a folder of images with its options."""
    if path is None or ((size, scale, offset) == (None, None, None) and not skip_broken):
        return path
    from runtimes.data.dataset import Dataset
    from runtimes.data.image_options import ImageOptions
    from runtimes.errors import DataError

    wanted = None
    if size is not None:
        parts = size.lower().split("x")
        if len(parts) != 2 or not all(part.isdigit() for part in parts):
            raise DataError(f"--image-size {size!r} is not height and width such as 224x224")
        wanted = (int(parts[0]), int(parts[1]))
    options = ImageOptions(size=wanted, scale=scale, offset=offset, skip_broken=skip_broken)
    return Dataset.open(path, images=options)


def files_of(patterns: list[Path] | None) -> list[Path]:
    """The files that patterns name, each once and in order; ``DataError`` where one names none."""
    from runtimes.errors import DataError

    found: dict[Path, None] = {}
    for pattern in patterns or ():
        files = [pattern] if pattern.exists() else sorted(pattern.parent.glob(pattern.name))
        if not files:
            raise DataError(f"{pattern}: no such file")
        found.update(dict.fromkeys(files))
    return list(found)


def sizes_of(option: str, text: str) -> tuple[int, ...]:
    """Numbers with commas between; ``DataError`` names ``option`` otherwise."""
    from runtimes.errors import DataError

    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise DataError(f"{option} {text!r} is not a list of numbers such as 1,8")
    return sizes
