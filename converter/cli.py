"""The command line: one function a subcommand, each a thin skin over one public function.

Imports stand inside the functions, so ``kilnx --help`` loads neither NumPy nor ONNX, and a
command that starts from an ONNX file never loads TensorFlow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from converter.console import print_json, print_line, print_rows, progress

app = typer.Typer(
    name="kilnx",
    help="Turn a Keras model into a smaller, faster ONNX model, with proof that it still does "
    "the same job.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done or passed, 1 checked and failed, 2 bad input, 3 no such runtime. "
    "Add --debug to any command for a traceback.",
)

AllowFallback = Annotated[
    bool,
    typer.Option("--allow-fallback", help="Accept nodes that run elsewhere than on the provider."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Data = Annotated[
    Path, typer.Option("--data", help="Samples: .npz, .npy or a folder of images.", metavar="DATA")
]
Eval = Annotated[
    Path | None,
    typer.Option(
        "--eval", help="Samples to judge on, which calibration never sees.", metavar="DATA"
    ),
]
ImageSize = Annotated[
    str | None,
    typer.Option(help="Height and width that a folder's images are brought to: 224x224."),
]
ImageScale = Annotated[
    float | None, typer.Option(help="What pixels (0 to 255) are multiplied by, such as 0.00392.")
]
ImageOffset = Annotated[float | None, typer.Option(help="What is added to them after that.")]
Metric = Annotated[
    str | None,
    typer.Option(help="top1, top5, binary_accuracy, mae, mse, … or package.module:function."),
]
MaxDrop = Annotated[float, typer.Option(help="Acceptable loss of the metric.", min=0.0)]
Threads = Annotated[int, typer.Option(help="Threads of a run.", min=1)]
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
    ),
]


def _version(value: bool) -> None:
    if value:
        from converter.report import own_version

        typer.echo(f"kilnx {own_version()}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def convert(
    model: Annotated[
        Path,
        typer.Argument(
            help="A .keras or HDF5 file, a model in JSON with --weights, or a SavedModel folder."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The ONNX file to write.")],
    opset: Annotated[int | None, typer.Option(help="ONNX opset; 18 otherwise.")] = None,
    target_ort: Annotated[
        str | None, typer.Option(help="Oldest ONNX Runtime that must open it, such as 1.16.")
    ] = None,
    layout: Annotated[
        Literal["nhwc", "nchw"], typer.Option(help="Channels of image inputs last or first.")
    ] = "nhwc",
    signature: Signature = None,
    data: Annotated[
        Path | None, typer.Option(help="Samples to compare on; random ones otherwise.")
    ] = None,
    custom: Custom = None,
    unsafe: Unsafe = False,
    signature_key: SignatureKey = None,
    weights: Weights = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Export a Keras model to ONNX, run it and compare it with Keras before it gets its name."""
    from converter.conversion import convert as run

    with progress() as say:
        say(f"converting {model}")
        report = run(
            model,
            output,
            signature=_signature(signature),
            opset=opset,
            target_ort=target_ort,
            layout=layout,
            data=data,
            custom_objects=_custom(custom),
            unsafe=unsafe,
            signature_key=signature_key,
            weights=weights,
            force=force,
        )
    if json:
        print_json(report.to_dict())
        return
    print_line(
        f"{output}: opset {report.opset}, {report.nodes} nodes, {report.parameters:,} parameters, "
        f"{report.size_bytes / 1024:,.1f} KiB"
    )
    print_line(f"inputs   {', '.join(report.inputs)}")
    print_line(f"outputs  {', '.join(report.outputs)}")
    print_rows(
        [
            {
                "proof against Keras": proof.output,
                "batch": str(proof.batch),
                "largest error": f"{proof.max_abs_error:.2e}",
                "allowed": f"{proof.allowed:.2e}",
            }
            for proof in report.proofs
        ]
    )
    for note in report.notes:
        print_line(f"note: {note}")


