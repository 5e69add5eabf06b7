"""What metrics are called: known by name at once, before anything is loaded."""

from __future__ import annotations

import math
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from runtimes.errors import DataError
from runtimes.suggestions import nearest

METRIC_NAMES = (
    *("top1", "top5", "binary_accuracy", "binary_accuracy_logits", "mae", "mse"),
    *("rmse", "r2", "auc", "pearson", "f1", "f1_logits", "iou", "iou_logits"),
    *("mean_iou", "mean_iou_logits", "psnr", "ssim", "map50"),
)
"""The metrics that kilnx has; others are functions of the user's."""

ACCURACY = "accuracy"
"""The accuracy that suits the output: top1, or binary_accuracy where there is one score."""

ALIASES = {
    "acc": ACCURACY,
    **dict.fromkeys(
        ("categorical_accuracy", "sparse_categorical_accuracy", "accuracy_score", "top_1"), "top1"
    ),
    **dict.fromkeys(("top_5", "top_k_categorical_accuracy"), "top5"),
    **dict.fromkeys(("mean_absolute_error", "l1"), "mae"),
    **dict.fromkeys(("mean_squared_error", "l2"), "mse"),
    "root_mean_squared_error": "rmse",
    **dict.fromkeys(("r2_score", "r_squared"), "r2"),
    **dict.fromkeys(("roc_auc", "auroc", "roc_auc_score"), "auc"),
    **dict.fromkeys(("pearsonr", "correlation"), "pearson"),
    **dict.fromkeys(("f1_score", "dice"), "f1"),
    **dict.fromkeys(("jaccard", "binary_iou"), "iou"),
    **dict.fromkeys(("miou", "meaniou"), "mean_iou"),
    **dict.fromkeys(("map", "map_50", "map@0.5", "map@50"), "map50"),
}
"""What else they are called, in small letters."""


def canonical(name: str) -> str:
    """``name`` (with an output, perhaps) as kilnx calls it; any other as it is."""
    base, colon, output = name.partition(":")
    known = base if base in METRIC_NAMES else base.lower()
    known = ALIASES.get(known, known)
    return f"{known}{colon}{output}" if known in (*METRIC_NAMES, ACCURACY) else name


def refuse_unknown(names: str | None) -> None:
    """Raise ``DataError`` for the first of ``names`` (with commas between) that cannot be.

    Nothing is imported: whether a module has the function is seen where it is used.
    """
    for name in split_drops(names)[0].split(",") if names else ():
        base, _, rest = canonical(name).partition(":")
        if base not in (*METRIC_NAMES, ACCURACY) and (not rest or not _is_importable(base)):
            raise _unknown(name)


def split_drops(names: str) -> tuple[str, tuple[tuple[str, float], ...]]:
    """Metrics with commas between, without the drops of ``name=drop``; and those by name.

    Raises ``DataError`` where a drop is no number of 0 or more.
    """
    found, drops = list[str](), list[tuple[str, float]]()
    for one in names.split(","):
        name, equals, drop = (part.strip() for part in one.partition("="))
        name = canonical(name)
        found.append(name)
        if equals:
            drops.append((name, _drop(one.strip(), drop)))
    return ",".join(found), tuple(drops)


def _drop(stated: str, text: str) -> float:
    try:
        drop = float(text)
    except ValueError:
        drop = math.nan
    if not 0 <= drop < math.inf:
        raise DataError(
            f"the metric {stated!r}: behind = stands its acceptable loss, a number of 0 or more, "
            "such as top1=0.01"
        )
    return drop


def _unknown(name: str) -> DataError:
    base, colon, output = name.partition(":")
    near = nearest(base, (*METRIC_NAMES, ACCURACY, *ALIASES))
    if output and not near:
        return DataError(f"the metric {name!r} cannot be imported: no module named {base!r}")
    hint = f" (did you mean {near + colon + output!r}?)" if near else ""
    return DataError(
        f"there is no metric {name!r}{hint}; there are {', '.join(METRIC_NAMES)}, "
        "and package.module:function for one of your own"
    )


def _is_importable(module: str) -> bool:
    """Whether the package that holds ``module`` can be found, the working folder included."""
    top = module.partition(".")[0]
    if top in sys.modules or top in sys.builtin_module_names:
        return True
    return PathFinder.find_spec(top, [str(Path.cwd()), *sys.path]) is not None
