"""How ``compress`` trains what pruning leaves, and what quantization costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from converter.compression.judge import Judge
from converter.compression.spent import judged
from converter.compression.training_data import classes_of, rungs_like
from converter.pruning.prepare import Prepared
from converter.pruning.trials import Judged, Recovery
from quantizers.training.distill import Distilled, Distiller, TrainingStopped
from quantizers.training.graph import refuse_unknown
from quantizers.training.options import DistillOptions
from runtimes.data.dataset import Dataset
from runtimes.onnx_files.load_save import load_model

_STOPPED = (
    "training was stopped with Ctrl-C, and the best until then was kept: replaying the decisions "
    "trains to the end, so it gives another file"
)


@dataclass(frozen=True)
class Training:
    """Pruned and quantized models are trained, and ``judge`` says whether they pass.

    ``asked``: the user insists, so that what stands against it is an error. ``keep_best``: Ctrl-C
    ends training, and the best plan so far is taken.
    """

    judge: Judge
    calibration: Dataset
    asked: bool = False
    keep_best: bool = False
    _trainers: list[Distiller] = field(default_factory=list, init=False, repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report says of it: whether the user ended it early."""
        return (_STOPPED,) if any(one.stopped for one in self._trainers) else ()

    def held_out(self) -> Dataset | None:
        """Samples that the last training learned nothing from, perturbed and mixed; None: none."""
        return self._trainers[-1].held_out() if self._trainers else None

    def recovery(self, prepared: Prepared) -> Recovery:
        """How models are trained that are cut from the one that was prepared.

        Raises ``DataError`` where samples are too few, ``UnsupportedOperator`` for an operator
        without a gradient, and ``RuntimeUnavailable`` without TensorFlow.
        """
        refuse_unknown(prepared.exact)

        def verdict(candidate: ir.Model) -> Judged:
            return judged(self.judge.parity(candidate), self.judge.budget)

        return Recovery(self._trainer(prepared.exact), verdict)

    def through_rounding(self, quantized: ir.Model, steps: int) -> Distilled:
        """Train what was quantized, through its rounding, to answer like the whole model.

        Raises the same, and ``TrainingStopped`` where the user has stopped an earlier training.
        """
        if any(one.stopped for one in self._trainers):
            raise TrainingStopped
        return self._trainer(load_model(self.judge.reference)).train(quantized, steps)

    def _trainer(self, teacher: ir.Model) -> Distiller:
        judge, run = self.judge, self.judge.run
        reference = load_model(judge.reference)
        trainer = Distiller(
            teacher,
            self.calibration,
            rungs=rungs_like(judge.rungs, reference, self.calibration, run.seed),
            options=DistillOptions(
                classes=classes_of(judge.budget.metric, reference, judge.evaluation),
                seed=run.seed,
                threads=run.threads,
                keep_best=self.keep_best,
            ),
            progress=run.tell,
        )
        self._trainers.append(trainer)
        return trainer
