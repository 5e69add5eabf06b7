"""Both models opened side by side, and what is asked of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from runtimes.data.dataset import Dataset
from runtimes.engines.batching import refuse_other_axes
from runtimes.engines.elsewhere import checked_device
from runtimes.engines.of_target import (
    check_file,
    chosen_target,
    judging_providers,
    notes_of,
)
from runtimes.engines.open_runtime import borrow, is_keras, is_runtime
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.providers import require_providers
from runtimes.engines.runtime import Runtime
from runtimes.errors import DataError
from runtimes.options import KerasOptions, RunOptions
from runtimes.parity.budget import Budget
from runtimes.parity.candidate import Candidate
from runtimes.parity.check_options import CheckOptions
from runtimes.parity.choose_metric import refuse_other_classes
from runtimes.parity.comparison import Comparing
from runtimes.parity.judged_by import fitting_batch, judged_by, notes_of_choice
from runtimes.parity.places import Place, opened_at, places_of
from runtimes.parity.verdict import Rules, float_rule_applies


@dataclass(frozen=True)
class OpenedModels:
    """A reference with candidates that are matched to it, and the samples of both.

    ``options``: with the size of a batch that all of them take. ``budget``: with the metric that
    labels mean. ``notes``: what the user should know before the verdict, ``chosen`` after it.
    """

    reference: Runtime
    others: Sequence[Candidate]
    places: tuple[Place, ...]
    samples: Dataset
    options: CheckOptions
    budget: Budget
    quantized: bool
    notes: tuple[str, ...]
    _candidates: ExitStack = field(repr=False)

    @property
    def rules(self) -> Rules:
        """What the verdict goes by."""
        return self.budget.rules(rtol=self.options.rtol, atol=self.options.atol)

    @property
    def how(self) -> Comparing:
        """How batches are compared."""
        rules, metric = self.rules, self.budget.metric
        by_noise = float_rule_applies(rules, labelled=bool(metric), quantized=self.quantized)
        return Comparing(metric, rules.rtol, rules.atol, self.options.batch_size, probed=by_noise)

    def close_candidates(self) -> None:
        """Let go of the candidates, whose memory something else needs."""
        self._candidates.close()


@contextmanager
def opened_models(  # noqa: PLR0917
    reference: Any,
    candidate: Any,
    data: Any,
    budget: Budget,
    options: CheckOptions,
    keras: KerasOptions,
    run: RunOptions,
) -> Iterator[OpenedModels]:
    """Yield both models, open as long as the context is; arguments as those of ``check``."""
    if not options.providers:
        raise ValueError("providers must name at least one provider")
    options, told = _on_target(options, candidate)
    places = places_of(options.providers, options.optimizations)
    if (device := checked_device(options.device)) is not None:
        device.require(options.providers)
    elif not (is_runtime(candidate) or is_keras(candidate)):  # said before the reference is loaded
        require_providers(options.providers)
    threads, reference = run.threads, open_reference(reference, keras)
    with (
        borrow(reference, "cpu", threads=threads, config=NO_SPINNING) as first,
        ExitStack() as candidates,
    ):
        refuse_other_axes(first.inputs, first.outputs, first.name)
        others = candidates.enter_context(opened_at(places, candidate, options, threads))
        matched = [note for other in others for note in other.match(first)]
        samples = Dataset.open(data, inputs=first.inputs)
        opened = (first, *(other.runtime for other in others))
        size = min(fitting_batch(one, options.batch_size) for one in opened)
        options = replace(options, batch_size=size)
        quantized = any(other.runtime.quantized for other in others)
        meant, chosen = _meant(first, samples, budget, options, quantized=quantized)
        yield OpenedModels(
            first,
            others,
            tuple(places),
            samples,
            options,
            meant,
            quantized,
            (*told, *chosen, *dict.fromkeys(matched)),
            candidates,
        )


def _on_target(options: CheckOptions, candidate: Any) -> tuple[CheckOptions, tuple[str, ...]]:
    """The options with the providers of their target, and what to say of it."""
    target = chosen_target(options.target, providers=options.providers)
    check_file(candidate, target)
    if target.is_default:
        return options, ()
    return replace(options, providers=judging_providers(target)), notes_of(target)


def _meant(
    reference: Runtime,
    samples: Dataset,
    budget: Budget,
    options: CheckOptions,
    *,
    quantized: bool,
) -> tuple[Budget, tuple[str, ...]]:
    """The budget with the metric that labels mean and its drop, and what the user should know.

    A float candidate for which nothing was asked has to be the same within rounding, which is
    stricter: there the metric only informs.
    """
    refuse_other_classes(reference.outputs, samples)
    if options.rtol is not None or options.atol is not None:
        return budget, ()
    asked = (budget.metric, budget.max_drop, budget.min_agreement, budget.min_sqnr)
    if budget.asks_for_accuracy and samples.label_names:
        meant = budget.resolve(judged_by(reference, samples))
        budget = replace(budget, metric=meant.metric, drops=meant.drops)
    only_informs = not quantized and all(one is None for one in asked)
    metric = budget.metric
    if metric is None and samples.label_names:
        try:
            metric = budget.resolve(judged_by(reference, samples)).metric
        except DataError as error:
            if not only_informs:
                raise
            return budget, (f"the labels are not looked at: {error}",)
    if metric is None and budget.max_drop is not None:
        raise DataError(
            "max_drop is in the unit of a metric of labelled samples, and the data have no labels "
            "that one follows from; without them --min-agreement and --min-sqnr judge"
        )
    if only_informs:
        return replace(budget, metric=metric, max_drop=math.inf if metric else None), ()
    notes = () if budget.metric else notes_of_choice(metric, samples)
    return replace(budget, metric=metric, max_drop=budget.shared_drop if metric else None), notes


def open_reference(model: Any, keras: KerasOptions) -> Any:
    """A Keras file that needs options to be read, as a model; everything else as it is."""
    if keras == KerasOptions() or is_runtime(model) or not is_keras(model):
        return model
    from runtimes.keras_models.load import load_keras_model

    given = keras.to_dict()
    given.pop("signature")
    return load_keras_model(model, **given)
