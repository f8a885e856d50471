"""Planted losses: against SciPy, in any blocks, on disk."""

import dataclasses

import numpy as np
import pytest
import zarr
from scipy import stats
from scipy.special import expit

from tests.tolerances import FORMULA
from tsl_jax.jobs import planted_tokens, simulate_store
from tsl_jax.simulate import PlantedEvolution, PlantedLaw, position_curves, trajectories, trajectory_blocks
from tsl_jax.store import StoreError, create_losses, open_losses, validate

TIME = np.geomspace(10.0, 1e4, 12)
EXACT = PlantedLaw(noise=(0.0, 0.0))
NOISY = PlantedLaw(noise=(0.05, 0.05), missing=0.2)


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_losses_without_noise_are_the_sigmoids_of_their_truth(scale):
    made = trajectories(TIME, 300, dataclasses.replace(EXACT, scale=scale), seed=1)
    truth = {name: np.asarray(value, np.float64)[:, None] for name, value in made.params.items()}
    u = np.log if scale == "log" else np.asarray
    z = truth["sharpness"] * (u(TIME) - u(truth["learning_time"]))
    expected = truth["final_loss"] + truth["loss_drop"] * expit(-z)
    # On the linear scale u is known to one part in 10^7 of the window, which a sharp sigmoid multiplies by 100.
    np.testing.assert_allclose(made.losses, expected, atol=FORMULA.float32 * 8 * (1 if scale == "log" else 10))
    assert np.all(np.asarray(made.noise) == 0)


def test_the_truth_is_spread_as_the_law_says():
    law = PlantedLaw(rising=0.3)
    params = trajectories(TIME[[0, -1]], 4000, law, seed=2).params
    window = np.log(TIME[-1] / TIME[0])
    place = np.log(np.asarray(params["learning_time"]) / TIME[0]) / window
    drop = np.asarray(params["loss_drop"])
    lower = np.asarray(params["final_loss"]) + np.minimum(drop, 0)
    for values, (low, high) in [
        (place, law.event),
        (np.log(params["sharpness"] * window), np.log(law.sharpness)),
        (np.log(abs(drop)), np.log(law.drop)),
        (lower, law.lower),
    ]:
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    assert stats.binomtest(int(np.sum(drop < 0)), 4000, 0.3).pvalue > 1e-3
    # Independent of one another, tokens and parameters alike.
    table = np.corrcoef([place, np.log(params["sharpness"]), drop, lower, np.roll(place, 1)])
    assert np.abs(table - np.eye(5)).max() < 0.08


def test_noise_and_gaps_are_as_planted():
    exact, made = trajectories(TIME, 2000, EXACT, seed=3), trajectories(TIME, 2000, NOISY, seed=3)
    np.testing.assert_array_equal(exact.params["loss_drop"], made.params["loss_drop"])
    np.testing.assert_allclose(made.noise, 0.05 * np.abs(made.params["loss_drop"]), rtol=1e-5)
    missing = np.isnan(made.losses)
    assert stats.binomtest(int(missing.sum()), missing.size, 0.2).pvalue > 1e-3
    z = ((made.losses - exact.losses) / made.noise[:, None])[~missing]
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert np.all(np.isfinite(exact.losses))


def test_a_token_is_the_same_in_every_block_and_other_with_every_seed():
    whole = trajectories(TIME, 50, NOISY, seed=4)
    for block in (7, 50):
        for rows, made in trajectory_blocks(TIME, 50, NOISY, seed=4, block=block):
            np.testing.assert_array_equal(made.losses, whole.losses[rows])
            np.testing.assert_array_equal(made.params["sharpness"], whole.params["sharpness"][rows])
    assert not np.any(whole.noise == trajectories(TIME, 50, NOISY, seed=5).noise)
    # Where the low bits of a token's number overflow, and far beyond 32 bits.
    for first in (2**20 - 3, 2**40 + 2**20 - 3):
        edge = trajectories(TIME, 7, NOISY, seed=4, first=first)
        for k in (0, 2, 3, 6):
            alone = trajectories(TIME, 7, NOISY, seed=4, first=first + k)
            assert float(alone.noise[0]) == float(edge.noise[k])
        assert len(np.unique(edge.noise)) == 7
        assert not set(np.asarray(edge.noise).tolist()) & set(np.asarray(whole.noise).tolist())


