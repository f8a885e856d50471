"""``python -m tests.emulated_gpu``: instructions of PTX that each kernel for GPUs executes for a fit."""

import argparse
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.fitting.problems import sigmoids
from tsl_jax import FitOptions, Sigmoid, fit
from tsl_jax.fitting import native

from . import MEASURE, SOLVE, load

KERNELS = ("make_templates", "search_even", "search_uneven", "fit_curves", "measure_curves")


def main() -> None:
    """Fit noisy sigmoids, without gaps and with some, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=64)
    parser.add_argument("--curves", type=int, default=2048)  # powers of two are not padded
    options = parser.parse_args()
    counters = load(counted=True)
    problem = sigmoids(0, options.curves, options.checkpoints)
    gaps = np.random.default_rng(0).random(problem.losses.shape) < 0.1
    print(
        f"{options.curves:,} sigmoids of {options.checkpoints} checkpoints: instructions a fit (make_templates: in all)"
    )
    with mock.patch.dict(native.TARGETS, native=(SOLVE, MEASURE)):
        for name, losses in (("no gaps", problem.losses), ("gaps of a tenth", np.where(gaps, np.nan, problem.losses))):
            for counter in counters.values():
                counter.value = 0
            found = fit(Sigmoid(), jnp.asarray(problem.time), losses, options=FitOptions(kernel="native"))
            jax.block_until_ready(found)
            counts = {k: sum(counter.value for name, counter in counters.items() if k in name) for k in KERNELS}
            each = {k: round(n / (1 if k == "make_templates" else options.curves)) for k, n in counts.items()}
            print(f"{name}: " + ", ".join(f"{kernel} {number:,}" for kernel, number in each.items()))


if __name__ == "__main__":
    main()
