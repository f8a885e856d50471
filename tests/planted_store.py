"""Fit stores written by hand: any number of tokens with any fits, without running the engine."""

import dataclasses

import numpy as np

from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import EVENT_CATEGORIES, Category, FitOptions, Status
from tsl_jax.store import (
    PROBABILITY_ARRAYS,
    BlockState,
    FitHeader,
    FitWriter,
    InputDigest,
    Layout,
    create_losses,
    locate,
    open_fits,
    open_losses,
    resume_or_create,
    writer_lock,
)

STEP = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128, 256])


def planted_columns(tokens, seed=0, **replaced):
    """Arrays of a fit store: mostly events inside the window, of all categories, both signs of the drop."""
    rng = np.random.default_rng(seed)
    choices = [Category.LEARNED, Category.EARLY, Category.LATE, Category.UNLEARNED]
    category = rng.choice(choices, tokens, p=[0.85, 0.05, 0.05, 0.05]).astype("uint8")
    time = np.exp(rng.triangular(0, np.log(60), np.log(256), tokens))
    time = np.select([category == Category.EARLY, category == Category.LATE], [0.4, 500.0], time)
    columns = {
        "learning_time": time,
        "sharpness": np.exp(rng.normal(0.7, 0.6, tokens)),
        "loss_drop": rng.uniform(2, 6, tokens) * rng.choice([1, -0.3], tokens, p=[0.9, 0.1]),
        "final_loss": rng.uniform(2, 4, tokens),
        "constant": rng.uniform(3, 6, tokens),
        "status": np.full(tokens, Status.CONVERGED, "uint8"),
        "category": category,
    }
    columns |= {name: np.full(tokens, value) for name, value in replaced.items()}
    return {name: values if values.dtype == np.uint8 else values.astype("float32") for name, values in columns.items()}


def planted_probabilities(category):
    """Stored probabilities that are sure of each token's category, and of one event alone."""
    sure = {PROBABILITY_ARRAYS[name]: np.where(category == code, 254, 0) for code, name in enumerate(EVENT_CATEGORIES)}
    sure["second_event"] = np.zeros(len(category))
    return {name: np.where(category == Category.NONE, 255, column).astype("uint8") for name, column in sure.items()}


def planted_losses(columns, step=STEP, noise=0.05):
    """(tokens, checkpoints) losses of those fits, with noise."""
    with np.errstate(divide="ignore"):
        z = columns["sharpness"][:, None] * (np.log(np.maximum(step, 1e-9)) - np.log(columns["learning_time"][:, None]))
    curve = columns["final_loss"][:, None] + columns["loss_drop"][:, None] / (1 + np.exp(np.clip(z, -60, 60)))
    constant = (columns["category"] == Category.UNLEARNED)[:, None]
    curve = np.where(constant, columns["constant"][:, None], curve)
    return curve + np.random.default_rng(9).normal(0, noise, curve.shape)


def write_fit_store(
    folder, columns, *, coordinates=None, attributes=None, losses=None, finished=True, chunk=50, **more
):
    """Write ``losses.zarr`` and ``fits.zarr`` into a folder; without ``finished`` only the first of the blocks."""
    number = len(columns["status"])
    coordinates = coordinates or {}
    if losses is None:
        losses = planted_losses(columns)
    create_losses(
        folder / "losses.zarr",
        losses.astype("float16"),
        checkpoints={"step": STEP},
        tokens=coordinates,
        attributes=attributes or {},
        chunk_tokens=chunk,
    )
    names = more.get("parameters", Sigmoid().names)
    rest = {f"{name}_stderr": np.zeros(number, "float32") for name in names}
    rest |= {name: np.zeros(number, "float32") for name in ("rss", "r2")}
    rest["num_points"] = np.full(number, len(STEP) - 1, "int32")
    rest |= {"noise_correlation": np.full(number, 0.3, "float16"), "effective_points": np.full(number, 5, "float16")}
    rest |= planted_probabilities(columns["category"]) if more.get("event", True) else {}
    columns = rest | columns | coordinates
    return write_blocks(folder, columns, Layout(chunk, 2 * chunk, 2 * chunk), number if finished else 2 * chunk, **more)


def write_blocks(folder, columns, layout, stop, **header):
    """``fits.zarr`` beside ``losses.zarr``: all blocks that begin before a token; ``header``: what is not as usual."""
    header = {
        "family": "sigmoid",
        "family_fields": {"scale": "log"},
        "parameters": {parameter.name: parameter.unit for parameter in Sigmoid.parameters},
        "scale": "log",
        "axis": "step",
        "options": dataclasses.asdict(FitOptions()),
        "dtype": "float32",
        "package_version": "0.1.0",
        "event": "learning_time",
        "left_out_checkpoints": (0,),
    } | header
    location = locate(folder / "fits.zarr", writable=True)
    with writer_lock(location):
        writer = FitWriter(resume_or_create(location, open_losses(folder / "losses.zarr"), FitHeader(**header), layout))
        starts = range(0, min(len(columns["status"]), stop), layout.block_tokens)
        for block, start in enumerate(starts):
            part = {name: column[start : start + layout.block_tokens] for name, column in columns.items()}
            writer.write(block, part)
            drop = part.get("loss_drop", np.zeros(len(part["status"])))
            rising = {"learned_rising": int(np.sum((part["category"] == Category.LEARNED) & (drop < 0)))}
            writer.finish(block, BlockState.FINISHED, InputDigest(0, 0), part["status"], part["category"], noted=rising)
    return open_fits(folder / "fits.zarr")
