"""Runs of the same tokens with known truth: what differs between runs, and what their standard errors say."""

import numpy as np

from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import Category, Status
from tsl_jax.runs import CompareRuns, RunBlock, RunTokens, coordinates_of, plan_comparison

WINDOW = (1.0, 1000.0)
COORDINATES = coordinates_of({parameter.name: parameter.unit for parameter in Sigmoid.parameters}, "log")


def planted_runs(
    tokens, runs=2, *, additive=0.0, factor=1.0, draw=None, seed=0, rising=0.1, errors=(0.02, 0.5), slope=0.0
):
    """(fits of each run, true coordinates by name): errors s are spread over ``errors``, alike in all parameters.

    A run's parameter is ``truth + sqrt(factor·s² + additive)·noise`` in its coordinate; ``draw(rng, shape)`` is the
    noise, standard normal by default. Its variance grows e-fold with ``1 / slope`` e-folds of the true learning time.
    """
    rng = np.random.default_rng(seed)
    draw = draw or (lambda rng, shape: rng.normal(size=shape))
    truth = {
        "learning_time": rng.normal(np.log(50), 0.8, tokens),
        "sharpness": rng.normal(0.7, 0.5, tokens),
        "loss_drop": rng.uniform(20, 26, tokens) * np.where(rng.random(tokens) < rising, -1, 1),  # signs stay
        "final_loss": rng.uniform(2, 6, tokens),
    }
    by_time = np.exp(slope * (truth["learning_time"] - np.log(50)) / 2)
    found = []
    for _ in range(runs):
        params, stderr = {}, {}
        for name, value in truth.items():
            error = np.exp(rng.uniform(*np.log(errors), tokens))
            y = value + by_time * np.sqrt(factor * error**2 + additive) * draw(rng, tokens)
            params[name], stderr[name] = COORDINATES[name].value(y, error)
        category = np.full(tokens, Category.LEARNED, "uint8")
        found.append(RunTokens(params, stderr, np.full(tokens, Status.CONVERGED, "uint8"), category))
    return found, truth


def part(fits, rows):
    """Some tokens of a run."""
    columns = ({name: values[rows] for name, values in each.items()} for each in (fits.params, fits.stderr))
    return RunTokens(*columns, fits.status[rows], fits.category[rows])


def groups(tokens):
    """Sequences of 4 tokens dealt out to the groups from which errors of components come."""
    return np.arange(tokens) // 4 % 8


def compare_tokens(fits, components=None, coordinates=COORDINATES, event="learning_time", window=WINDOW):
    """The comparison of runs in memory."""
    plan = plan_comparison(fits, coordinates, event, window)
    job = CompareRuns(plan, tuple(f"run {k}" for k in range(len(fits))), components)
    return job.finish(job.add(job.start(), RunBlock(fits, groups(len(fits[0].status)))))
