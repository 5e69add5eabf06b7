"""What a model's kernels cost on a machine, and the latency that follows from it."""

from __future__ import annotations

from runtimes.costs.expected import search_costs
from runtimes.costs.open_costs import Costs, CostsSource, open_costs
from runtimes.costs.predict import Prediction
from runtimes.costs.table import CostTable

__all__ = ["CostTable", "Costs", "CostsSource", "Prediction", "open_costs", "search_costs"]
