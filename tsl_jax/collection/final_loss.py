"""An estimate of a run's final loss while it trains, computed beside it."""

import contextlib
import dataclasses
import json
import math
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import known_array, real_number

#: Fewest losses that are forecast from.
_FEWEST = 8
_MODULE = "tsl_jax.collection.final_loss_worker"


@dataclasses.dataclass(frozen=True)
class FinalLossEstimate:
    """What is expected at the end of a run.

    Attributes:
        step: last step of the run.
        seen: last step that the estimate knows of.
        mean: expected loss, nat.
        low: lower end of the 90% band, nat.
        high: upper end, nat.
        scheduled: whether the learning rates to come were known.
    """

    step: float
    seen: float
    mean: float
    low: float
    high: float
    scheduled: bool

    def logged(self) -> dict[str, float]:
        """As entries of a training log."""
        return {"final_loss": self.mean, "final_loss_low": self.low, "final_loss_high": self.high}


class FinalLoss:
    """Forecasts a run's loss at its last step from its losses so far, at most every ``every`` seconds.

    The forecast is `tsl_jax.temporal.forecast`, in a process of its own that uses no GPU: training does not wait for
    it, and its result is there a few seconds after it was asked for.

    Args:
        last_step: of the run.
        learning_rate: (updates,) rate of every update up to the last step; None where the schedule is not known, which
            leaves only the power law of the step.
        every: fewest seconds between two forecasts.

    Raises:
        ValueError: the last step is not above 0, or there are fewer rates than steps.

    Example:
        >>> final = FinalLoss(10_000)
        >>> for step in range(100, 500, 100):
        ...     final.add(step, 3 + 20 * step**-0.5)
        >>> final.poll(), final.reason  # from the eighth loss on it asks for a forecast
        (None, 'too few losses')
    """

    def __init__(self, last_step: float, learning_rate: Any = None, *, every: float = 60.0) -> None:
        self.last_step = real_number("last_step", last_step)
        if not self.last_step > 0:
            raise ValueError(f"last_step: got {last_step}, expected the last step of the run, above 0")
        self._rates = None if learning_rate is None else known_array("learning_rate", learning_rate)
        if self._rates is not None and (self._rates.ndim != 1 or len(self._rates) < self.last_step):
            raise ValueError(
                f"learning_rate: got shape {self._rates.shape}, expected one for each of {self.last_step:g} updates"
            )
        self._every, self._asked = real_number("every", every), -math.inf
        self._losses: dict[float, float] = {}
        self._worker: _Worker | None = None
        self._known = 0
        self.reason = "too few losses"

    def add(self, step: float, loss: float) -> None:
        """Note a loss of training; a step at or before an earlier one means that the run went back to there."""
        if self._losses and step <= next(reversed(self._losses)):
            self._losses = {before: value for before, value in self._losses.items() if before < step}
        if math.isfinite(loss) and step > 0:
            self._losses[float(step)] = float(loss)

    def poll(self) -> FinalLossEstimate | None:
        """The estimate that has been made since the last call, if one has; asks for the next one when it is due.

        Where there is none, `reason` says why.
        """
        found = None
        if self._worker is not None and self._worker.answer is not None:
            answer, self._worker.answer = self._worker.answer, None
            self.reason = str(answer.get("error", ""))
            found = FinalLossEstimate(**answer["estimate"]) if "estimate" in answer else None
        seen = next(reversed(self._losses)) if self._losses else self.last_step
        idle = self._worker is None or not self._worker.busy
        if len(self._losses) >= _FEWEST and seen < self.last_step and idle and self._due():
            self._ask()
        return found

    def wait(self, seconds: float) -> None:
        """Return when the forecast that is under way is made, or that many seconds are over."""
        if self._worker is not None:
            self._worker.wait(seconds)

    def close(self) -> None:
        """End the process that forecasts; at the end of this one that is so by itself."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _due(self) -> bool:
        return time.monotonic() - self._asked >= self._every

    def _ask(self) -> None:
        self._asked = time.monotonic()
        question: dict[str, Any] = {
            "step": list(self._losses),
            "loss": list(self._losses.values()),
            "last_step": self.last_step,
        }
        if self._worker is None:
            self._worker = _Worker()
            question["learning_rate"] = None if self._rates is None else np.asarray(self._rates).tolist()
        self._worker.ask(question)


class _Worker:
    """The other process: one question at a time, its answer in `answer`."""

    def __init__(self) -> None:
        # No GPU: JAX would take most of the memory of one that training needs.
        own = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        # -P: no module of the working directory, where training scripts lie, takes the place of a library's.
        here = str(Path(__file__).parents[2])
        code = f"import sys; sys.path.append({here!r}); import {_MODULE} as worker; worker.main()"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | own,
            text=True,
        )
        self.close = weakref.finalize(self, _end, self._process)
        self.answer: dict[str, Any] | None = None
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def ask(self, question: dict[str, Any]) -> None:
        self._thread = threading.Thread(target=self._converse, args=(question,), daemon=True, name="tsl-final-loss")
        self._thread.start()

    def wait(self, seconds: float) -> None:
        if self._thread is not None:
            self._thread.join(seconds)

    def _converse(self, question: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError):  # it has ended, or was closed
            line = ""
        ended = {"error": f"the process that forecasts has ended; try: {sys.executable} -m {_MODULE}"}
        self.answer = json.loads(line) if line else ended


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # what was not read yet has nobody to read it
                stream.close()