@app.command()
def compress(
    model: Annotated[Path, typer.Argument(help="An ONNX file, or what convert takes.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    data: Data,
    evaluate_on: Eval = None,
    metric: Metric = None,
    max_drop: MaxDrop = 0.01,
    min_agreement: Annotated[
        float, typer.Option(help="Floor of top-1 agreement where there are no labels.")
    ] = 0.99,
    min_sqnr: Annotated[float, typer.Option(help="Floor of SQNR in dB, likewise.")] = 20.0,
    provider: Annotated[str, typer.Option(help="Execution provider to measure on.")] = "cpu",
    skip: Annotated[list[str] | None, typer.Option(help="A step to leave out.")] = None,
    threads: Threads = 1,
    decisions: Annotated[
        Path | None, typer.Option(help="An earlier report.json whose decisions are replayed.")
    ] = None,
    signature: Signature = None,
    custom: Custom = None,
    unsafe: Unsafe = False,
    signature_key: SignatureKey = None,
    weights: Weights = None,
    force: Force = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    json: Json = False,
) -> None:
    """Make a model smaller and faster inside one budget; write it with a measured report."""
    from converter.pipeline import compress as run
    from converter.steps import STEPS
    from runtimes.errors import DataError

    for step in skip or []:
        if step not in STEPS:
            raise DataError(f"--skip {step}: there is no such step; they are {', '.join(STEPS)}")
    with progress() as say:
        report = run(
            model,
            output,
            data,
            evaluate_on=evaluate_on,
            metric=metric,
            max_drop=max_drop,
            min_agreement=min_agreement,
            min_sqnr_db=min_sqnr,
            provider=provider,
            steps=[step for step in STEPS if step not in (skip or [])],
            threads=threads,
            signature=_signature(signature),
            custom_objects=_custom(custom),
            unsafe=unsafe,
            signature_key=signature_key,
            weights=weights,
            decisions=decisions,
            force=force,
            seed=seed,
            progress=say,
        )
    _show_compression(report, output, json)


@app.command()
def quantize(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The ONNX file to write.")],
    data: Data,
    evaluate_on: Eval = None,
    metric: Metric = None,
    max_drop: MaxDrop = 0.01,
    min_agreement: Annotated[
        float, typer.Option(help="Floor of top-1 agreement where there are no labels.")
    ] = 0.99,
    min_sqnr: Annotated[float, typer.Option(help="Floor of SQNR in dB, likewise.")] = 20.0,
    effort: Annotated[
        Literal["low", "default", "high"],
        typer.Option(help="high also learns the rounding of weights; low tries nothing twice."),
    ] = "default",
    target_cpu: Annotated[
        Literal["any", "vnni"],
        typer.Option(help="vnni: no guard against 16-bit sums that saturate elsewhere."),
    ] = "any",
    keep_float: Annotated[
        list[str] | None, typer.Option(help="A node that stays in float; may be given again.")
    ] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes to be fast at, such as 1,32.")] = "1",
    decisions: Annotated[
        Path | None, typer.Option(help="An earlier report (JSON) whose decisions are replayed.")
    ] = None,
    threads: Threads = 1,
    force: Force = False,
    seed: Annotated[int, typer.Option(help="Seed of the split of the data.")] = 0,
    json: Json = False,
) -> None:
    """Quantize an ONNX model to static INT8, if that pays inside the budget."""
    from quantizers import quantize as run

    with progress() as say:
        say(f"quantizing {model}")
        report = run(
            model,
            output,
            data,
            evaluate_on=evaluate_on,
            metric=metric,
            max_drop=max_drop,
            min_agreement=min_agreement,
            min_sqnr=min_sqnr,
            effort=effort,
            target_cpu=target_cpu,
            keep_float=keep_float or (),
            batch=_sizes("--batch", batch),
            decisions=decisions,
            threads=threads,
            force=force,
            seed=seed,
        )
    if json:
        print_json(report.to_dict())
        return
    print_rows(report.rows(), title=str(output))
    for note in report.notes:
        print_line(f"note: {note}")
    print_line(f"{'INT8' if report.kept else 'fp32'} written to {output}: {report.reason}")


@app.command()
def prune(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The ONNX file to write.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Samples; without any, only what changes nothing goes."),
    ] = None,
    evaluate_on: Eval = None,
    metric: Metric = None,
    max_drop: MaxDrop = 0.01,
    min_agreement: Annotated[
        float, typer.Option(help="Floor of top-1 agreement where there are no labels.")
    ] = 0.99,
    min_sqnr: Annotated[float, typer.Option(help="Floor of SQNR in dB, likewise.")] = 20.0,
    flops: Annotated[
        float | None, typer.Option(help="Enough: this share of the multiply-adds, 0 to 1.")
    ] = None,
    params: Annotated[float | None, typer.Option(help="Enough: of the parameters.")] = None,
    latency: Annotated[float | None, typer.Option(help="Enough: of the latency here.")] = None,
    outputs: Annotated[
        list[str] | None, typer.Option(help="An output to keep; may be given again.")
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(help="An earlier report (--json) whose decision is replayed.")
    ] = None,
    threads: Threads = 1,
    force: Force = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    json: Json = False,
) -> int:
    """Remove channels from an ONNX model without training, as far as the budget allows."""
    from converter.pruning.prune import prune as run

    with progress() as say:
        say(f"pruning {model}")
        report = run(
            model,
            output,
            data,
            evaluate_on=evaluate_on,
            metric=metric,
            max_drop=max_drop,
            min_agreement=min_agreement,
            min_sqnr=min_sqnr,
            flops=flops,
            params=params,
            latency=latency,
            outputs=outputs,
            decisions=decisions,
            threads=threads,
            force=force,
            seed=seed,
            progress=say,
        )
    if json:
        print_json(report.to_dict())
    else:
        print_rows(report.rows(), title=str(output))
        for note in report.notes:
            print_line(f"note: {note}")
        print_line(f"{'pruned' if report.kept else 'not pruned'}, {output}: {report.reason}")
        if not report.reached:
            print_line("the target is not met: this is the best that the budget allows")
    return 0 if report.reached else 1


@app.command()
def dedupe(
    models: Annotated[list[Path], typer.Argument(help="ONNX files, or one store.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The ONNX file, or the store, to write."),
    ] = None,
    add: Annotated[
        list[Path] | None, typer.Option(help="An ONNX file to add to the store; again for more.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every byte of the store again and check it.")
    ] = False,
    extract: Annotated[
        str | None, typer.Option(help="A model of the store to write as a file of its own.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="What a model is called in the store, one for each.")
    ] = None,
    near: Annotated[
        float | None,
        typer.Option(help="Merge weights that differ by this share at most; needs --data.", min=0),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Samples that judge what --near does.")
    ] = None,
    metric: Metric = None,
    max_drop: MaxDrop = 0.01,
    force: Force = False,
    json: Json = False,
) -> int:
    """Store equal weights once: inside a model, or across several in a store that they share.

    One model and -o FILE.onnx: the model with each weight once. Several and -o FOLDER: a store,
    whose files ONNX Runtime opens as they are. A store and --add, --verify or --extract: what
    they say.
    """
    from converter import sharing_command as command

    if verify or extract is not None or add:
        code, document = command.on_store(
            models,
            output,
            add=add or [],
            verify=verify,
            extract=extract,
            names=name,
            force=force,
        )
    else:
        with progress() as say:
            say(f"reading {len(models)} models")
            code, document = command.on_models(
                models,
                output,
                names=name,
                near=near,
                data=data,
                metric=metric,
                max_drop=max_drop,
                force=force,
            )
    if json:
        print_json(document.to_dict())
        return code
    print_rows(document.rows())
    for line in document.lines():
        print_line(line)
    return code


@app.command()
def check(
    reference: Annotated[Path, typer.Argument(help="An ONNX file, or what convert takes.")],
    candidate: Annotated[Path, typer.Argument(help="An ONNX file.")],
    data: Data,
    metric: Metric = None,
    max_drop: Annotated[float | None, typer.Option(help="Acceptable loss of the metric.")] = None,
    rtol: Annotated[float | None, typer.Option(help="Relative tolerance, element-wise.")] = None,
    atol: Annotated[float | None, typer.Option(help="Absolute tolerance, element-wise.")] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Floor of top-1 agreement, 0 to 1.")
    ] = None,
    min_sqnr: Annotated[float | None, typer.Option(help="Floor of SQNR, dB.")] = None,
    provider: Annotated[
        list[str] | None, typer.Option(help="Where the candidate runs; may be given again.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Samples a run.", min=1)] = 32,
    image_size: ImageSize = None,
    image_scale: ImageScale = None,
    image_offset: ImageOffset = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare layer by layer; name the one that departs.")
    ] = False,
    optimization: Annotated[
        list[str] | None,
        typer.Option(
            help="ONNX Runtime's level: disabled, basic, extended or all; may be given again."
        ),
    ] = None,
    allow_fallback: AllowFallback = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Pass a drop only if its interval is inside.")
    ] = False,
    custom: Custom = None,
    unsafe: Unsafe = False,
    signature_key: SignatureKey = None,
    weights: Weights = None,
    json: Json = False,
) -> int:
    """Run two models on the same data and judge whether one may stand for the other."""
    from runtimes.compare import check as run
    from runtimes.verdict import UNSURE

    source: Any = reference
    if unsafe or any(option is not None for option in (custom, signature_key, weights)):
        from runtimes.keras_files import load_keras_model

        source = load_keras_model(
            reference,
            custom_objects=_custom(custom),
            unsafe=unsafe,
            signature_key=signature_key,
            weights=weights,
        )
    with progress() as say:
        say(f"checking {candidate} against {reference}")
        report = run(
            source,
            candidate,
            _data(data, image_size, image_scale, image_offset),
            metric=metric,
            max_drop=max_drop,
            providers=tuple(provider or ("cpu",)),
            rtol=rtol,
            atol=atol,
            min_agreement=min_agreement,
            min_sqnr=min_sqnr,
            batch_size=batch_size,
            layers=layers,
            strict=strict,
            optimizations=_levels(optimization),
            allow_fallback=allow_fallback,
        )
    if json:
        print_json(report.to_dict())
    else:
        print_rows(report.rows())
        if report.layers:
            print_rows(report.layers.rows(), title="layer by layer")
            print_line(report.layers.reason)
        for placement in report.placements:
            if len(report.placements) > 1 or placement.elsewhere:
                print_line(f"placement: {placement}")
        for note in report.notes:
            print_line(f"note: {note}")
        verdict = "passed" if report.passed else "FAILED"
        if report.verdict == UNSURE:
            verdict += f" ({UNSURE})"
        print_line(f"{verdict}: {report.reason}")
    return 0 if report.passed else 1


