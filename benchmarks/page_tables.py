"""Tables of the pages in docs/ that show a part of a result, or several results in one table."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from . import record
from .laws import forecasts
from .laws import gemstones as of_gemstones


def laws(result: dict) -> str:
    """Laws at unseen schedules: R² and mean absolute error, means over the predicted runs of each model size."""
    sizes = result["sizes"]
    rows = []
    for name in next(iter(sizes.values())):
        cells = []
        for entries in sizes.values():
            runs = entries[name]["runs"].values()
            cells.append(" / ".join(f"{np.mean([run[key] for run in runs]):.5f}" for key in ("r2", "mae")))
        rows.append([_LAWS.get(name, name), *cells])
    published = result["published"]
    given = (" / ".join(map(str, published[size])) if size in published else "" for size in sizes)
    rows.append(["*published, multi-power law*", *given])
    return record.table(["R² / mean absolute error (nat)", *(f"{size}M" for size in sizes)], rows)


_LAWS = {
    "memory law": "memory law (exponential kernels, this project's own)",
    "average": "average of two laws, chosen on the other size",
    "published parameters": "*published parameters on these files*",
}


def forecast_runs(result: dict) -> str:
    """Forecasts of each group of runs, means over runs, by what was seen and by method."""
    rows = [
        [_GROUPS.get(name, name), *row]
        for name, entries in result["groups"].items()
        for row in forecasts.summary(entries)
    ]
    return record.table(["runs", *forecasts.HEADER], rows)


_GROUPS = {
    "left out": "18 of 25M and 100M, the other size known",
    "both": "the same, both sizes known",
    "real_lm": "small GPT",
}


def gemstones(result: dict) -> str:
    """Forecasts of models of another family, means over runs, and by how much known models change the MSE."""
    rows = [[arm, *row] for arm, entries in result["groups"].items() for row in forecasts.summary(entries)]
    above = record.table(of_gemstones.DIFFERENCE_HEADER, of_gemstones.difference_rows(result["above_default"]))
    told = "MSE above that of the default prior, run by run, and its standard error:"
    return f"{record.table(['prior', *forecasts.HEADER], rows)}\n\n{told}\n\n{above}"


def spectrum_forecast(result: dict) -> str:
    """The mean loss continued by the tail of the spectrum, beside a power law and no change."""
    header = ["hidden", "loss then", "at the end", "forecast (90% band)", "rms error", "of a power law", "of no change"]
    rows = [
        [
            f"last {run['hidden']:.0%}",
            *(f"{run[key]:.3f}" for key in ("loss_then", "actual")),
            f"{run['forecast']:.3f} ({run['low']:.3f} to {run['high']:.3f})",
            *(f"{run[key]:.3f}" for key in ("error", "power_law_error", "no_change_error")),
        ]
        for run in result["judged"]
    ]
    return record.table(header, rows)


def reweighting(result: dict) -> str:
    """What each arm saves on the way to the uniform arm's losses, and what it does to text of low and high scores."""
    arms = result["arms"].items()
    groups = [*next(iter(result["arms"].values()))["groups"]]
    last = [[arm, *(_cell(found["groups"][group]["last_loss_lower_by"], 3) for group in groups)] for arm, found in arms]
    overall = [[*row, _cell(found["last_loss_lower_by"], 4)] for row, (_, found) in zip(last, arms, strict=True)]
    named = record.table(["last loss lower by (nat)", *(f"{group} buckets" for group in groups), "all"], overall)
    parts = [_saved(result), named, _rivals(result)]
    return "\n\n".join([*parts, _plans(result["plans"])] if any(result["plans"]) else parts)


def reweighting_again(result: dict) -> str:
    """The shorter form, of a run that confirms another."""
    return f"{_saved(result)}\n\n{_rivals(result)}"


