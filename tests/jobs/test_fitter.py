"""How blocks reach the devices."""

import jax
import numpy as np
import pytest

from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import FitOptions
from tsl_jax.jobs.fit import fitter as device
from tsl_jax.jobs.fit.fitter import BlockFitter

ROWS, AXIS = 512, np.geomspace(1, 100, 8)


@pytest.fixture
def fitter(monkeypatch):
    monkeypatch.setattr(device, "_compile", lambda *_: [])  # nothing is fitted here
    made = BlockFitter(Sigmoid(), AXIS, np.float16, FitOptions(), jax.local_devices()[:1])
    made.compile(ROWS, 10 * ROWS)
    return made


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("tokens", [1, ROWS - 1, ROWS])
@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_losses_arrive_whole_wherever_they_lie_in_memory(fitter, dtype, tokens, start):
    losses = np.random.default_rng(0).random((ROWS + 4, len(AXIS)), np.float32).astype(dtype)[start : start + tokens]
    placed = np.asarray(fitter.put(losses))
    assert placed.dtype == np.float16
    assert placed.shape == (ROWS, len(AXIS))
    np.testing.assert_array_equal(placed[:tokens], losses.astype(np.float16))
    assert np.isnan(placed[tokens:]).all()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other devices have memory of their own")
def test_a_cpu_takes_aligned_losses_where_they_lie(fitter):
    losses = fitter.room()
    losses[:] = 2.5
    [shard] = fitter.put(losses).addressable_shards
    assert shard.data.unsafe_buffer_pointer() == losses.ctypes.data