@app.command()
def profile(
    model: Annotated[Path, typer.Argument(help="An ONNX or Keras file.")],
    against: Annotated[Path | None, typer.Option(help="A model to interleave with.")] = None,
    provider: Annotated[str, typer.Option(help="Execution provider.")] = "cpu",
    batch: Annotated[str, typer.Option(help="Batch sizes, such as 1,8.")] = "1",
    threads: Annotated[
        str | None, typer.Option(help="Threads of a run, such as 1 or 1,2,4.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Samples; random ones otherwise.")] = None,
    image_size: ImageSize = None,
    image_scale: ImageScale = None,
    image_offset: ImageOffset = None,
    operators: Annotated[
        bool, typer.Option("--operators", help="Show where the time goes, operator by operator.")
    ] = False,
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure peak memory, in a process of its own.")
    ] = False,
    allow_fallback: AllowFallback = False,
    json: Json = False,
) -> None:
    """Measure latency, throughput and size, interleaved with another model where one is given."""
    from runtimes.profile import profile as run

    with progress() as say:
        say(f"profiling {model}")
        report = run(
            model,
            against=against,
            provider=provider,
            batch=_sizes("--batch", batch),
            threads=None if threads is None else _sizes("--threads", threads),
            data=_data(data, image_size, image_scale, image_offset),
            memory=memory,
            operators=operators,
            allow_fallback=allow_fallback,
        )
    if json:
        print_json(report.to_dict())
        return
    print_rows(report.rows())
    if report.load_ms is not None:
        print_line(f"loaded in {report.load_ms:.1f} ms, first run {report.first_run_ms:.2f} ms")
    if report.operators is not None:
        _show_operators(report.operators)
    for note in report.notes:
        print_line(f"note: {note}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")] = Path(
        "kilnx-demo"
    ),
    force: Force = False,
    seed: Annotated[int, typer.Option(help="Seed of training and everything else.")] = 0,
    json: Json = False,
) -> None:
    """Train a small residual network on scikit-learn's digits, compress it, show the report."""
    from converter.demo import demo as run

    with progress() as say:
        report = run(output, force=force, seed=seed, progress=say)
    _show_compression(report, output, json)


