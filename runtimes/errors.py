"""The errors that users meet: each says what is wrong, where, and how to mend it.

A bug in kilnx is never a ``KilnxError``: the command line prints the message of a
``KilnxError`` alone and exits with its ``exit_code``; anything else is a traceback.
"""


class KilnxError(Exception):
    """Base of every error that the user can mend."""

    exit_code = 2


class ConversionError(KilnxError):
    """The Keras model could not be turned into a right ONNX model."""


class UnsupportedOperator(ConversionError):
    """A layer or operator has no right ONNX form; names the layer and the way out."""


class DataError(KilnxError):
    """The data do not fit the model, or are not fit to be used."""


class ModelError(KilnxError):
    """The file is not a model that can be read, or the model is not valid."""


class RuntimeUnavailable(KilnxError):
    """A runtime or provider that was asked for is not there."""

    exit_code = 3


class BudgetError(KilnxError):
    """The stated budget was exceeded, or cannot be judged."""

    exit_code = 1


_LONGEST_LINE = 300
"""Characters of a library's message that still read as a part of one of ours."""


def first_line(error: BaseException) -> str:
    """The first line of what a library says; the class of the error where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip()[:_LONGEST_LINE] if lines else type(error).__name__
