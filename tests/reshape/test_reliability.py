"""How reliable scores are, against planted truth; what shrinking does; weights of ends and domains."""

import numpy as np
import pytest

from tsl_jax.reshape import bucket_of, bucket_weights, reliability_of, shrunken, spearman_brown


def planted(sequences, tokens, spread, rng):
    """True shares of sequences of so many tokens each (mean 0.3), and two halves of the tokens, as counts."""
    true = np.clip(0.3 + spread * rng.normal(size=sequences), 0.02, 0.98)
    half = np.asarray(tokens) // 2 + np.zeros(sequences, int)
    return true, rng.binomial(half, true, (2, sequences)) / half


def test_reliability_is_the_share_of_the_variance_that_is_true_and_its_interval_holds_it():
    rng, held, found = np.random.default_rng(0), 0, []
    for _ in range(200):
        true, halves = planted(300, 64, 0.08, rng)
        got = reliability_of(halves)
        noise = np.mean(true * (1 - true)) / 64
        share = np.var(true) / (np.var(true) + noise)
        found.append(got.value - share)
        held += got.low <= share <= got.high
    assert abs(np.mean(found)) < 0.01
    assert held >= 180  # 95%, within 3 standard errors


def test_reliability_of_several_runs_is_that_of_their_mean():
    rng = np.random.default_rng(1)
    true = rng.normal(size=4000)
    runs = true + rng.normal(size=(3, 4000))
    got = reliability_of(runs)
    assert got.value == pytest.approx(np.corrcoef(true, runs.mean(axis=0))[0, 1] ** 2, abs=0.02)
    assert got.value == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("measures", [np.ones((1, 9)), np.eye(2, 3), np.ones((2, 9)), np.full((2, 9), np.nan)])
def test_what_cannot_be_known_is_nan(measures):
    assert np.isnan(reliability_of(measures)).all()


def test_measures_that_agree_by_chance_or_less_hold_zero():
    noise = np.random.default_rng(2).normal(size=(2, 100))
    assert reliability_of(noise).low <= 0
    opposed = reliability_of([noise[0], -noise[0]])
    assert opposed.value < 0
    assert np.isfinite(opposed).all()


def test_spearman_brown_steps_up_and_down_again():
    assert spearman_brown(spearman_brown(0.4, 5), 1 / 5) == pytest.approx(0.4)


def test_shrunken_scores_are_nearer_to_the_truth_and_rank_better():
    """Short sequences have noisy scores: at the ends of the ranks there are too many of them; shrinking mends that."""
    rng = np.random.default_rng(3)
    tokens = rng.choice([8, 32, 256], 6000)
    true, halves = planted(6000, tokens, 0.08, rng)
    score = halves.mean(axis=0)
    better = shrunken(score, tokens, reliability_of(halves).value)
    assert np.mean((better - true) ** 2) < 0.6 * np.mean((score - true) ** 2)
    top = [true[np.asarray(bucket_of(each)) == 9].mean() for each in (score, better)]
    assert top[1] > top[0] + 0.02
    assert np.argsort(shrunken(score, np.full(6000, 9), 0.5)).tolist() == np.argsort(score).tolist()


def test_scores_shrink_to_the_mean_of_their_domain():
    domain = np.repeat([3, 5], 50)
    score = np.where(domain == 3, 0.2, 0.6)
    np.testing.assert_allclose(shrunken(score, np.full(100, 7), 0.1, domain=domain), score)
    np.testing.assert_allclose(shrunken(score, np.full(100, 7), 0.0), 0.4)
    np.testing.assert_allclose(shrunken(score, np.full(100, 7), 1.0), score)
    with pytest.raises(ValueError, match="reliability: it is not known"):
        shrunken(score, np.full(100, 7), np.nan)


@pytest.mark.parametrize(("ends", "strength"), [(1, 0.5), (2, 1.0), (5, 0.25)])
def test_ends_change_the_buckets_at_both_ends_alone(ends, strength):
    bucket = np.asarray(bucket_of(np.random.default_rng(0).uniform(size=200), 10))
    weight = np.asarray(bucket_weights(bucket, 10, strength=strength, ends=ends))
    np.testing.assert_allclose(weight[bucket < ends], 1 - strength)
    np.testing.assert_allclose(weight[bucket >= 10 - ends], 1 + strength)
    np.testing.assert_allclose(weight[(bucket >= ends) & (bucket < 10 - ends)], 1)


@pytest.mark.parametrize("ends", [0, 6])
def test_ends_that_meet_are_refused(ends):
    with pytest.raises(ValueError, match="expected 1 to 5"):
        bucket_weights(np.arange(10), 10, ends=ends)


@pytest.mark.parametrize("ends", [None, 2])
def test_by_domain_the_mixture_stays_and_the_best_of_each_are_lifted(ends):
    """One domain's scores all lie above the other's; the third has fewer sequences than there are buckets."""
    rng = np.random.default_rng(0)
    domain = rng.permutation(np.repeat([0, 4, 9], [60, 137, 3]))
    score = rng.uniform(size=200) + domain
    bucket = np.asarray(bucket_of(score, 10, domain=domain))
    weight = np.asarray(bucket_weights(bucket, 10, strength=1.0, ends=ends, domain=domain))
    for code in (0, 4, 9):
        inside = domain == code
        assert weight[inside].sum() == pytest.approx(inside.sum(), rel=1e-6)
        assert weight[inside][np.argmax(score[inside])] == weight[inside].max() > 1
    whole = np.asarray(bucket_weights(bucket_of(score, 10), 10, strength=1.0, ends=ends))
    assert whole[domain == 4].sum() > 1.1 * np.sum(domain == 4)
    for code in (0, 4):
        np.testing.assert_array_equal(bucket[domain == code], bucket_of(score[domain == code], 10))
    assert sorted(bucket[domain == 9].tolist()) == [1, 5, 8]
