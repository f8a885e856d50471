"""Options of the commands that take training runs."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from .options import unless_given
from .streams import warn

if TYPE_CHECKING:
    from ..jobs.runs import Run

Warmup = Annotated[
    int | None,
    unless_given(
        "as recorded",
        "Length of the linear warm-up from 0, in steps, wherever the file begins; 0: none. Needed where the file has "
        "learning rates and does not begin at step 0 or 1.",
    ),
]
ScheduleOption = Annotated[
    str,
    typer.Option(
        metavar="SCHEDULE",
        help="Learning rate of the whole run: recorded (the run's own, which must reach as far as the forecast), "
        "constant, cosine[:FINAL], linear[:FINAL] (from the last seen rate to FINAL, 0 by default, at the end of the "
        "forecast), none (unknown), or a CSV file with columns step, lr.",
    ),
]
#: What a run may be, in the help of commands.
RUN_HELP = (
    "a file with a loss curve (CSV, TSV, JSON lines, Parquet, trainer_state.json, exports of Weights & Biases and "
    "TensorBoard, logs of llm.c and modded-nanogpt), or a loss store."
)
StepColumn = Annotated[
    str | None, unless_given("known names", "Column of the files that holds the step.", metavar="NAME")
]
LossColumn = Annotated[
    str | None, unless_given("known names", "Column of the files that holds the loss.", metavar="NAME")
]
RateColumn = Annotated[
    str | None,
    unless_given("known names", "Column of the files with the learning rate.", "--lr-column", metavar="NAME"),
]
RunOption = Annotated[
    str | None,
    unless_given(
        "the only one",
        "Run to take of files with several, by their column run, run_id, experiment or seed.",
        "--run",
        metavar="NAME",
    ),
]


class OptionError(ValueError):
    """The value of an option cannot be: which, what is expected, the way out."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """The learning rates of a whole run."""

    schedule: ScheduleOption = "recorded"
    warmup: Warmup = None


@dataclasses.dataclass(frozen=True)
class Columns:
    """Where files hold what is read."""

    step_column: StepColumn = None
    loss_column: LossColumn = None
    lr_column: RateColumn = None
    run_name: RunOption = None

    @property
    def names(self) -> dict[str, str]:
        """Those that are given, by what they name."""
        given = {"step": self.step_column, "loss": self.loss_column}
        given |= {"learning_rate": self.lr_column, "run": self.run_name}
        return {name: column for name, column in given.items() if column is not None}


def read_run(path: str, names: Mapping[str, str] | None = None) -> "Run":
    """`tsl_jax.jobs.runs.read_run`; what was left out of a file is said once."""
    from ..jobs.runs import read_run

    run = read_run(path, names)
    if run.notes:
        warn(f"{path}: {'; '.join(run.notes)}")
    return run


@contextlib.contextmanager
def by_option(**options: str) -> Iterator[None]:
    """Errors about a parameter name the option that it comes from, such as ``warmup_steps="--warmup"``."""
    options = {"warmup_steps": "--warmup", "level": "--level", "fraction": "--fraction"} | options
    try:
        yield
    except ValueError as error:
        run, name, rest = re.match(r"(runs\[\d+\]: )?(\w*)(.*)", str(error), re.DOTALL).groups("")  # type: ignore[union-attr]
        if name not in options or not rest.startswith(":"):
            raise
        raise OptionError(f"{run}{options[name]}{rest}") from error


def first_part(run: "Run", fraction: float | None) -> "Run":
    """This first part of a run's recorded steps; None: all of it."""
    from ..temporal.forecasts.ranking import seen_part

    return run if fraction is None else run.until(run.step[seen_part(run.step, fraction)][-1])


def short_names(names: list[str]) -> list[str]:
    """Names of runs without directories and endings, where that keeps them apart."""
    stems = [os.path.splitext(os.path.basename(name.rstrip("/")))[0] for name in names]
    return stems if len(set(stems)) == len(names) else names
