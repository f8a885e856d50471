"""Options of the commands that learn from finished runs before they forecast young ones."""

import dataclasses
import os
import re
from typing import TYPE_CHECKING, Annotated

import typer

from .options import unless_given
from .runs import read_run

if TYPE_CHECKING:
    from ..temporal.forecasts.mean_loss import ForecastPrior

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}

Like = Annotated[
    list[str] | None,
    unless_given(
        "published values",
        "A finished run of the same family, a file or a store, to learn from what annealing brings or, of runs without "
        "lr, how the loss goes on; may be given several times. RUN:SIZE says how many parameters its model has, such "
        "as old.csv:25M.",
        metavar="RUN[:SIZE]",
    ),
]
SizeOption = Annotated[
    str | None,
    unless_given(
        "the store's attribute size, else unknown",
        "Parameters of the model, such as 400M; what annealing brings goes with it, as runs of two sizes say (--like).",
        metavar="SIZE",
    ),
]


@dataclasses.dataclass(frozen=True)
class Relatives:
    """Finished runs of the same family, and the size of the young one's model."""

    like: Like = None
    size: SizeOption = None


def parameters(text: str) -> float:
    """The number of parameters in ``25e6``, ``25M`` or ``1.3B``."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e\+?\d+)?)\s*([kmbgt]?)\s*", text.lower())
    if match is None or not float(match[1]) > 0:
        raise typer.BadParameter(f"--size: got {text!r}, expected a number of parameters such as 25e6, 25M or 1.3B")
    return float(match[1]) * _UNITS[match[2]]


def with_size(text: str) -> tuple[str, float | None]:
    """Path and size of ``RUN[:SIZE]``."""
    path, colon, size = text.rpartition(":")
    if not colon or os.path.exists(text) or not size[:1].isdigit():
        return text, None
    return path, parameters(size)


def prior_of(relatives: Relatives, warmup: int | None, names: dict[str, str], size: float | None) -> "ForecastPrior":
    """The prior from these runs, for a model of the size that is given, or else of this one."""
    from ..jobs.runs import rates_until
    from ..temporal.forecasts.prior import default_prior, prior_from_runs

    size = parameters(relatives.size) if relatives.size else size
    if not relatives.like:
        return default_prior(size)
    runs = []
    for text in relatives.like:
        path, of_run = with_size(text)
        run = read_run(path, names)
        rates = rates_until(run, run.step[-1], "recorded", warmup)
        runs.append({"step": run.step, "loss": run.loss, "learning_rate": rates, "size": of_run or run.size})
    return prior_from_runs(runs, size=size)
