"""The schedule that laws prefer, against brute force, SciPy and what is known of planted laws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from planted_runs import RATES, STEPS, TRUTH, planted

from tsl_jax.temporal import (
    SCHEDULE_SHAPES,
    AnnealingLaw,
    LawFitOptions,
    MemoryLaw,
    MultiPowerLaw,
    SizeRuns,
    StepPowerLaw,
    best_schedule,
    history,
    join_histories,
    schedule_from_rates,
)
from tsl_jax.temporal.laws.end_of_schedule import all_rates, last_update, update_grid
from tsl_jax.temporal.laws.schedule_gain import simplest
from tsl_jax.temporal.laws.schedule_limits import bounds_of, outside, seen_rates
from tsl_jax.temporal.laws.schedule_search import Bounds, best_free, best_of_shape
from tsl_jax.temporal.laws.schedule_shapes import shapes_of

BOUNDS = Bounds(1e-3, 1e-4, 10)
NUM_STEPS, WARMUP = 1500, 100


class Known:
    """A law with known parameters, in place of its fit."""

    def __init__(self, law, **changes):
        self.law = law
        params = {name: TRUTH[name] for name in law.names} | changes
        if law.has_excess:
            params["excess"] = params["excess"] / 3.0**law.noise_power
        self.params = params

    def predict(self, rows):
        return self.law.predict(self.params, rows)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def exact_loss(known, rates):
    return float(known.predict(history(schedule_from_rates(rates), [len(rates)], resolution=0.02))[0])


@pytest.mark.parametrize("law", [AnnealingLaw(), MultiPowerLaw(), MemoryLaw()], ids=repr)
@pytest.mark.parametrize("warmup", [0, 1, WARMUP])
def test_the_last_update_is_the_last_row_of_the_history(law, warmup):
    known, grid = Known(law), update_grid(NUM_STEPS, warmup)
    nodes = 1e-3 - 9e-4 * grid.progress**3
    rates = all_rates(nodes, grid)
    assert len(rates) == NUM_STEPS
    row = last_update(jnp.asarray(nodes), grid, 1e-3)
    assert float(row.dynamic_time[0]) == pytest.approx(rates.sum(), rel=1e-12)
    assert float(jnp.sum(row.rise)) == pytest.approx(rates[-1], rel=1e-12)
    assert float(known.predict(row)[0]) == pytest.approx(exact_loss(known, rates), abs=2e-5)


def test_the_grid_finds_what_brute_force_over_every_update_finds():
    """WSD with a linear decay, by start and last rate, each schedule's loss from its exact sum over updates."""
    known, shape = Known(AnnealingLaw(), memory=120.0), SCHEDULE_SHAPES["wsd-linear"]
    values, _, loss = best_of_shape(shape, [known], update_grid(NUM_STEPS, 0), BOUNDS)
    count = np.arange(1, NUM_STEPS + 1)
    progress, tried = (count - 1) / (NUM_STEPS - 1), {}
    for start, final in itertools.product(np.linspace(0.5, 0.98, 49), np.geomspace(0.1, 1.0, 12)):
        done = np.clip((progress - start) / (1 - start), 0, 1)
        rates = 1e-3 * (1 - (1 - final) * done)
        rise = np.diff(rates, prepend=0.0)
        lagged = np.sum(rise * (1 - np.exp(-(NUM_STEPS - count + 1) / 120.0)))
        tried[start, final] = 2.5 + 0.8 * rates.sum() ** -0.4 + 150.0 * lagged
    best = min(tried, key=tried.get)
    assert values["final"] == pytest.approx(best[1], rel=0.05)
    assert values["start"] == pytest.approx(best[0], abs=0.011)
    assert tried[best] - 1e-4 < loss < tried[best] + 1e-5


def test_a_law_that_is_blind_to_the_rate_gives_all_schedules_one_loss():
    grid, losses = update_grid(NUM_STEPS, WARMUP), []
    for shape in SCHEDULE_SHAPES.values():
        losses.append(best_of_shape(shape, [Known(StepPowerLaw())], grid, BOUNDS)[2])
    np.testing.assert_allclose(losses, 2.5 + 0.8 * NUM_STEPS**-0.4, rtol=1e-12)


