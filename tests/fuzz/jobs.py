"""Small jobs that write, and go on where they were: for tests that end them at any moment. Nothing is compiled.

Each takes a folder with what it reads, the place of its output, and a function that is called when a part of the work
is done and recorded.
"""

from pathlib import Path
from unittest import mock

import numpy as np
import zarr

from tests.store.test_fits import fit_all, make_losses
from tsl_jax.collection.job import run
from tsl_jax.plots.style import new_figure, save
from tsl_jax.store import ChangedError, Layout, UnfinishedLosses, import_losses, open_losses, rechunk
from tsl_jax.store.weights import write_weights

TOKENS, STEPS = 30, (1, 2, 4)
ONE_SHARD = {"chunk_tokens": 4, "shard_tokens": 8, "memory": 2 * 8 * len(STEPS) * 4}


def make_input(folder: Path) -> None:
    """What the jobs read."""
    make_losses(folder / "rows.zarr", num_tokens=TOKENS)
    columns = zarr.create_group(folder / "columns.zarr", attributes={"tsl_kind": "losses", "tsl_version": 1})
    losses = np.random.default_rng(2).normal(size=(TOKENS, len(STEPS))).astype("float32")
    columns.create_array("losses", data=losses, chunks=(TOKENS, 1), dimension_names=("token", "checkpoint"))
    columns.create_array("step", data=np.array(STEPS), dimension_names=("checkpoint",))
    domain = np.arange(TOKENS, dtype="int8") % 3
    columns.create_array("domain", data=domain, chunks=(7,), dimension_names=("token",))
    (folder / "checkpoints").mkdir()
    for at, step in enumerate(STEPS):
        np.savez_compressed(folder / f"checkpoints/step{step}.npz", losses=losses[:, at], token_id=np.arange(TOKENS))


def fit(folder, out, told, **options):
    """Fits in three blocks."""
    shape = {"layout": Layout(5, 10, 10), "parameters": {"learning_time": "axis"}}
    fit_all(open_losses(folder / "rows.zarr"), out, told=told, **shape, **options)


def fit_anew(folder, out, told):
    """The same in place of other fits."""
    try:
        fit(folder, out, told)
    except ChangedError:
        fit(folder, out, told, overwrite=True)


def other_fits(folder, out):
    """What `fit_anew` replaces."""
    fit(folder, out, None, options={"max_steps": 1})


def _telling(told):
    """Tells of each block of losses that is recorded."""

    def record(self, done, real=UnfinishedLosses.record):
        real(self, done)
        told()

    return mock.patch.object(UnfinishedLosses, "record", record)


def rewrite(folder, out, told):
    """Columns as rows, in blocks of one shard."""
    with _telling(told):
        rechunk(folder / "columns.zarr", out, **ONE_SHARD)


class _Evaluator:
    """Losses that are a function of the token and the step."""

    def prepare(self, params, tokens):
        return params

    def submit(self, params, tokens):
        return params / (1 + tokens.batch["token_id"])

    def fetch(self, pending):
        return pending, None


def bring_in(folder, out, told):
    """A compressed file of each checkpoint as rows, in blocks of one shard."""
    with _telling(told):
        import_losses(folder / "checkpoints", out, **ONE_SHARD)


def collect(folder, out, told):
    """Two checkpoints of two batches."""
    batches = [{"token_id": np.arange(12).reshape(3, 4) + at} for at in range(2)]
    options = {"coordinates": None, "logits": False, "dtype": "float16", "attributes": None, "overwrite": False}
    checkpoints = [(step, float(step)) for step in STEPS[:2]]
    run(_Evaluator(), checkpoints, batches, out, progress=lambda report: report.resumed or told(), **options)


def weigh(folder, out, told):
    """A file of weights, and one that replaces another."""
    for name, number in (("a.npz", 1), ("b.npz", 1), ("b.npz", 2)):
        write_weights(out / name, {"weight": np.full(1000, number)}, {"window": "1:2"})


def draw(folder, out, told):
    """A picture, and one that replaces another."""
    figure = new_figure(1, 1)
    for name, number in (("a.png", 1), ("b.png", 1), ("b.png", 2)):
        figure.add_axes((0, 0, 1, 1)).plot([0, number])
        save(figure, out / name)


#: What each job does, and what is at its output before.
JOBS = {
    "fit": (fit, None),
    "fit in place of other fits": (fit_anew, other_fits),
    "rechunk": (rewrite, None),
    "import": (bring_in, None),
    "collect": (collect, None),
    "weights": (weigh, None),
    "pictures": (draw, None),
}
