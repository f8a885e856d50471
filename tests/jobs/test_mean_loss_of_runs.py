"""The mean loss of a store, as forecasts and time scales take it."""

import numpy as np
import pytest
from zarr.storage import MemoryStore

import tsl_jax as tsl
from tsl_jax.jobs.runs import RunError, run_of_losses


@pytest.mark.parametrize("tokens", [{}, {"position": np.arange(12) % 4}], ids=["tokens", "positions"])
def test_it_is_the_mean_of_what_was_measured_and_a_checkpoint_without_losses_is_refused(tokens):
    losses = np.random.default_rng(0).normal(4, 1, (12, 10)).astype("float32")
    losses[:5, 3] = np.nan
    steps = {"step": np.arange(1, 11) * 10}
    store = tsl.create_losses(MemoryStore(), losses, checkpoints=steps, tokens=tokens)
    np.testing.assert_allclose(run_of_losses(store).loss, np.nanmean(losses.astype(float), axis=0), rtol=1e-6)
    losses[:, 3] = np.nan
    store = tsl.create_losses(MemoryStore(), losses, checkpoints=steps, tokens=tokens)
    with pytest.raises(RunError, match="checkpoint 3 has no loss"):
        run_of_losses(store)