@pytest.mark.parametrize(
    "printed",
    [(3.040, 0.525, 0.508, 363.788, 2.066, 0.583, 0.641), (2.651, 0.601, 0.453, 437.946, 2.132, 0.598, 0.655)],
    ids=["25M", "100M"],
)
def test_the_multi_power_law_prefers_a_stable_phase_and_a_power_decay(printed):
    """arXiv 2503.12811 with its printed parameters: stable, then a decay of power about 1.5, well below cosine."""
    law = MultiPowerLaw()
    known, grid, bounds = Known(law), update_grid(24_000, 2160), Bounds(3e-4, 3e-7, 128)
    known.params = dict(zip(law.names, printed, strict=True))
    found = {name: best_of_shape(SCHEDULE_SHAPES[name], [known], grid, bounds) for name in ("cosine", "wsd-power")}
    values = found["wsd-power"][0]
    assert 0.8 < values["start"] < 0.95
    assert 1.2 < values["power"] < 2.0
    assert found["cosine"][2] - found["wsd-power"][2] > 0.03


def test_free_rates_are_as_good_as_scipys_and_keep_the_bounds():
    known, grid = Known(AnnealingLaw()), update_grid(NUM_STEPS, WARMUP)
    starts = [1e-3 - 9e-4 * grid.progress, 1e-3 * np.where(grid.progress < 0.8, 1.0, 0.1)]
    nodes, loss = best_free([known], grid, BOUNDS, starts)
    again, same = best_free([known], grid, BOUNDS, starts)
    assert same == loss
    np.testing.assert_array_equal(again, nodes)
    assert nodes.max() <= 1e-3 * (1 + 1e-9)
    assert nodes.min() >= 1e-4 * (1 - 1e-9)
    assert np.all(np.diff(nodes) <= 1e-15)
    assert exact_loss(known, all_rates(nodes, grid)) == pytest.approx(loss, abs=2e-5)
    # The same rates as the sum of falls, each at least 0: a convex set, on which SciPy minimises.
    knots = np.flatnonzero((grid.node[-1] - grid.node >= 10) | (grid.node == grid.node[-1]))[::4]
    knots = np.union1d(knots, [len(grid.node) - 1])

    @jax.jit
    @jax.value_and_grad
    def of_rates(rates):
        nodes = jnp.interp(jnp.asarray(grid.node, float), jnp.asarray(grid.node[knots], float), 1e-3 * rates)
        return known.predict(last_update(nodes, grid, 1e-3))[0]

    falling = {
        "type": "ineq",
        "fun": lambda rates: -np.diff(rates),
        "jac": lambda rates: -np.diff(np.eye(len(rates)), axis=0),
    }
    found = scipy.optimize.minimize(
        lambda rates: tuple(np.asarray(x) for x in of_rates(rates)),
        np.linspace(1, 0.1, len(knots)),
        jac=True,
        bounds=[(0.1, 1.0)] * len(knots),
        constraints=[falling],
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-10},
    )
    assert loss < found.fun + 2e-5


def planted_runs(noise=0.0):
    seen, loss, run, _ = planted(AnnealingLaw(), noise)
    return SizeRuns(seen, loss, run)


@pytest.fixture(scope="module")
def choice():
    runs = planted_runs(noise=1e-3)
    with jax.enable_x64(False):
        return best_schedule(
            runs,
            2000,
            warmup_steps=WARMUP,
            shapes=("cosine", "wsd-linear", "free"),
            laws=[AnnealingLaw()],
            options=LawFitOptions(starts=1),
        )


def test_a_planted_law_comes_back_with_its_gain(choice):
    known = Known(AnnealingLaw())
    losses = {name: loss for name, (loss, _) in choice.tried.items()}
    assert losses["free"] <= losses["wsd-linear"] < losses["cosine"]
    assert choice.shape == "free"
    assert choice.passed_over == {}
    assert len(choice.learning_rate) == 2000
    np.testing.assert_allclose(choice.learning_rate[:WARMUP], choice.learning_rate[99] * np.arange(1, 101) / 100)
    mine = exact_loss(known, choice.learning_rate)
    for name, rates in choice.baseline.items():
        gain = exact_loss(known, rates) - mine
        assert choice.lower[name] < gain < choice.upper[name]
        assert choice.gain[name] == pytest.approx(choice.baseline_loss[name] - choice.loss, abs=1e-12)
        assert 0 < choice.parameter_error[name] < 0.02
    assert choice.warnings == ()
    assert choice.predict(choice.learning_rate, [2000])[0] == pytest.approx(choice.loss, abs=1e-9)


