"""``python -m converter`` and the ``kilnx`` command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; errors that a user can mend are one line and an exit code."""
    # The process is the command's own, and files are the same on every backend of Keras.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    from converter.cli import app
    from converter.cli.console import run_cli

    sys.exit(run_cli(app))


if __name__ == "__main__":
    main()
