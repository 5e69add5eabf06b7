"""The command line: one function a subcommand, each a thin skin over one public function.

Imports stand inside the functions, so ``kilnx --help`` loads neither NumPy nor ONNX, and a
command that starts from an ONNX file never loads TensorFlow.
"""

from __future__ import annotations

from typing import Annotated

import typer

from converter.cli import (
    agent,
    calibrate,
    check,
    compress,
    convert,
    costs,
    dedupe,
    drift,
    inspect,
    package,
    partition,
    profile,
    prune,
    push,
    quantize,
    race,
    recover,
    run,
    serve,
)
from converter.cli.at_once import answering_at_once
from converter.cli.help_text import Command, Group
from converter.cli.progress import with_quiet

app = typer.Typer(
    name="kilnx",
    help="Turn a Keras model into a smaller, faster ONNX model, with proof that it still does "
    "the same job.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done or passed, 1 checked and failed, 2 bad input, 3 no such runtime, "
    "70 a defect of kilnx. Add --debug to any command for a traceback.",
)


def _version(value: bool) -> None:
    if value:
        from runtimes.version import own_version

        typer.echo(f"kilnx {own_version()}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for _command in (
    convert.convert,
    compress.compress,
    quantize.quantize,
    calibrate.calibrate,
    prune.prune,
    recover.recover,
    dedupe.dedupe,
    check.check,
    profile.profile,
    race.race,
    partition.partition,
    serve.serve,
    push.push,
    agent.agent,
    inspect.inspect,
    package.package,
    run.run,
    drift.drift,
    compress.demo,
):
    app.command(cls=Command)(with_quiet(answering_at_once(_command)))
app.add_typer(costs.app, cls=Group)