def test_a_store_holds_the_same_tokens_and_knows_its_truth(tmp_path):
    told = []
    law = dataclasses.replace(NOISY, scale="linear")
    simulate_store(tmp_path / "l.zarr", TIME, 1000, law, seed=6, progress=lambda *so_far: told.append(so_far))
    assert validate(tmp_path / "l.zarr") == []
    store = open_losses(tmp_path / "l.zarr")
    whole = trajectories(TIME, 1000, law, seed=6)
    np.testing.assert_array_equal(store.read(), np.asarray(whole.losses).astype("float16"))
    np.testing.assert_array_equal(store.axis(), TIME)
    again = planted_tokens(store, slice(990, None))
    np.testing.assert_array_equal(again.params["learning_time"], whole.params["learning_time"][990:])
    assert told[-1] == (1000, 1000)
    with pytest.raises(StoreError, match="overwrite=True"):
        simulate_store(tmp_path / "l.zarr", TIME, 10)
    with pytest.raises(ValueError, match="at least one"):
        planted_tokens(store, slice(5, 5))


def test_a_store_is_written_in_blocks_of_whole_shards(monkeypatch):
    monkeypatch.setattr("tsl_jax.jobs.simulate._BLOCK_BYTES", 1)
    monkeypatch.setattr("tsl_jax.store.loss_creation._SHARD_BYTES", 2400)
    monkeypatch.setattr("tsl_jax.store.loss_creation._CHUNK_BYTES", 1200)
    told = []
    store = simulate_store(zarr.storage.MemoryStore(), TIME, 250, seed=6, progress=lambda *s: told.append(s[0]))
    assert told == [100, 200, 250]
    expected = trajectories(TIME, 250, seed=6).losses
    np.testing.assert_array_equal(store.read(), np.asarray(expected).astype("float16"))


def test_a_run_that_ends_early_leaves_no_loss_store_but_one_that_can_be_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("tsl_jax.jobs.simulate._BLOCK_BYTES", 1)
    monkeypatch.setattr("tsl_jax.store.loss_creation._SHARD_BYTES", 2400)
    monkeypatch.setattr("tsl_jax.store.loss_creation._CHUNK_BYTES", 1200)

    class Gone(BaseException):
        pass

    def end(*_):
        raise Gone

    with pytest.raises(Gone):
        simulate_store(tmp_path / "l.zarr", TIME, 250, seed=6, progress=end)
    with pytest.raises(StoreError, match="unfinished losses"):
        open_losses(tmp_path / "l.zarr")
    with pytest.raises(StoreError, match="overwrite=True"):
        simulate_store(tmp_path / "l.zarr", TIME, 250, seed=6)
    simulate_store(tmp_path / "l.zarr", TIME, 250, seed=6, overwrite=True)
    assert validate(tmp_path / "l.zarr") == []
    whole = trajectories(TIME, 250, seed=6).losses
    np.testing.assert_array_equal(open_losses(tmp_path / "l.zarr").read(), np.asarray(whole).astype("float16"))
    assert list(zarr.open_group(tmp_path / "l.zarr", mode="r", use_consolidated=True).array_keys())


def test_a_store_from_elsewhere_has_no_known_truth():
    store = create_losses(zarr.storage.MemoryStore(), np.ones((3, 2), "float16"), checkpoints={"step": [1, 2]})
    with pytest.raises(StoreError, match="simulate_store"):
        planted_tokens(store, slice(None))