def _saved(result: dict) -> str:
    levels = [*next(iter(result["arms"].values()))["speed_up_percent_at"]]
    rows = [
        [arm, *(_cell(found["speed_up_percent_at"][level], 1) for level in levels)]
        for arm, found in result["arms"].items()
    ]
    return record.table(["steps saved (%, 95% interval)", *(f"at {level} of the fall" for level in levels)], rows)


def _rivals(result: dict) -> str:
    rivals = result["saves_more_than"]
    rows = [[arm, *(_cell(each[arm], 1) if arm in each else "" for each in rivals.values())] for arm in result["arms"]]
    return record.table(["saves more steps (points, at 100%)", *(f"than {rival}" for rival in rivals)], rows)


def _cell(found: dict, digits: int) -> str:
    low, high = found["interval"]
    return f"{found['mean']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _plans(plans: list[list[dict]]) -> str:
    """What the plans of the curriculum were worth, means over seeds."""

    def mean(values: list) -> str:
        known = [value for value in values if value is not None]
        return f"{np.mean(known):.2f}" if known else ""

    rows = []
    for same in zip(*plans, strict=True):
        start, end = same[0]["window"]
        foreseen = (mean([plan.get(f"foreseen_by_{name}") for plan in same]) for name in ("score", "fall"))
        worth = mean([plan["reliability"][0] for plan in same]), mean([plan.get("r2") for plan in same]), *foreseen
        rows.append([f"{start:g} to {end:g}", *worth, f"{sum(bool(plan['noise']) for plan in same)} of {len(same)}"])
    header = ["curriculum's window", "reliability of scores", "R² of the predictor"]
    header += ["correlation with the fall that came", "the same of the fall before", "seeds of noise"]
    return record.table(header, rows)


def collect(result: dict) -> str:
    """`tsl.collect` beside a plain evaluation loop."""
    rows = [[name, f"{run['tokens_per_second']:,.0f}"] for name, run in result["runs"].items()]
    return record.table(["", "tokens/s"], [*rows, ["ratio, median", f"{result['ratio']:.2f}"]])


def headline(results: Path) -> str:
    """The few numbers of the README, out of several results, each with its command.

    Args:
        results: folder of the JSON files, as measured on CPUs.
    """

    def read(name: str) -> dict[str, Any]:
        return json.loads((results / f"{name}_cpu.json").read_text())

    found = {name: read(name) for name in ("fitting", "stream", "memory", "coverage")}
    fitting, stream, memory, coverage = found.values()
    methods = fitting["methods"]
    ours = methods["tsl_jax"]
    times = {name: ours["fits_per_second"] / methods[name]["fits_per_second"] for name in ("gpufit", "jaxopt", "scipy")}
    layout = max(stream["layouts"], key=lambda entry: entry["end_to_end_per_second"])
    largest = max(memory["stores"], key=lambda entry: entry["tokens"])
    held = [
        value for row in coverage["rows"] if row["checkpoints"] == 64 for value in row["model"]["coverage"].values()
    ]
    rows = [
        [
            "fits per second on one CPU core, 64 checkpoints",
            f"{ours['fits_per_second']:,.0f}, {ours['solved']:.2%} solved",
            "fitting",
        ],
        [
            "times as fast as Cpufit, jaxopt, SciPy",
            ", ".join(f"{times[name]:.0f}" for name in ("gpufit", "jaxopt", "scipy")),
            "fitting",
        ],
        ["tokens per second from disk to disk, two cores", f"{layout['end_to_end_per_second']:,.0f}", "stream"],
        [
            f"memory for {largest['tokens']:,} tokens, above what the program takes",
            f"{largest['above_baseline_bytes'] / 2**20:,.0f} MiB",
            "memory",
        ],
        [
            "90% intervals hold the truth, 64 checkpoints, noise of eight kinds",
            f"{min(held):.0%} to {max(held):.0%}",
            "coverage",
        ],
    ]
    on = {name: result["environment"]["device"] for name, result in found.items()}
    head = ["", "measured", "on", "by"]
    return record.table(head, [[*row, on[name], f"`python -m benchmarks {name}`"] for *row, name in rows])
