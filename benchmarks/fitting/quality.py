"""Solved fraction of `tsl_jax` by noise, checkpoint count and spacing, against the best known rss.

    python -m benchmarks quality [--curves N] [--scipy N] [--out FILE] [--quick]

Prints a table; the JSON holds every cell. `--scipy` also fits that many curves a cell with SciPy
from 9 starts, the definition of solved (about 15 curves/s; the exhaustive search is stricter).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import record
from . import oracle
from .peers import tsl_jax_fit
from .problems import NOISE_LEVELS, Cell, Problem, join, quality_rows
from .tolerances import SOLVED_FRACTION


class Judged(NamedTuple):
    """A cell of the table: its problem, the rss of the fits, the best known, and which curves are solved."""

    cell: Cell
    problem: Problem
    rss: NDArray
    best: oracle.Best
    solved: NDArray


def judge(row: list[Cell], problem: Problem, best: oracle.Best) -> Iterator[Judged]:
    """Fit the cells of a row, joined in one problem, with `tsl_jax` and compare with the best known."""
    rss = oracle.rss_of(problem, tsl_jax_fit(problem)(problem.losses))
    good = oracle.solved(problem, rss, best)
    num_curves = len(problem) // len(row)
    for index, cell in enumerate(row):
        part = slice(index * num_curves, (index + 1) * num_curves)
        yield Judged(cell, problem[part], rss[part], best[part], good[part])


def _entry(judged: Judged, num_scipy: int) -> dict:
    entry = {
        **judged.cell._asdict(),
        "curves": len(judged.problem),
        "solved": int(judged.solved.sum()),
        "unsolved_curves": np.flatnonzero(~judged.solved).tolist(),
    }
    if num_scipy:
        part = judged.problem[:num_scipy]
        nine = oracle.scipy_best(part)
        entry["scipy_curves"] = len(part)
        entry["solved_against_scipy"] = int(oracle.solved(part, judged.rss[: len(part)], nine).sum())
        entry["scipy_solved"] = int(oracle.solved(part, nine.rss, judged.best[: len(part)]).sum())
    return entry


def main(argv: list[str] | None = None) -> dict:
    """Run the table, print it as Markdown, write its JSON."""
    parser = record.arguments("quality", __doc__, quick="64 curves a cell")
    parser.add_argument("--curves", type=int, default=1024, help="a cell of up to 64 checkpoints; fewer beyond")
    parser.add_argument("--scale", nargs="+", choices=("log", "linear"), default=["log"])
    parser.add_argument("--scipy", type=int, default=0, help="curves a cell that SciPy fits from 9 starts")
    options = parser.parse_args(argv)
    if options.quick:
        options.curves = 64
    results = []
    for row in quality_rows(options.scale):
        # The search costs in proportion to the checkpoints; fewer long curves keep the run short.
        num_curves = max(options.curves * 64 // max(row[0].checkpoints, 64), 16)
        # All noise levels at once: the search makes its templates and the engine compiles once a row.
        problem = join([cell.problem(num_curves) for cell in row])
        results += [_entry(judged, options.scipy) for judged in judge(row, problem, oracle.best_known(problem))]
    print(table(results))
    result = {"benchmark": "quality", "environment": record.environment(), "cells": results}
    total, good = (sum(cell[key] for cell in results) for key in ("curves", "solved"))
    print(f"\nAll: {good:,} of {total:,} solved, {100 * good / total:.3f}% (asked: {100 * SOLVED_FRACTION}%)")
    if options.scipy:
        num, against, by = (
            sum(cell[key] for cell in results) for key in ("scipy_curves", "solved_against_scipy", "scipy_solved")
        )
        print(f"Of {num:,} curves fitted by SciPy from 9 starts: tsl_jax solves {against:,} by SciPy's rss;")
        print(f"SciPy itself solves {by:,} by the best known rss.")
    return record.finish(result, options.out)


def table(cells: list[dict]) -> str:
    """A row for checkpoints and scale, noise across."""
    header = ["checkpoints", *(f"noise {noise:g}" for noise in NOISE_LEVELS)]
    rows: dict[str, list[str]] = {}
    for cell in cells:
        label = f"{cell['checkpoints']} {cell['spacing']}, {cell['scale']} scale"
        rows.setdefault(label, [label]).append(f"{100 * cell['solved'] / cell['curves']:.2f}%")
    return record.table(header, list(rows.values()))