def test_position_curves_are_hyperbolas_with_the_planted_evolution():
    step, evolution = np.array([10.0, 100.0, 700.0, 5000.0]), PlantedEvolution(amplitude=3.0, rate=0.1)
    made = position_curves(step, 9, evolution)
    amplitude, rate, floor = (np.asarray(made.params[name])[:, None] for name in ("amplitude", "rate", "floor"))
    np.testing.assert_allclose(made.losses[0], amplitude / (1 + rate * np.arange(1, 10)) + floor, rtol=1e-6)
    np.testing.assert_allclose(made.params["floor"], 2 + 6 * step**-0.3, rtol=1e-6)
    np.testing.assert_allclose(made.params["amplitude"], [3 + 0.3 * np.log(70), 3 + 0.3 * np.log(7), 3, 3], rtol=1e-6)
    # Past the separation point the loss falls equally at all positions.
    fall = made.losses[0, 2] - made.losses[0, 3]
    np.testing.assert_allclose(fall, fall[0], rtol=1e-5)
    noisy = position_curves(step, 9, evolution, noise=0.1, seeds=200, seed=1)
    z = np.ravel(noisy.losses - made.losses) / 0.1
    assert stats.kstest(z, "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": "sqrt"}, "scale: got 'sqrt', expected 'log' or 'linear'"),
        ({"event": (1.0, 0.0)}, "event: got 1 to 0, expected the lower end first"),
        ({"event": 0.5}, "event: got 0.5, expected a range"),
        ({"sharpness": (0.0, 1.0)}, "sharpness: got 0.0, expected a number above 0"),
        ({"drop": (-1.0, 1.0)}, "drop: got -1.0, expected a number above 0"),
        ({"drop": (1.0, np.nan)}, "drop: got nan"),
        ({"noise": (-0.1, 0.1)}, "noise: got -0.1, expected a number 0 or above"),
        ({"noise": (0.0, 0.1)}, r"noise: got 0 to 0.1, expected \(0, 0\) for none"),
        ({"rising": 1.5}, "rising: got 1.5, expected a number 0 or above and at most 1"),
        ({"missing": -0.1}, "missing: got -0.1"),
        ({"lower": (-1.0, 1.0)}, "lower: got -1.0"),
    ],
)
def test_a_law_that_is_none_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlantedLaw(**arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trajectories([1, 1], 3), "time: expected finite, strictly increasing values"),
        (lambda: trajectories([1], 3), "time: got shape .1,. of int64, expected a vector of at least 2"),
        (lambda: trajectories([0, 1], 3), "time: starts at 0, expected above 0"),
        (lambda: trajectories(["a", "b"], 3), "time: got shape"),
        (lambda: trajectories(TIME, 0), "tokens: got 0, expected a whole number, 1 to"),
        (lambda: trajectories(TIME, 2.5), "tokens: got 2.5"),
        (lambda: trajectories(TIME, 3, first=-1), "first: got -1"),
        (lambda: trajectories(TIME, 3, seed=-1), "seed: got -1"),
        (lambda: trajectory_blocks(TIME, 3, block=0), "block: got 0"),
        (lambda: position_curves([0, 1], 3), "step: starts at 0, expected above 0"),
        (lambda: position_curves([1, 2], 0), "positions: got 0"),
        (lambda: position_curves([1, 2], 3, noise=-1.0), "noise: got -1.0, expected a number 0 or above"),
        (lambda: position_curves([1, 2], 3, seeds=0), "seeds: got 0"),
        (lambda: PlantedEvolution(separation=0.0), "separation: got 0.0, expected a number above 0"),
        (lambda: PlantedEvolution(fall=-1.0), "fall: got -1.0"),
        (lambda: simulate_store(zarr.storage.MemoryStore(), [2, 1], 3), "time: expected finite, strictly"),
    ],
)
def test_bad_input_says_what_is_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
