"""Which output of a model a metric judges, and which labels are its."""

from __future__ import annotations

from collections.abc import Sequence

from runtimes.errors import DataError
from runtimes.suggestions import did_you_mean


def labelled_output(
    metric: str, wanted: str, outputs: Sequence[str], labels: Sequence[str]
) -> tuple[str, str]:
    """The output that the metric judges and the key of its labels.

    ``wanted``: the output that the metric names, or ``""``. Raises ``DataError`` where no labels,
    or too many, fit.
    """
    if not labels:
        raise no_labels(metric)
    if wanted and wanted not in outputs:
        raise DataError(
            f"the metric {metric!r} names the output {wanted!r}{did_you_mean(wanted, outputs)}; "
            f"the model has {listed(outputs)}"
        )
    if wanted in labels and wanted:
        return wanted, wanted
    named = [label for label in labels if label]
    if wanted and (named or len(labels) != 1):
        raise DataError(
            f"there are no labels 'labels:{wanted}' for the metric {metric!r}; the data have "
            f"{listed([f'labels:{label}' if label else 'labels' for label in labels])}"
        )
    if wanted:
        return wanted, ""
    if len(labels) > 1:
        raise DataError(
            f"there are labels for several outputs ({listed(labels)}); "
            f"say which one the metric judges: {metric}:{named[0]}"
        )
    if named and named[0] not in outputs:
        raise labels_of_no_output(named[0], outputs)
    if named:
        return named[0], named[0]
    if len(outputs) > 1:
        raise DataError(
            f"the model has the outputs {listed(outputs)}; say which one the labels are for: "
            f"name the array 'labels:{outputs[0]}', or the metric {metric}:{outputs[0]}"
        )
    return outputs[0], ""


def no_labels(metric: str) -> DataError:
    """What is said where a metric has no labels."""
    return DataError(
        f"the metric {metric!r} needs labels: an array 'labels' or 'labels:<output>' in the data"
    )


def labels_of_no_output(label: str, outputs: Sequence[str]) -> DataError:
    """What is said of labels whose name is that of no output."""
    return DataError(
        f"the labels 'labels:{label}' belong to no output{did_you_mean(label, outputs)}; the model "
        f"has {listed(outputs)}"
    )


def listed(names: Sequence[str]) -> str:
    """Names as a message lists them."""
    return ", ".join(repr(name) for name in names)
