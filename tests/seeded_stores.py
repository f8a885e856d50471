"""Fit stores of planted runs of the same tokens."""

import numpy as np

from tests.planted_store import STEP, write_fit_store
from tests.seeded_runs import planted_runs
from tsl_jax.fitting import Category, Status

TOKENS = 1200


def seeded_columns(tokens=TOKENS, runs=2, *, seed=40, **planted):
    """Arrays of a fit store of each run: events inside the window but for a few, tokens without a fit."""
    fits, _ = planted_runs(tokens, runs, seed=seed, **planted)
    rng = np.random.default_rng(seed + 1)
    columns = []
    for run in fits:
        category = rng.choice([Category.LEARNED, Category.UNLEARNED, Category.NONE], tokens, p=[0.94, 0.04, 0.02])
        values = {name: values.astype("float32") for name, values in run.params.items()}
        values |= {f"{name}_stderr": error.astype("float32") for name, error in run.stderr.items()}
        values |= {name: rng.uniform(0.1, 0.9, tokens).astype("float32") for name in ("rss", "r2", "constant")}
        values["status"] = np.where(category == Category.NONE, Status.FLAT, Status.CONVERGED).astype("uint8")
        values["category"] = category.astype("uint8")
        columns.append(values)
    return columns


def token_coordinates(tokens=TOKENS):
    """Sequences of 12 tokens that lie one after the other."""
    number = np.arange(tokens)
    return {"sequence": (number // 12).astype("int32"), "token_id": (number * 7 % 50).astype("int16")}


def write_runs(folder, columns=None, coordinates=None, **more):
    """Write the fits of each run into a folder of its own; their paths."""
    columns = seeded_columns() if columns is None else columns
    coordinates = token_coordinates(len(columns[0]["status"])) if coordinates is None else coordinates
    paths = []
    for k, values in enumerate(columns):
        place = folder / f"run{k}"
        place.mkdir(parents=True)
        losses = np.ones((len(values["status"]), len(STEP)))
        write_fit_store(place, values, coordinates=coordinates, losses=losses, chunk=200, **more)
        paths.append(place / "fits.zarr")
    return paths
