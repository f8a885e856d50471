"""Scores, buckets and weights: against direct sums, SciPy's normal distribution and hypothesis."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tsl_jax.fitting import Status, degrees_of_freedom
from tsl_jax.reshape import (
    bucket_of,
    bucket_weights,
    effective_sample_size,
    event_probability,
    merge_scores,
    score_sequences,
)


def tokens(number, **replaced):
    rng = np.random.default_rng(0)
    values = {
        "time": rng.uniform(1, 1000, number),
        "stderr": rng.uniform(1, 50, number),
        "drop": np.ones(number),
        "status": np.full(number, Status.CONVERGED, "uint8"),
        "unlearned": np.zeros(number),
    } | replaced
    params = {"learning_time": values["time"], "loss_drop": values["drop"]}
    return params, {"learning_time": values["stderr"]}, values["status"], values["unlearned"]


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("freedom", [None, 5.0, 40.0])
def test_probabilities_are_those_of_students_distribution(scale, freedom):
    unlearned = np.linspace(0, 1, 50)
    given = tokens(50, unlearned=unlearned)
    params, stderr = given[0]["learning_time"], given[1]["learning_time"]
    many = None if freedom is None else np.full(50, freedom)
    found = event_probability(*given, (100, 400), freedom=many, scale=scale)
    u = np.log if scale == "log" else np.asarray
    law = stats.t(freedom or np.inf, u(params), stderr / (params if scale == "log" else 1))
    # Wallace's approximation is good to 0.0004 from 5 degrees of freedom on.
    expected = (1 - unlearned) * (law.cdf(u(400)) - law.cdf(u(100)))
    assert np.allclose(found, expected, atol=1e-5 if freedom is None else 1e-3)


def noisy_fits(number=2000):
    """Fits of tokens whose events lie before, within and after the measured steps, under correlated noise."""
    from tsl_jax import Sigmoid, fit

    rng = np.random.default_rng(1)
    step = np.geomspace(10, 1000, 48)
    time, drop = np.exp(rng.uniform(np.log(4), np.log(3000), number)), rng.choice([0.0, 1.0, 3.0, -2.0], number)
    noise_rows = rng.normal(0, 0.3, (number, 50))
    rows = 3 + drop[:, None] / (1 + (step / time[:, None]) ** 2) + noise_rows[:, 2:] + 0.5 * noise_rows[:, 1:-1]
    found = jax.jit(lambda losses: fit(Sigmoid(), step, losses))(rows.astype("f4"))
    return step, time, drop, found


def test_probabilities_are_those_that_the_fit_itself_gives_its_categories():
    step, _, _, found = noisy_fits()
    freedom = degrees_of_freedom(found.noise_correlation, found.num_points)
    falls = np.asarray(found.params["loss_drop"] > 0)
    parts = {"early": (0, step[0]), "learned": (step[0], step[-1]), "late": (step[-1], np.inf)}
    for name, window in parts.items():
        mine = event_probability(
            found.params, found.stderr, found.status, found.probabilities["unlearned"], window, freedom=freedom
        )
        np.testing.assert_allclose(mine, np.where(falls, found.probabilities[name], 0), atol=1e-5)


def test_probabilities_are_the_share_of_true_events_inside_the_window():
    """What the score means: among tokens with a probability near q, q have their true event within the window."""
    _, time, drop, found = noisy_fits(6000)
    freedom = degrees_of_freedom(found.noise_correlation, found.num_points)
    window = (60.0, 300.0)
    probability = np.asarray(
        event_probability(
            found.params, found.stderr, found.status, found.probabilities["unlearned"], window, freedom=freedom
        )
    )
    true = (drop > 0) & (window[0] < time) & (time <= window[1])
    sure = probability > 0.95
    assert sure.sum() > 200
    print(np.mean(true[sure]), np.mean(probability[sure]))
    assert np.mean(true[sure]) > np.mean(probability[sure]) - 0.04
    # The test for an event would rather miss one: the middle is judged where there is one for sure.
    middle = (probability > 0.3) & (probability < 0.7) & (np.asarray(found.probabilities["unlearned"]) < 0.01)
    assert middle.sum() > 60
    print(middle.sum(), np.mean(true[middle]), np.mean(probability[middle]))
    assert abs(np.mean(true[middle]) - np.mean(probability[middle])) < 0.1


def test_a_token_without_an_error_counts_whole_or_not_at_all():
    given = tokens(3, time=np.array([50.0, 100.0, 101.0]), stderr=np.full(3, np.nan))
    assert event_probability(*given, (50, 100)).tolist() == [0, 1, 0]
    assert event_probability(*given[:3], np.full(3, 0.25), (50, 100)).tolist() == [0, 0.75, 0]


@pytest.mark.parametrize(
    "replaced",
    [
        {"drop": np.array([-1.0])},
        {"unlearned": np.array([1.0])},
        {"unlearned": np.array([np.nan])},
        {"status": np.array([Status.TOO_FEW_POINTS]), "time": np.array([np.nan]), "stderr": np.array([np.nan])},
    ],
)
def test_what_is_not_learned_does_not_count(replaced):
    at = {"time": np.array([100.0]), "stderr": np.array([1.0])}
    assert event_probability(*tokens(1, **at), (50, 200)).tolist() == [1]
    assert event_probability(*tokens(1, **(at | replaced)), (50, 200)).tolist() == [0]


def test_adjacent_windows_share_every_event():
    given = tokens(200)
    edges = [0, 30, 200, 700, np.inf]
    parts = [event_probability(*given, window) for window in itertools.pairwise(edges)]
    assert np.allclose(np.sum(parts, axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("window", [(5, 5), (6, 5), (float("nan"), 3)])
def test_an_empty_window_is_refused(window):
    with pytest.raises(ValueError, match="window"):
        event_probability(*tokens(1), window)


def test_a_window_below_zero_needs_a_linear_scale():
    with pytest.raises(ValueError, match="log scale"):
        event_probability(*tokens(1), (-1, 5))
    assert event_probability(*tokens(1), (-1, 2000), scale="linear").tolist() == [1]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.data())
def test_scores_of_parts_add_up(rows, data):
    sequence, probability, fitted = (np.array(column) for column in zip(*rows, strict=True))
    whole = score_sequences(probability, fitted, sequence)
    for k, number in enumerate(whole.sequence):
        mine = sequence == number
        assert whole.tokens[k] == np.sum(fitted[mine])
        assert np.isclose(whole.events[k], np.sum(probability[mine & fitted]))
    cut = data.draw(st.integers(0, len(rows)))
    halves = slice(None, cut), slice(cut, None)
    merged = merge_scores([score_sequences(probability[half], fitted[half], sequence[half]) for half in halves])
    for one, other in zip(jax.tree.leaves(merged), jax.tree.leaves(whole), strict=True):
        assert np.allclose(one, other)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9]), min_size=2, max_size=50), st.data())
def test_buckets_are_even_and_ordered(score, data):
    buckets = data.draw(st.integers(2, min(len(score), 12)))
    bucket = np.asarray(bucket_of(score, buckets))
    sizes = np.bincount(bucket, minlength=buckets)
    assert len(sizes) == buckets
    assert sizes.max() - sizes.min() <= 1
    score = np.float32(score)
    for k in range(buckets - 1):
        assert score[bucket == k].max() <= score[bucket == k + 1].min()


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_weights_rise_and_preserve_the_total(strength):
    bucket = bucket_of(np.random.default_rng(0).uniform(size=103), 10)
    weight = np.asarray(bucket_weights(bucket, 10, strength=strength))
    assert np.isclose(weight.sum(), 103, rtol=1e-6)
    levels = [weight[np.asarray(bucket) == k] for k in range(10)]
    assert all(np.ptp(level) == 0 for level in levels)
    steps = np.diff([level[0] for level in levels])
    assert np.all(steps > 0) if strength else np.allclose(steps, 0)
    assert np.isclose(levels[0][0] == 0, strength == 1)


def test_effective_sample_size_is_that_of_repeated_draws():
    """Means of weighted draws vary as those of that many equally weighted ones."""
    rng = np.random.default_rng(0)
    weight = np.asarray(bucket_weights(bucket_of(np.arange(100.0), 10), 10, strength=0.9))
    values = rng.normal(size=(4000, 100))
    variance = np.var(values @ weight / weight.sum())
    assert np.isclose(1 / variance, effective_sample_size(weight), rtol=0.1)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bucket_of([0.1, 0.2], 1), "at least 2"),
        (lambda: bucket_of([0.1, 0.2], 3), "2 sequences"),
        (lambda: bucket_of([0.1, np.nan], 2), "not finite"),
        (lambda: bucket_weights([0, 1], 2, strength=1.5), "0 to 1"),
        (lambda: bucket_weights([0, 0], 2, strength=1.0), "lowest bucket"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
