"""Probabilities of an event in another run: true in runs that repeat as is planted, and the written formula."""

import dataclasses

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from tsl_jax.fitting import Status
from tsl_jax.reshape import EventDensity, Repeats, another_run_probability

TOKENS = 60_000
REPEATS = Repeats()


@dataclasses.dataclass(frozen=True)
class Planted:
    """A run, and when its tokens are learned in another one (NaN: not at all)."""

    params: dict
    stderr: dict
    r2: np.ndarray
    density: EventDensity
    elsewhere: np.ndarray


def odds(r2, density, repeats):
    """Logarithm of the odds that an event repeats, as the formula is written."""
    return repeats.odds + repeats.by_fit * scipy.special.logit(r2) + repeats.by_density * np.log(density)


def planted(seed: int, repeats: Repeats = REPEATS) -> Planted:
    """Learning times that get rare late, of fits good and bad; the other run by the planted law."""
    rng = np.random.default_rng(seed)
    u = rng.gamma(4.0, 0.4, TOKENS) + 2.5
    r2, error = scipy.special.expit(rng.normal(2.5, 1.5, TOKENS)), np.exp(rng.normal(-2.2, 0.5, TOKENS))
    density = EventDensity.of(np.exp(u), 2 * TOKENS)
    there = scipy.stats.gamma(4.0, loc=2.5, scale=0.4).pdf(u) / 2  # half of all tokens have an event
    repeated = rng.random(TOKENS) < scipy.special.expit(odds(r2, there, repeats))
    spread = np.sqrt(repeats.factor * error**2 + repeats.additive) * there**repeats.by_time
    again = u + spread * rng.standard_t(3, TOKENS)
    elsewhere = np.where(rng.random(TOKENS) < repeats.anyway, rng.permutation(u), np.nan)
    time = np.exp(u)
    params = {"learning_time": time, "loss_drop": np.full(TOKENS, 2.0)}
    return Planted(params, {"learning_time": error * time}, r2, density, np.where(repeated, again, elsewhere))


def probability(run: Planted, window, **options):
    status, unlearned = np.full(len(run.r2), Status.CONVERGED), np.zeros(len(run.r2))
    args = run.params, run.stderr, run.r2, status, unlearned, window, run.density
    return np.asarray(another_run_probability(*args, **options))


@pytest.mark.parametrize("window", [(20.0, 60.0), (60.0, 180.0), (180.0, 540.0)], ids=str)
def test_claims_are_as_true_as_they_say(window):
    """Of tokens claimed with a probability, as many are learned there in the other run, early and late."""
    run = planted(1)
    likely = probability(run, window)
    came = (np.log(window[0]) < run.elsewhere) & (run.elsewhere <= np.log(window[1]))
    assert likely.sum() == pytest.approx(came.sum(), rel=0.03)
    checked = 0
    for low, high in ((0.02, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.97), (0.97, 1.01)):
        chosen = (low <= likely) & (likely < high)
        if chosen.sum() < 50:
            continue
        checked += 1
        claimed = likely[chosen].mean()
        error = np.sqrt(claimed * (1 - claimed) / chosen.sum())
        print(window, f"{claimed:.3f}: {came[chosen].mean():.3f} of {chosen.sum()}")
        assert came[chosen].mean() == pytest.approx(claimed, abs=4 * error + 0.02)
    assert checked >= 4


def test_errors_alone_claim_too_much_of_late_tokens():
    """What the formula is for: by their own errors late tokens are claimed that another run does not have."""
    from tsl_jax.reshape import event_probability

    run, window = planted(2), (180.0, 540.0)
    status, none = np.full(TOKENS, Status.CONVERGED), np.zeros(TOKENS)
    alone = np.asarray(event_probability(run.params, run.stderr, status, none, window))
    came = (np.log(window[0]) < run.elsewhere) & (run.elsewhere <= np.log(window[1]))
    sure = alone > 0.97
    assert alone[sure].mean() > 0.98
    assert came[sure].mean() < 0.75
    surer = probability(run, window) > 0.9
    assert surer.sum() >= 20
    assert came[surer].mean() > 0.85


