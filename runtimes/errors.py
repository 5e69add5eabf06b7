"""The errors that users see: each says what is wrong, where, and how to fix it.

A bug in kilnx is never a ``KilnxError``. For a ``KilnxError`` the command line prints only the
message and exits with its ``exit_code``; anything else is a traceback.
"""


class KilnxError(Exception):
    """Base class of every error that the user can fix."""

    exit_code = 2


class ConversionError(KilnxError):
    """The Keras model could not be converted to a correct ONNX model."""


class UnsupportedOperator(ConversionError):
    """A layer or operator has no correct ONNX form; names the layer and a way around it."""


class DataError(KilnxError):
    """The data do not fit the model, or cannot be used."""


class ModelError(KilnxError):
    """The file cannot be read as a model, or the model is not valid."""


class BundleError(ModelError):
    """A bundle is not what its manifest says, or not what a bundle may be.

    ``kind`` names what is wrong in one word, as ``docs/bundle.md`` lists them.
    """

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        super().__init__(message)
        self.kind = kind


class RuntimeUnavailable(KilnxError):
    """A requested runtime or provider is not available."""

    exit_code = 3


class BudgetError(KilnxError):
    """The stated budget was exceeded, or cannot be judged."""

    exit_code = 1


def error_class(name: str) -> type[KilnxError] | None:
    """The class of this name, for errors that come from another process; None for no such class."""
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, KilnxError) else None


_LONGEST_LINE = 300
"""Characters of a library's message that are quoted in one of ours."""


def first_line(error: BaseException) -> str:
    """The first line of a library's message, or the error's class if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip()[:_LONGEST_LINE] if lines else type(error).__name__
