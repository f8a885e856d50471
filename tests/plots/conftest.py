"""A small pair of stores whose fits are written by hand, so that every drawn number is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.planted_store import planted_probabilities, write_blocks
from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import Category, Status, predict
from tsl_jax.store import Layout, create_losses, open_losses

STEP = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128])
TOKENS, BLOCK = 230, 100
NAMES = ["verse", "prose", "code"]


def planted_fits(seed=3):
    """Every array of a fit store: all categories, both signs of the drop, tokens without a fit."""
    rng = np.random.default_rng(seed)
    category = rng.choice(
        [Category.UNLEARNED, Category.LEARNED, Category.EARLY, Category.LATE], TOKENS, p=[0.1, 0.7, 0.1, 0.1]
    ).astype("uint8")
    status = rng.choice([Status.CONVERGED, Status.AT_BOUND, Status.MAX_STEPS], TOKENS).astype("uint8")
    time = np.exp(rng.uniform(0, np.log(128), TOKENS))
    time[category == Category.EARLY] = 0.3
    time[category == Category.LATE] = 400
    values = {
        "learning_time": time,
        "sharpness": rng.uniform(0.5, 4, TOKENS),
        "loss_drop": rng.uniform(2, 6, TOKENS) * rng.choice([1, -0.3], TOKENS, p=[0.8, 0.2]),
        "final_loss": rng.uniform(2, 4, TOKENS),
        "constant": rng.uniform(3, 6, TOKENS),
        "rss": rng.uniform(0.1, 1, TOKENS),
        "r2": rng.uniform(0, 1, TOKENS),
    }
    values |= {f"{name}_stderr": 0.1 * np.abs(values[name]) for name in Sigmoid().names}
    values["learning_time_stderr"][status == Status.AT_BOUND] = np.nan
    status[:5], category[:5] = Status.NON_FINITE, Category.NONE
    for column in values.values():
        column[:5] = np.nan
    values = {name: column.astype("float32") for name, column in values.items()}
    values |= {"noise_correlation": np.full(TOKENS, 0.3, "float16"), "effective_points": np.full(TOKENS, 5, "float16")}
    values |= {"num_points": np.full(TOKENS, 8, "int32"), "status": status, "category": category}
    return values | planted_probabilities(category)


def write_stores(folder, *, finished=True, domains=True, **header):
    """A loss store and its fits; without ``finished`` the last block is pending."""
    fits, coordinates = planted_fits(), {}
    position = np.arange(TOKENS, dtype="int32")
    if domains:
        coordinates = {
            "domain": (position % 3).astype("int8"),
            "position": position % 16,
            "token_id": position * 7,
        }
    params = {name: fits[name] for name in Sigmoid().names}
    curves = predict(Sigmoid(), STEP.astype("float32"), params, fits["status"], fits["category"], fits["constant"])
    noise = np.random.default_rng(4).normal(0, 0.1, (TOKENS, len(STEP)))
    values = np.nan_to_num(np.asarray(curves), nan=9.0) + noise
    values[20:40, 3] = np.nan
    create_losses(
        folder / "losses.zarr",
        values.astype("float16"),
        checkpoints={"step": STEP},
        tokens=coordinates,
        attributes={"domains": NAMES} if domains else {},
        chunk_tokens=50,
    )
    stop = TOKENS if finished else 2 * BLOCK
    found = write_blocks(folder, fits | coordinates, Layout(50, BLOCK, BLOCK), stop, **header)
    return SimpleNamespace(
        losses=open_losses(folder / "losses.zarr"),
        fits=found,
        planted=SimpleNamespace(**fits, domain=position % 3),
        curves=np.asarray(curves, float),
    )


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    return write_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture
def write():
    return write_stores