def _show_compression(report: Any, output: Path, json: bool) -> None:
    from converter.html import summary, table_rows

    if json:
        print_json(report.to_dict())
        return
    print_rows(table_rows(report))
    for step in report.steps:
        verdict = "kept" if step.kept else "not kept"
        print_line(f"{step.name}: {verdict}, {step.reason}")
    for note in report.notes:
        print_line(f"note: {note}")
    print_line(f"{output / 'model.onnx'}: {summary(report)}")


def _signature(texts: list[str] | None) -> Any:
    if not texts:
        return None
    from converter.sources import parse_signature

    return dict(parse_signature(text) for text in texts)


def _custom(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    from runtimes.keras_files import import_keras, load_custom_objects

    import_keras()
    return load_custom_objects(path)


def _data(path: Path | None, size: str | None, scale: float | None, offset: float | None) -> Any:
    """The data as they are, or a folder of images with its options."""
    if path is None or (size, scale, offset) == (None, None, None):
        return path
    from runtimes.dataset import Dataset
    from runtimes.errors import DataError
    from runtimes.images import ImageOptions

    wanted = None
    if size is not None:
        parts = size.lower().split("x")
        if len(parts) != 2 or not all(part.isdigit() for part in parts):
            raise DataError(f"--image-size {size!r} is not height and width such as 224x224")
        wanted = (int(parts[0]), int(parts[1]))
    return Dataset.open(path, images=ImageOptions(size=wanted, scale=scale, offset=offset))


def _levels(names: list[str] | None) -> Any:
    from runtimes.errors import DataError

    known = ("disabled", "basic", "extended", "all")
    for name in names or ():
        if name not in known:
            raise DataError(f"--optimization {name}: there are {', '.join(known)}")
    return tuple(names or ("all",))


def _show_operators(table: Any) -> None:
    print_rows(table.rows(30), title="where the time goes")
    print_line(
        f"roof: {table.roof.gflops:.0f} GFLOP/s float32, {table.roof.gigabytes_per_s:.0f} GB/s; "
        f"{table.fused} of {table.nodes} nodes are part of another one now"
    )
    if table.stayed_float:
        print_line(f"multiplies in float: {', '.join(table.stayed_float)}")


def _sizes(option: str, text: str) -> tuple[int, ...]:
    from runtimes.errors import DataError

    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise DataError(f"{option} {text!r} is not a list of numbers such as 1,8")
    return sizes
