"""The table of problems: checkpoints, precision of the input, noise, and families."""

from typing import Any

import numpy as np

from .. import record
from . import measure, problems
from .problems import Problem

#: Noise as a share of the drop: what an easy, a mixed and a hard set of sigmoids has.
EASY, MIXED, HARD = (0.01, 0.1), (0.01, 1.0), (0.3, 1.0)
#: Absolute noise of the smooth families, nat: that of a mean over many tokens, and of few.
LOW, HIGH = 0.01, 0.1
#: Name: family, checkpoints, noise, dtype of the input.
TABLE: dict[str, tuple[str, int, Any, str]] = {
    "sigmoids, 64": ("sigmoid", 64, MIXED, "float32"),
    "sigmoids, 64, easy": ("sigmoid", 64, EASY, "float32"),
    "sigmoids, 64, hard": ("sigmoid", 64, HARD, "float32"),
    "sigmoids, 64, float16": ("sigmoid", 64, MIXED, "float16"),
    "sigmoids, 128": ("sigmoid", 128, MIXED, "float32"),
    "sigmoids, 512": ("sigmoid", 512, MIXED, "float32"),
    "hyperbolas, 128": ("hyperbola", 128, LOW, "float32"),
    "hyperbolas, 128, hard": ("hyperbola", 128, HIGH, "float32"),
    "power laws, 64": ("power_law", 64, LOW, "float32"),
    "power laws, 64, hard": ("power_law", 64, HIGH, "float32"),
}


#: For a quick look: one of each family.
FEW = ["sigmoids, 64", "hyperbolas, 128", "power laws, 64"]


def problem_of(name: str, seed: int, num_curves: int) -> Problem:
    """A row of the table as curves."""
    family, num_checkpoints, noise, dtype = TABLE[name]
    if family == "sigmoid":
        return problems.sigmoids(seed, num_curves, num_checkpoints, noise=noise, dtype=np.dtype(dtype))
    make = problems.hyperbolas if family == "hyperbola" else problems.power_laws
    return make(seed, num_curves, num_checkpoints, noise, np.dtype(dtype))


def run(
    names: list[str],
    methods: list[str],
    sizes: dict[str, int],
    *,
    judged: int,
    repeats: int,
    seed: int,
    counted: bool = True,
) -> list[dict]:
    """Every method on every problem in this process, problem after problem, the methods in turns.

    Args:
        names: rows of `TABLE`.
        methods: names in `benchmarks.peers.METHODS`.
        sizes: curves for each method at 64 checkpoints; more checkpoints get as many fewer.
        judged: curves compared with the best known, likewise.
        repeats: rounds that are timed.
        seed: of the curves.
        counted: whether to count operations.
    """
    results = []
    for name in names:
        family, num_checkpoints, noise, dtype = TABLE[name]
        share = min(1.0, 64 / num_checkpoints)
        problem = problem_of(name, seed, int(share * max(sizes.values())))
        parts = {method: problem[: max(1, int(share * sizes[method]))] for method in methods}
        found = measure.measure(parts, repeats, counted=counted)
        measure.judge(problem, found, max(1, int(share * judged)))
        results.append(
            {
                "problem": {
                    "name": name,
                    "family": family,
                    "checkpoints": num_checkpoints,
                    "noise": noise,
                    "dtype": dtype,
                    "seed": seed,
                },
                "methods": found,
            }
        )
        print(f"done: {name}", flush=True)
    return results


def table(results: list[dict]) -> str:
    """One row a problem: rate of `tsl_jax`, and of each method its solved fraction and by how much it is slower."""
    methods = list(results[0]["methods"])
    rows = []
    for result in results:
        ours = result["methods"].get("tsl_jax")
        row = [result["problem"]["name"]]
        for method in methods:
            entry = result["methods"][method]
            if "lacking" in entry:
                row.append("lacking")
                continue
            rate = f"{entry['fits_per_second']:,.0f}"
            if ours and method != "tsl_jax":
                rate += f" (1/{ours['fits_per_second'] / entry['fits_per_second']:,.1f})"
            row.append(f"{rate}, {100 * entry['solved']:.2f}%")
        rows.append(row)
    return record.table(["fits/s (share of tsl_jax's), solved", *methods], rows)
