"""Re-weighting where the truth is known: a learner whose sequences' learnability is planted.

A sequence of kind g teaches kind g alone: after n draws of it, its loss is ``fall_g·exp(-n/scale)`` above the floor.
"""

import numpy as np
import pytest

from benchmarks.reweighting.curves import speed_up_percent
from tsl_jax.reshape import Sampler, bucket_of, bucket_weights

CANDIDATES, DRAWS, EVERY, SEEDS = 4000, 1000, 50, 24
STEPS = np.arange(0, DRAWS + 1, EVERY)
#: What the lowest two, the middle six and the highest two of ten buckets have to learn in the window, nat.
FALLS = np.array([0.0, 0.3, 1.0])
SHARES = np.array([0.2, 0.6, 0.2])


def losses(drawn, falls, scale):
    """(rows,) mean loss after (rows, kinds) draws of each kind, floor left out."""
    return np.exp(-drawn / (SHARES * scale)) @ (SHARES * falls)


def learned(weight, kind, falls, scale, seed):
    """(rows,) mean losses of a learner as it is trained."""
    order = kind[list(Sampler(weight, DRAWS, seed=seed))]
    drawn = np.cumsum(order[:, None] == np.arange(3), axis=0)
    return losses(np.vstack([np.zeros(3), drawn])[STEPS], falls, scale)


def expected(weights, falls, scale):
    """What theory says: of kind g, ``candidates_g·(1 - exp(-weight_g·t))`` are drawn, t such that they add up."""
    t = np.linspace(0, 2, 4001)
    drawn = CANDIDATES * SHARES * -np.expm1(-np.outer(t, weights))
    at = np.stack([np.interp(STEPS, drawn.sum(axis=1), column) for column in drawn.T], axis=1)
    return losses(at, falls, scale)


def saved(score, kind, falls, scale, sign=1):
    """(seeds,) steps that the one-shot weights of a score save, %."""
    found = np.asarray(bucket_weights(bucket_of(sign * score), strength=1.0, ends=2))
    arms = [
        [learned(weight, kind, falls, scale, seed) for weight in (np.ones(CANDIDATES), found)] for seed in range(SEEDS)
    ]
    return np.array([speed_up_percent(STEPS, *pair) for pair in arms])


def within(values, theory):
    """Whether their mean is what theory says, by its own error."""
    return abs(np.mean(values) - theory) < 4 * np.std(values) / np.sqrt(len(values)) + 0.3


@pytest.fixture(scope="module")
def kinds():
    """Kind of each candidate, and a score that ranks kinds right."""
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat([0, 1, 2], (CANDIDATES * SHARES).astype(int)))
    return kind, kind + rng.uniform(0, 1, CANDIDATES)


@pytest.mark.parametrize("scale", [400.0, 4000.0])
def test_scores_that_are_right_save_what_theory_says(kinds, scale):
    kind, score = kinds
    curves = [expected(np.array(weights), FALLS, scale) for weights in ([1, 1, 1], [0, 1, 2], [2, 1, 0])]
    theory = [speed_up_percent(STEPS, curves[0], other) for other in curves[1:]]
    assert theory[0] > 15
    assert theory[1] < -30
    assert within(saved(score, kind, FALLS, scale), theory[0])
    assert within(saved(score, kind, FALLS, scale, sign=-1), theory[1])


def test_uniform_wins_where_learnability_has_nothing_to_do_with_the_score(kinds):
    """All kinds have as much to learn: what the lowest buckets lose, the highest do not make good."""
    kind, score = kinds
    found = saved(score, kind, np.ones(3), 400.0)
    assert np.mean(found) < -4 * np.std(found) / np.sqrt(SEEDS)
    # A score that is drawn by lot neither helps nor harms.
    lots = saved(np.random.default_rng(1).uniform(size=CANDIDATES), kind, FALLS, 400.0)
    assert within(lots, 0.0)
