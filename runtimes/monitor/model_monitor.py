"""The monitor of one served model: what the server calls, and the thread that does the work.

The server's calls are cheap and never wait: ``wants`` counts, ``record`` copies into a bounded
queue. Everything else happens in one thread, which is the only one that touches the tests.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, perf_counter, thread_time
from typing import Any

from runtimes.base import Array, Closable
from runtimes.monitor.alarms import Alarms
from runtimes.monitor.decisions import Decisions
from runtimes.monitor.examine import Examiner, Measured, RunFp32, in_steps
from runtimes.monitor.feedback import Feedback
from runtimes.monitor.observer import watch
from runtimes.monitor.policy import Policy
from runtimes.monitor.probe import Probe
from runtimes.monitor.reference import Reference
from runtimes.monitor.sample_queue import MOST_ROWS, Sample, SampleQueue, copied, rows_of
from runtimes.monitor.sampling import Sampling
from runtimes.monitor.shadow_sums import ShadowSums
from runtimes.monitor.sketches import Errors, Latencies
from runtimes.monitor.state_file import StateFile

# Logs of what some bet has won since its lowest point, and of what it would win. Without drift the
# second stayed below 1 over 8,000 samples of the demo's digits, next to references of 200 to 900.
_SUSPICIOUS, _PROMISING = 2.0, 1.1
_EARLY = 500  # observations of a group from which a start is over, if the purse lasts so long
_STEP, _BATCH = 4, 32  # requests that a test takes at once, and that are measured at once
# Requests that the thread waits for, and for how many seconds at most: one at a time costs twenty
# times as much as 32 at once, and a drift is not seen while they gather.
_ENOUGH, _PATIENCE = 8, 1.0
_EAGER_ENOUGH, _EAGER_PATIENCE = 4, 0.05
_SECONDS_BETWEEN_WRITES = 10.0
_STATISTICS_SHARE = 0.5  # of the budget; the rest is for running models
_ANSWERS_EVERY = 4  # looks in quiet times: inputs are the first to drift


class ModelMonitor(Closable):
    """Compares what a model serves with what it was proven on.

    Args:
        reference: From ``make_reference``; None: only latency, errors and the metric are watched.
        policy: What to test, and what follows.
        run_fp32: Runs the original on the rows of a request, at most 32; None: no shadow, and
            no rollback.
        probe: The served model with its saturation, from ``open_probe``; the monitor closes it.
        state: A file in which what was learnt outlives a restart.
        name, version: Of the model, for events.
    """

    def __init__(
        self,
        reference: Reference | None,
        policy: Policy,
        *,
        run_fp32: RunFp32 | None = None,
        probe: Probe | None = None,
        state: Path | None = None,
        name: str = "model",
        version: str = "1",
    ) -> None:
        self.name, self.version, self.policy = name, version, policy
        watched = {} if reference is None else watch(reference, policy)
        self._alarms = Alarms(name, version, policy)
        self._decisions = Decisions(
            watched, policy, self._alarms, can_roll_back=run_fp32 is not None
        )
        self._sums = ShadowSums(_class_outputs(reference))
        self._examiner = Examiner(watched, probe, run_fp32, self._sums)
        self._probe, self._queue = probe, SampleQueue()
        burst = policy.burst_seconds
        cheap, dear = _STATISTICS_SHARE, 1 - _STATISTICS_SHARE
        self._sampling = Sampling(cheap * policy.budget, cheap * burst)
        self._shadowing = Sampling(dear * policy.budget, dear * burst)
        self._latencies = {False: Latencies(), True: Latencies()}
        self._errors = Errors()
        self._feedback = Feedback(None if reference is None else reference.metric)
        self._lock, self._feedback_lock = threading.Lock(), threading.Lock()
        self._faults = self._looks = 0
        self._last_fault: str | None = None
        self._file = None if state is None else StateFile(Path(os.fspath(state)), reference)
        self._take_up()
        self._written = self._earned_at = monotonic()
        self._thread = threading.Thread(
            target=self._work, name=f"kilnx-monitor-{name}", daemon=True
        )
        self._thread.start()

    @property
    def uses_fp32(self) -> bool:
        """Whether the server is to answer with fp32."""
        return self._decisions.uses_fp32

    @property
    def capacity(self) -> float:
        """What the server multiplies its limits by: below 1 while a slower fp32 answers."""
        return self._sums.capacity if self.uses_fp32 else 1.0

    @property
    def events(self) -> list[dict[str, Any]]:
        """Alarms, their ends, rollbacks and comebacks, newest last; a hundred at most."""
        return list(self._alarms.events)

    def wants(self) -> bool:
        """Whether this request is to be recorded: asked once for each, before it is looked at."""
        return self._sampling.wants()

    def record(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        seconds: float,
        request_id: str | None = None,
        *,
        by_fp32: bool | None = None,
    ) -> None:
        """Take in a request that ``wants`` chose. Never waits: what finds no room is dropped.

        ``seconds``: CPU time of the model for it. ``by_fp32``: who answered, where that may differ
        from ``uses_fp32`` by now.
        """
        begun = perf_counter()
        fp32 = self.uses_fp32 if by_fp32 is None else by_fp32
        self._latencies[fp32].add(seconds)
        self._sums.took(seconds, by_fp32=fp32)
        if request_id is not None:
            self.remember(request_id, outputs)
        if self._decisions.watched:
            of = rows_of(inputs)
            rows = min(of, MOST_ROWS)
            kept = copied(inputs, rows, of)
            self._queue.put(Sample(kept, copied(outputs, rows, of), rows, fp32))
        self._sampling.cost_of_request(seconds)
        self._sampling.spend(perf_counter() - begun, 0)

    def remember(self, request_id: str, outputs: Mapping[str, Array]) -> None:
        """Keep an answer until its label comes; for requests that ``wants`` did not choose, too."""
        with self._feedback_lock:
            self._feedback.remember(request_id, outputs)

    def failed(self, status: int) -> None:
        """Count a request that was answered with an error."""
        self._errors.add(status)

    def feedback(self, request_id: str, label: Any) -> None:
        """Judge an earlier answer by its label. Raises ``DataError`` where that cannot be."""
        with self._feedback_lock:
            self._feedback.label(request_id, label)

    def come_back(self) -> None:
        """By hand: let the compressed model answer again, whatever was found."""
        with self._lock:
            self._decisions.come_back()
            self._write()

    def status(self) -> dict[str, Any]:
        """Everything that is known, as plain JSON values."""
        with self._lock:
            found = self._decisions.status()
            if "shadow" in found or self._sums.samples:
                found["shadow"] = {**found.get("shadow", {}), **self._sums.to_dict()}
            return {
                "model": self.name,
                "version": self.version,
                **found,
                "capacity": self.capacity,
                "latency": {
                    "compressed": self._latencies[False].to_dict(),
                    "fp32": self._latencies[True].to_dict(),
                },
                "errors": dict(self._errors.counts),
                "metric": self._feedback.to_dict(),
                "alarms": self._alarms.to_dict(),
                "webhook": self._alarms.webhook.to_dict() if self._alarms.webhook else None,
                "cost": self._cost(),
                "notes": self._notes(),
            }

    def flush(self, seconds: float = 60.0) -> bool:
        """Wait until everything recorded was looked at; for tests and for shutting down."""
        return self._queue.flush(seconds)

    def close(self) -> None:
        """Finish what waits, save the state, and end the thread."""
        if self._queue.closed:
            return
        self._queue.flush(5.0)
        self._queue.close()
        self._thread.join(10.0)
        with self._lock:
            self._write()
        self._alarms.close()
        if self._probe is not None and not self._thread.is_alive():
            self._probe.close()

    def _work(self) -> None:
        while not self._queue.closed:
            if self._sampling.eager:
                samples = self._queue.take(_EAGER_ENOUGH, _BATCH, _EAGER_PATIENCE)
            else:
                samples = self._queue.take(_ENOUGH, _BATCH, _PATIENCE)
            try:
                self._look_at(samples)
            except Exception as error:  # a fault of the monitor is not to end the serving
                self._faults += 1
                self._last_fault = f"{type(error).__name__}: {error}"[:200]

    def _look_at(self, samples: list[Sample]) -> None:
        step = _STEP if self._sampling.eager else _BATCH
        for part in in_steps(samples, step):
            begun = thread_time()
            self._judge(self._examiner.statistics(part, answers=self._looks_at_answers()))
            self._sampling.spend(thread_time() - begun, len(part))
            chosen = [one for one in part if self._runs(one)]
            if chosen:
                begun = thread_time()
                self._judge(self._examiner.models(chosen))
                self._shadowing.spend(thread_time() - begun, len(chosen))
        with self._lock:
            self._earn()
            self._be_eager()
            if self._file is not None and monotonic() - self._written > _SECONDS_BETWEEN_WRITES:
                self._write()

    def _looks_at_answers(self) -> bool:
        """Whether this look is at answers as well as at inputs, which cost as much again."""
        self._looks += 1
        return self._sampling.eager or self._looks % _ANSWERS_EVERY == 0

    def _earn(self) -> None:
        """What the time since the last look has earned."""
        now = monotonic()
        earned = self.policy.idle * (now - self._earned_at)
        self._earned_at = now
        self._sampling.deposit(_STATISTICS_SHARE * earned)
        self._shadowing.deposit((1 - _STATISTICS_SHARE) * earned)

    def _runs(self, sample: Sample) -> bool:
        """Whether the models are run for a sample: the second purse pays."""
        if not self._examiner.runs_models:
            return False
        # One recorded request stands for all that were passed over to come to it.
        seconds = self._sampling.seconds_of_requests / max(1, self._latency_count())
        self._shadowing.cost_of_request(seconds)
        return self._shadowing.wants()

    def _latency_count(self) -> int:
        return sum(sum(one.counts) for one in self._latencies.values())

    def _judge(self, measured: Sequence[Measured]) -> None:
        with self._lock:
            if self._decisions.judge(measured):
                self._write()

    def _be_eager(self) -> None:
        """Look closely at the start, and as long as something is suspected that is not known."""
        suspected = self._decisions.suspects(_SUSPICIOUS, _PROMISING)
        early = self._decisions.is_early(_EARLY)
        for sampling in (self._sampling, self._shadowing):
            sampling.eager = suspected or (early and sampling.at_ease)

    def _cost(self) -> dict[str, Any]:
        spent = self._sampling.spent + self._shadowing.spent
        requests = self._sampling.seconds_of_requests
        return {
            "requests": self._sampling.requests,
            "recorded": self._latency_count(),
            "dropped": self._queue.dropped,
            "share": 1.0 if self._sampling.eager else self._sampling.share,
            "eager": self._sampling.eager,
            "monitor_seconds": spent,
            "request_seconds": requests,
            "budget": self.policy.budget,
        }

    def _notes(self) -> list[str]:
        notes = self._decisions.notes()
        if self._file is not None and self._file.note:
            notes.append(self._file.note)
        if not self._decisions.watched:
            notes.append("there is no reference, so nothing is compared with what was proven")
        if self._probe is not None and self._probe.note:
            notes.append(self._probe.note)
        elif self._probe is not None and not self._counts_what_the_reference_does():
            notes.append("saturation is not watched: the reference tells of other activations")
        if self._faults:
            notes.append(f"the monitor failed {self._faults} times, last: {self._last_fault}")
        return notes

    def _counts_what_the_reference_does(self) -> bool:
        watched = self._decisions.watched.get("saturation")
        if watched is None or self._probe is None:
            return True
        names = tuple(block.names[place] for block, place in watched.features)
        return names == self._probe.activations

    def _take_up(self) -> None:
        """Go on where the last process left off."""
        state = None if self._file is None else self._file.read()
        if state is None or self._file is None:
            return
        try:
            self._decisions.take_up(state)
            self._alarms.take_up(state["alarms"])
            self._errors.take_up(state["errors"])
            self._feedback.take_up(state["feedback"])
            for key, one in self._latencies.items():
                one.take_up(state["latency"]["fp32" if key else "compressed"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            self._file.damaged(error)
            self._decisions.begin_anew()
            self._alarms.begin_anew()

    def _write(self) -> None:
        self._written = monotonic()
        if self._file is None:
            return
        self._file.write(
            {
                **self._decisions.to_dict(),
                "alarms": self._alarms.to_dict(),
                "errors": self._errors.counts,
                "feedback": self._feedback.sums(),
                "latency": {
                    "fp32" if key else "compressed": one.counts
                    for key, one in self._latencies.items()
                },
            }
        )


def _class_outputs(reference: Reference | None) -> frozenset[str]:
    if reference is None:
        return frozenset()
    return frozenset(block.tensor for block in reference.layout if block.form == "classes")
