"""`measure_speed`: it measures what it says, of whole stores and of the user's own, and leaves nothing behind."""

import dataclasses

import pytest
from small_job import Job
from zarr.storage import MemoryStore

import tsl_jax.jobs.fit.speed as speed
from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import FitOptions, chosen_kernel
from tsl_jax.jobs import measure_speed
from tsl_jax.store import StoreError

pytestmark = pytest.mark.usefixtures("cheap_engine")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(speed, "copy_bandwidth", lambda device, seconds: 1e9)
    monkeypatch.setattr(speed, "_BLOCK_TOKENS", {"cpu": 256})


@pytest.mark.usefixtures("quick")
def test_planted_sigmoids_in_a_folder_that_goes_away(tmp_path):
    found = measure_speed(checkpoints=12, seconds=0.01, tokens=2000, folder=tmp_path)
    assert (found.tokens, found.checkpoints, found.dtype, found.block_tokens) == (2000, 12, "float16", 256)
    assert found.settled == 1
    assert found.kernel_name == chosen_kernel(Sigmoid(), FitOptions(), "float32")
    assert found.read_bytes == pytest.approx(found.read * 12 * 2)
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        assert not isinstance(value, float) or value > 0, field.name
    said = found.as_dict()
    assert said["limited_by"] in ("read", "decode", "transfer", "fit", "write")
    assert said["stages"]["fit"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_of_a_users_own_store_only_some_blocks_are_fitted_and_nothing_is_written(tmp_path, tree, monkeypatch):
    job = Job(tmp_path / "losses.zarr", 5000)
    job.write()
    before, fitted = tree(job.source), []
    stream = speed.stream_blocks
    monkeypatch.setattr(speed, "stream_blocks", lambda *a, **k: fitted.extend(a[3]) or stream(*a, **k))
    monkeypatch.setattr(speed, "_kernel", lambda *_: (1000.0, 1.0))  # at which a second has few blocks
    found = measure_speed(job.source, axis="tokens_seen", seconds=1.0, folder=tmp_path)
    assert found.tokens == 5000
    assert [block.index for block in fitted] == list(range(round(1000 / found.block_tokens)))
    assert tree(job.source) == before
    assert [path.name for path in tmp_path.iterdir()] == ["losses.zarr"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": float("nan")}, "seconds: got nan"),
        ({"checkpoints": 4}, "checkpoints: got 4, expected at least 5"),
        ({"kernel": "cuda"}, "kernel: got 'cuda', expected 'auto', 'native' or 'xla'"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        measure_speed(**arguments)


def test_a_store_that_is_none():
    with pytest.raises(StoreError, match="no Zarr group"):
        measure_speed(MemoryStore())
