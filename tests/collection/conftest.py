"""Batches and checkpoints of a tiny model, and a disk that dies at a chosen write."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_model import VOCABULARY, plain_loss
from zarr.storage import LocalStore


@pytest.fixture
def model():
    """Three batches of text, the last row padded; four checkpoints; and the losses by a plain loop."""
    rng = np.random.default_rng(3)
    text = rng.integers(0, VOCABULARY, (5, 9))
    mask = np.ones((5, 8), bool)
    mask[4, 5:] = False
    mask[1, 0] = False
    batches = [
        {
            "before": text[rows, :-1],
            "token_id": text[rows, 1:],
            "mask": mask[rows],
            "domain": np.array([0, 1, 1, 0, 2])[rows],
        }
        for rows in (slice(0, 2), slice(2, 4), slice(4, 5))
    ]
    table = rng.normal(size=(VOCABULARY, VOCABULARY)).astype("float32")
    checkpoints = [(step, {"table": table, "scale": np.float32(step / 100)}) for step in (0, 100, 200, 400)]
    places = [(row, place) for row in range(5) for place in range(8) if mask[row, place]]
    expected = np.array(
        [[plain_loss(params, text[r, p], text[r, p + 1]) for _, params in checkpoints] for r, p in places]
    )
    return SimpleNamespace(batches=batches, checkpoints=checkpoints, expected=expected, places=places, text=text)


@pytest.fixture
def tree():
    """Every file of a store with its bytes."""

    def tree(path):
        return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}

    return tree


class Killed(Exception):
    pass


@pytest.fixture
def kill_at(monkeypatch):
    """Makes the k-th write or deletion under ``root``, and all after it, fail as if the process were gone."""
    real = {name: getattr(LocalStore, name) for name in ("set", "delete_dir", "delete")}

    def arm(root: Path, k: int):
        count = 0

        def replaced(name):
            async def act(self, *arguments):
                nonlocal count
                if root in [self.root, *self.root.parents]:
                    count += 1
                    if count >= k > 0:
                        raise Killed
                await real[name](self, *arguments)

            return act

        for name in real:
            monkeypatch.setattr(LocalStore, name, replaced(name))
        return lambda: count

    arm.error = Killed
    return arm
