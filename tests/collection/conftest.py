"""Batches and checkpoints of a tiny model."""

from types import SimpleNamespace

import numpy as np
import pytest
from tiny_model import VOCABULARY, plain_loss


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
