"""Where a model ships: what each runtime opens, in which form it takes INT8, who judges it."""

from runtimes.targets.find import DEFAULT_TARGET, find_target, refuse_unknown_target, target_names
from runtimes.targets.target import Int8Engine, Int8Form, Refusal, Storage, Target

__all__ = [
    "DEFAULT_TARGET",
    "Int8Engine",
    "Int8Form",
    "Refusal",
    "Storage",
    "Target",
    "find_target",
    "refuse_unknown_target",
    "target_names",
]