@pytest.mark.parametrize("between_runs", [False, True])
@pytest.mark.parametrize("scale", ["log", "linear"])
def test_it_is_the_written_formula(between_runs, scale):
    """Against SciPy's t distribution, token by token; Wallace's approximation of it is good to 0.004 at 3 degrees."""
    run, window = planted(3), (60.0, 180.0)
    time, error = run.params["learning_time"], run.stderr["learning_time"]
    p = np.maximum(np.interp(np.log(time), run.density.place, run.density.density), 1e-4)
    chance = scipy.special.expit(odds(np.clip(run.r2, 1e-3, 1 - 1e-4), p, REPEATS))
    if not between_runs:
        error = np.sqrt(REPEATS.factor * error**2 + REPEATS.additive * time**2) * p**REPEATS.by_time
    ends = np.log(window) if scale == "log" else np.array(window)
    place, spread = (np.log(time), error / time) if scale == "log" else (time, error)
    there = np.diff(scipy.stats.t(3).cdf((ends[:, None] - place) / spread), axis=0)[0]
    share = np.mean((window[0] < time) & (time <= window[1]))
    wanted = chance * there + (1 - chance) * REPEATS.anyway * share
    np.testing.assert_allclose(probability(run, window, between_runs=between_runs, scale=scale), wanted, atol=0.006)


def test_density_is_that_of_the_tokens():
    """A normal distribution in ln(a), widened by the smoothing; fractions of all tokens."""
    rng = np.random.default_rng(4)
    u = rng.normal(5, 0.8, 100_000)
    density = EventDensity.of(np.exp(u), 400_000)
    law = scipy.stats.norm(5, np.hypot(0.8, 0.25))
    at = np.linspace(3, 7, 9)
    np.testing.assert_allclose(density.at(np.exp(at)), law.pdf(at) / 4, rtol=0.05)
    assert float(density.within((np.exp(4.0), np.exp(6.0)))) == pytest.approx(np.diff(law.cdf([4, 6]))[0] / 4, rel=0.01)
    assert float(density.within((0.0, np.inf))) == pytest.approx(0.25)
    assert float(density.at(1e-30)) == pytest.approx(1e-4)


@pytest.mark.parametrize("times", [[], [0.0, -3.0], [7.0], [7.0, np.inf, np.nan]])
def test_hardly_any_events(times):
    found = EventDensity.of(times, 10)
    number = sum(0 < time < np.inf for time in times)
    assert float(found.within((-5.0, np.inf))) == pytest.approx(number / 10)
    run = Planted({"learning_time": np.array([5.0]), "loss_drop": np.ones(1)}, {"learning_time": np.array([0.1])},
                  np.array([0.9]), found, np.zeros(1))  # fmt: skip
    likely = probability(run, (1.0, 50.0))
    assert np.all(np.isfinite(likely))
    assert np.all((likely >= 0) & (likely <= 1))


def test_what_is_not_known_counts_not():
    run = planted(5)
    few = Planted({name: column[:6].copy() for name, column in run.params.items()},
                  {"learning_time": run.stderr["learning_time"][:6].copy()}, run.r2[:6].copy(), run.density,
                  run.elsewhere[:6])  # fmt: skip
    few.params["loss_drop"][0] = -1.0  # rises
    few.stderr["learning_time"][1] = np.nan  # counts whole, as far as it repeats
    few.r2[2] = np.nan  # repeats never
    status, unlearned = np.full(6, Status.CONVERGED), np.zeros(6)
    status[3], unlearned[4] = Status.NON_FINITE, np.nan
    args = few.params, few.stderr, few.r2, status, unlearned
    found = np.asarray(another_run_probability(*args, (1e-9, 1e9), few.density))
    assert found[[0, 3, 4]].tolist() == [0, 0, 0]
    repeated = scipy.special.expit(odds(few.r2[1], float(few.density.at(few.params["learning_time"][1])), REPEATS))
    assert found[1] == pytest.approx(repeated + (1 - repeated) * REPEATS.anyway, rel=1e-4)
    assert found[2] == pytest.approx(REPEATS.anyway, rel=0.01)
    traced = jax.jit(lambda *args: another_run_probability(*args, (1e-9, 1e9), few.density))(*args)
    np.testing.assert_allclose(traced, found, rtol=1e-6)
