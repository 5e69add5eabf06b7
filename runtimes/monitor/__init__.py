"""Whether a served model still does the job that it was proven for.

``make_reference`` writes down what held-out samples look like; ``ModelMonitor`` compares what is
served with it, by tests that may be looked at at any time, and decides who answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtimes.lazy_names import lazy_names

if TYPE_CHECKING:
    from runtimes.monitor.make import make_reference
    from runtimes.monitor.model_monitor import ModelMonitor
    from runtimes.monitor.policy import Policy
    from runtimes.monitor.probe import Probe, open_probe
    from runtimes.monitor.reference import Reference

__all__ = ["ModelMonitor", "Policy", "Probe", "Reference", "make_reference", "open_probe"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ModelMonitor": "runtimes.monitor.model_monitor",
        "Policy": "runtimes.monitor.policy",
        "Probe": "runtimes.monitor.probe",
        "Reference": "runtimes.monitor.reference",
        "make_reference": "runtimes.monitor.make",
        "open_probe": "runtimes.monitor.probe",
    },
)
