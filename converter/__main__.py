"""``python -m converter`` and the ``kilnx`` command."""

from __future__ import annotations

import os
import sys

from runtimes.keras_models.quick_import import alone
from runtimes.signals import exit_code, stopping_signals


def main() -> None:
    """Run the command line; an error that the user can fix is one line and an exit code."""
    # The process belongs to the command, and files are the same for every Keras backend.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    alone.set(True)
    with stopping_signals() as received:
        try:
            from converter.cli import app
            from converter.cli.console import run_cli

            code = run_cli(app)
        except KeyboardInterrupt:
            code = exit_code(received)
    sys.exit(code)


if __name__ == "__main__":
    main()
