"""How ``compress`` trains what pruning leaves."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from converter.compression.judge import Judge
from converter.compression.training_data import classes_of, rungs_like
from converter.pruning.prepare import Prepared
from converter.pruning.recovered import Judged, Recovery
from quantizers.training.distill import Distiller
from quantizers.training.graph import refuse_unknown
from quantizers.training.options import DistillOptions
from runtimes.data.dataset import Dataset
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import load_model

# Training visits some ten thousand samples, forth and back: beyond so many multiply-adds a sample
# that takes longer than users expect who did not ask for it.
_MOST_MACS = 1e8


@dataclass(frozen=True)
class Training:
    """Pruned models are trained, and ``judge`` says whether they pass.

    ``asked``: the user insists, so that what stands against it is an error.
    """

    judge: Judge
    calibration: Dataset
    asked: bool = False

    def recovery(self, prepared: Prepared) -> Recovery:
        """How models are trained that are cut from the one that was prepared.

        Raises ``DataError`` where it would take long and was not asked for, or samples are too few,
        and ``RuntimeUnavailable`` without TensorFlow.
        """
        macs = prepared.costs.count(prepared.problem.dependencies.everything()).macs
        if macs > _MOST_MACS and not self.asked:
            raise DataError(
                f"that takes long with {macs / 1e6:,.0f} million multiply-adds a sample; --recover "
                "does it all the same"
            )
        judge, run = self.judge, self.judge.run
        refuse_unknown(prepared.exact)
        reference = load_model(judge.reference)
        trainer = Distiller(
            prepared.exact,
            self.calibration,
            rungs=rungs_like(judge.rungs, reference, self.calibration, run.seed),
            options=DistillOptions(
                classes=classes_of(judge.budget.metric, reference, judge.evaluation),
                seed=run.seed,
                threads=run.threads,
            ),
            progress=run.tell,
        )

        def judged(candidate: ir.Model) -> Judged:
            parity = judge.parity(candidate)
            return Judged(parity.passed, parity.reason)

        return Recovery(trainer, judged)