def test_the_simplest_shape_within_the_error_is_taken():
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(4000, 1)) + rng.normal(0, [0.0, 0.003, 0.004], (4000, 3))  # what is common does not count
    sizes, losses = {"free": np.inf, "wsd-linear": 2, "cosine": 1}, np.array([2.5, 2.504, 2.52])
    chosen, passed = simplest(sizes, losses, drawn, misfit=0.004)
    assert (chosen, list(passed)) == ("wsd-linear", ["free"])
    assert passed["free"] == pytest.approx((0.004, 0.005), rel=0.05)
    assert simplest(sizes, losses, drawn, misfit=0.0)[0] == "free"
    chosen, passed = simplest(sizes, losses, drawn, misfit=0.03)
    assert (chosen, list(passed)) == ("cosine", ["free", "wsd-linear"])


def test_a_run_twice_as_long_and_lower_rates_are_outside_the_data():
    runs = planted_runs()
    seen = seen_rates(runs)
    assert (seen.peak, seen.last, seen.spacing) == (1e-3, 2000, 50)
    assert seen.lowest == pytest.approx(1e-4, rel=1e-3)
    bounds = bounds_of(seen, 4000, None, 1e-5, None)
    rates = np.concatenate([np.full(3970, 1e-3), np.linspace(1e-3, 1e-5, 30)])
    said = outside(rates, 0, seen, bounds)
    assert [next(word for word in ("longest", "below", "99%", "shortest time") if word in text) for text in said] == [
        *("longest", "below", "99%", "shortest time"),
    ]
    assert outside(RATES[1], WARMUP, seen, bounds_of(seen, 1900, None, None, None)) == ()


def test_a_law_that_follows_at_once_is_stopped_by_the_shortest_fall():
    known, grid = Known(AnnealingLaw(), memory=1e-3), update_grid(NUM_STEPS, WARMUP)
    bounds = Bounds(1e-3, 1e-4, 50)
    values, nodes, _ = best_of_shape(SCHEDULE_SHAPES["wsd-linear"], [known], grid, bounds)
    assert values["start"] == pytest.approx(1 - 50 / (NUM_STEPS - WARMUP))
    runs = planted_runs()
    assert any("shortest time" in text for text in outside(all_rates(nodes, grid), WARMUP, seen_rates(runs), bounds))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "num_steps: got 0"),
        ({"num_steps": 190, "warmup_steps": 100}, "num_steps: 90 updates are left"),
        ({"shapes": ("wsd", "step")}, "shapes: got 'step'"),
        ({"shapes": ()}, "shapes: got none"),
        ({"laws": []}, "laws: got none"),
        ({"laws": [StepPowerLaw()]}, "laws: got step_power_law"),
        ({"peak": -1.0}, "peak: got -1"),
        ({"lowest": 2e-3}, "lowest: got 0.002"),
        ({"level": 1.5}, "level: got 1.5"),
        ({"shortest_fall": 0}, "shortest_fall: got 0"),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    runs = planted_runs()
    with pytest.raises(ValueError, match=message):
        best_schedule(runs, **{"num_steps": 1000} | changes)


def test_runs_that_cannot_tell_are_refused():
    runs = planted_runs()
    alone = runs.run == 1
    with pytest.raises(ValueError, match="runs: got 1, expected at least two"):
        best_schedule(SizeRuns(runs.history[alone], runs.loss[alone], runs.run[alone]), 1000)
    flat = join_histories([history(schedule_from_rates(RATES[0]), STEPS)] * 2)
    with pytest.raises(ValueError, match="of none falls"):
        best_schedule(SizeRuns(flat, np.tile(runs.loss[runs.run == 0], 2), np.repeat([0, 1], len(STEPS))), 1000)
    with pytest.raises(TypeError, match="laws: got str"):
        best_schedule(runs, 1000, laws=["memory_law"])


def test_wsd_stands_for_its_shapes():
    assert shapes_of(("free", "wsd", "wsd-power")) == ("free", "wsd-linear", "wsd-exponential", "wsd-sqrt", "wsd-power")
