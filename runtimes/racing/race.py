"""Which runtime, file and number of threads should be shipped on this machine?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from runtimes.base import Feed
from runtimes.engines.installed import Engine, Installed
from runtimes.engines.ort import NO_SPINNING
from runtimes.engines.remembering import RememberingRuntime
from runtimes.errors import KilnxError
from runtimes.machine_load import MachineLoad
from runtimes.onnx_files.load_save import file_bytes
from runtimes.options import RunOptions, flat_options
from runtimes.parity.budget import Budget
from runtimes.racing.entrants import (
    files_to_race,
    short_names,
    thread_counts,
)
from runtimes.racing.entry import Entry
from runtimes.racing.heats import Starter, run_heats
from runtimes.racing.judge import Field, described
from runtimes.racing.options import RaceOptions
from runtimes.racing.places import OnDevice, Place, Racer, ThisMachine
from runtimes.racing.recommend import is_able, recommend
from runtimes.racing.report import RaceReport
from runtimes.racing.speed import with_times

__all__ = ["RaceOptions", "RaceReport", "race"]


@flat_options(options=RaceOptions, budget=Budget, run=RunOptions)
def race(
    models: Any,
    data: Any,
    *,
    options: RaceOptions = RaceOptions(),
    budget: Budget = Budget(),
    run: RunOptions = RunOptions(),
) -> RaceReport:
    """Run every file in every engine, and recommend which to ship on this machine.

    Every entry (a file, an engine, a number of threads) has a process of its own, so that its
    memory and load time are its own, and an engine that crashes ends nothing but its entry. First
    parity judges each file in each engine against the first file in ONNX Runtime on the CPU: by the
    metric of the labels, or else by agreement and SQNR, on clean samples. Then all entries are
    timed, interleaved, in several launches. Among those inside the budget the fastest is
    recommended, or what ``rank_by`` says. With ``device``, the engines and the clock are those of
    the device, and the reference runs here. The fields of the dataclasses can also be given as
    keywords.

    Args:
        models: The path of an ONNX file, or several; the first one is the reference.
        data: What ``Dataset.open`` takes, on the reference's inputs.
        options: Which engines race, the larger batch, what is preferred, and how long it takes.
        budget: What loss is acceptable; ``stress`` is not looked at.
        run: Seed, progress (in entries), and the smaller number of threads.

    Returns:
        All entries, and the one that is recommended.

    Raises:
        RuntimeUnavailable: An engine that was asked for is not installed, or the device does not
            answer.
        ModelError: A file is no ONNX model, or takes other inputs than the first.
        DataError: The data do not fit, or no metric follows from their labels.

    Example:
        >>> report = race("model.onnx", "samples.npz", engines=["cpu"], min_time=0.01)
        >>> report.winner.provider
        'cpu'
    """
    files = files_to_race(models)
    place = ThisMachine(options.patience) if options.device is None else OnDevice(options.device)
    there = place.installed(options.engines)
    counts = options.thread_counts or (run.threads, there.cores)
    with RememberingRuntime(os.fspath(files[0]), threads=1, config=NO_SPINNING) as reference:
        field = Field.of(reference, data, budget, RunOptions(seed=run.seed))
        pairs = {file: field.names(file) for file in files}
        entrants = _Entrants(files, there.engines, counts, pairs, place)
        drafts = _judge_all(field, entrants, options, run)
    timed = run_heats(
        [one.starter for one in drafts if one.starter is not None],
        options,
        largest_heat=place.largest_heat,
        seed=run.seed,
        progress=partial(run.tell, "racing"),
    )
    load = MachineLoad(waited=max((share for one in timed for share in one.waited), default=0.0))
    results = iter(timed)
    entries = [
        one.entry if one.starter is None else with_times(one.entry, next(results)) for one in drafts
    ]
    entries = sorted(entries, key=_rank)
    recommended, sentence = recommend(entries, options.rank_by)
    return RaceReport(
        reference=short_names(files)[files[0]],
        entries=tuple(entries),
        recommended=recommended,
        recommendation=sentence,
        judged_by=described(field.budget),
        samples=field.samples.num_samples or 0,
        notes=(
            *_notes(field, drafts, options, there),
            *([] if place.note is None else [place.note]),
            *_busy(load),
        ),
        settings=_settings(there, options),
        load=load,
    )


@dataclass(frozen=True)
class _Entrants:
    files: Sequence[Path]
    engines: Sequence[Engine]
    threads: Sequence[int]
    pairs: Mapping[Path, Mapping[str, str]]
    place: Place


@dataclass(frozen=True)
class _Draft:
    """An entry that was judged, and how it is started to be timed if it runs."""

    entry: Entry
    starter: Starter | None


def _judge_all(
    field: Field, entrants: _Entrants, options: RaceOptions, run: RunOptions
) -> list[_Draft]:
    names = short_names(entrants.files)
    drafts: list[_Draft] = []
    total = len(entrants.files) * len(entrants.engines)
    for file in entrants.files:
        for engine in entrants.engines:
            run.tell("judging", len({(d.entry.file, d.entry.provider) for d in drafts}), total)
            counts = thread_counts(engine, entrants.threads)
            entry = Entry(
                names[file],
                engine.provider,
                None,
                file_bytes=file_bytes(file),
                install_bytes=engine.install_bytes,
                version=engine.version,
            )
            start = partial(
                entrants.place.start, file, engine.provider, fallback=options.allow_fallback
            )
            entry, feeds = _judge(
                field, entry, partial(start, threads=counts[0]), options, entrants.pairs[file]
            )
            if entry.refused is not None:
                drafts.append(_Draft(entry, None))
                continue
            for count in counts:
                baseline = file == entrants.files[0] and engine.provider == "cpu"
                own = replace(entry, threads=count, is_baseline=baseline and count == counts[0])
                drafts.append(_Draft(own, Starter(partial(start, threads=count), feeds)))
    return drafts


def _judge(
    field: Field,
    entry: Entry,
    start: partial[Racer],
    options: RaceOptions,
    names: Mapping[str, str],
) -> tuple[Entry, dict[int, Feed]]:
    """The entry with its verdict, and what it is timed with."""
    try:
        with start() as runtime:
            judged = field.judge(entry, runtime)
            return judged, field.feeds(names, runtime.inputs, options.large_batch)
    except KilnxError as error:
        return replace(entry, refused=str(error)), {}


def _rank(entry: Entry) -> tuple[int, float]:
    """The fastest inside the budget first, then those outside it, then what does not run."""
    speed = entry.latency.p50_ms if entry.latency is not None else float("inf")
    if is_able(entry):
        return 0, speed
    return (1 if entry.refused is None and entry.failed is None else 2), speed


def _notes(
    field: Field, drafts: Sequence[_Draft], options: RaceOptions, there: Installed
) -> tuple[str, ...]:
    notes = list(field.samples.notes)
    for name in dict.fromkeys(one.entry.file for one in drafts):
        sizes = {
            size
            for one in drafts
            if one.entry.file == name and one.starter is not None
            for size in one.starter.feeds
        }
        if len(sizes) == 1 and options.large_batch > 1:
            notes.append(f"{name} has a fixed batch size of {sizes.pop()}: timed at that size only")
    if options.engines is None and there.absent:
        notes.append(
            f"not installed, and so not in the race: {', '.join(there.absent)}; --engines NAME "
            "says how to install one"
        )
    return tuple(notes)


def _busy(load: MachineLoad) -> tuple[str, ...]:
    return (f"{load}; times may be too long, and the spread large",) if load.is_busy else ()


def _settings(there: Installed, options: RaceOptions) -> dict[str, Any]:
    """The conditions of the measurement."""
    return {
        "cores": there.cores,
        "cpu": there.cpu,
        "device": None if options.device is None else str(options.device),
        "launches": options.launches,
        "large_batch": options.large_batch,
        "rank_by": options.rank_by,
        "engines": {one.provider: one.version for one in there.engines},
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }
