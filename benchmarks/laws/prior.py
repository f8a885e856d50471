"""The runs of two model sizes, and the prior that those of one give for the other."""

from pathlib import Path
from typing import Any

from tsl_jax.jobs.runs import Run, rates_until, read_run
from tsl_jax.temporal import ForecastPrior, prior_from_runs

SIZES = {"25": 25e6, "100": 100e6}
#: Linear warm-up that the curves of arXiv 2503.12811 leave out.
WARMUP = 2160


def runs_of(folder: Path) -> dict[str, tuple[Run, Any]]:
    """Every curve of a model size with its schedule."""
    runs = {path.stem: read_run(str(path)) for path in sorted(folder.glob("*.csv"))}
    return {name: (run, rates_until(run, run.step[-1], warmup=WARMUP)) for name, run in runs.items()}


def learned(sizes: dict[str, dict[str, tuple[Run, Any]]], size: float) -> ForecastPrior:
    """The prior for a size from finished runs of these sizes."""
    given = [
        {"step": run.step, "loss": run.loss, "learning_rate": rates, "size": SIZES[name]}
        for name, runs in sizes.items()
        for run, rates in runs.values()
    ]
    return prior_from_runs(given, size=size)
