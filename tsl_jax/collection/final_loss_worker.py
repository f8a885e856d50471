"""The process beside a training run that forecasts: a question a line on stdin, an answer a line on stdout."""

import json
import os
import sys
import warnings
from typing import Any

import numpy as np

from ..temporal.forecasts.mean_loss import LEVELS, forecast

#: Training comes first.
_NICENESS = 10


def answer(question: dict[str, Any], rates: np.ndarray | None) -> dict[str, Any]:
    """The estimate of the final loss as `FinalLossEstimate` has it, or why there is none.

    Example:
        >>> step = np.arange(100, 2000, 50)
        >>> question = {"step": step, "loss": 3 + 20 / np.sqrt(step), "last_step": 10_000}
        >>> round(answer(question, None)["estimate"]["mean"], 1)
        3.2
    """
    step, last = np.asarray(question["step"], np.float64), float(question["last_step"])
    try:
        found = forecast(step, np.asarray(question["loss"]), np.array([last]), learning_rate=rates)
    except ValueError as error:
        return {"error": str(error)}
    band = LEVELS.index(0.9)
    numbers = {"mean": found.mean[-1], "low": found.lower[band][-1], "high": found.upper[band][-1]}
    said = {name: float(value) for name, value in numbers.items()}
    return {"estimate": {"step": last, "seen": float(step[-1]), **said, "scheduled": rates is not None}}


def main() -> None:
    """Answer until stdin ends."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    warnings.simplefilter("ignore")
    rates = None
    for line in sys.stdin:
        question = json.loads(line)
        if question.get("learning_rate") is not None:
            rates = np.asarray(question["learning_rate"], np.float64)
        print(json.dumps(answer(question, rates)), flush=True)


if __name__ == "__main__":
    main()
