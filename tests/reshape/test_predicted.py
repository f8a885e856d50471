"""Predicted scores: features against counting by hand, the fit against normal equations, and planted truths."""

import itertools
from collections import Counter

import numpy as np
import pytest

from tsl_jax.reshape import TEXT_FEATURES, ScorePredictor, TextCounts
from tsl_jax.reshape.predicted import _PENALTIES, _fitted, _terms


def text(seed, sequences=30):
    """Flat ids and sequences of several lengths, their order mixed but for the order within each."""
    rng = np.random.default_rng(seed)
    sequence = rng.permutation(np.repeat(np.arange(sequences) * 3, rng.integers(1, 30, sequences)))
    return np.minimum(rng.zipf(1.5, len(sequence)), 40), sequence


def by_hand(counted, ids):
    rows, kinds = [ids_of(*counted, number) for number in np.unique(counted[1])], len(np.unique(counted[0]))
    tokens = Counter(token for row in rows for token in row)
    pairs = Counter(pair for row in rows for pair in itertools.pairwise(row))
    total = sum(tokens.values())
    frequency = sorted(np.log((tokens[token] + 1) / (total + kinds)) for token in ids)
    own = list(itertools.pairwise(ids))
    quantiles = [frequency[int(np.rint(q * (len(ids) - 1)))] for q in (0.1, 0.5, 0.9)]
    likely = [np.log((pairs[pair] + 1) / (tokens[pair[0]] + kinds)) for pair in own]
    new = [pairs[pair] == 0 for pair in own]
    means = [np.mean(values) if own else 0 for values in (likely, new)]
    return [np.mean(frequency), *quantiles, *means, len(set(ids)) / len(ids), np.log(len(ids))]


def ids_of(ids, sequence, number):
    return ids[sequence == number].tolist()


def test_features_are_those_counted_by_hand():
    counted, other = text(0), text(1)
    other[0][::7] += 100  # ids that the counted text does not have
    found = TextCounts.of_text(*counted).features(*other)
    assert found.shape == (30, len(TEXT_FEATURES))
    expected = [by_hand(counted, ids_of(*other, number)) for number in np.unique(other[1])]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("ids", "message"),
    [([], "whole numbers"), ([[1]], "whole numbers"), ([0.5], "whole numbers"), ([-1], "leave out padding")],
)
def test_text_that_is_none_is_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        TextCounts.of_text(ids, [0])


def test_the_fit_is_ridge_with_the_penalty_that_leaving_one_out_prefers():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (50, 4))
    y = x @ [1, 0, 0, -0.5] + rng.normal(0, 3, 50)
    middle, spread, slopes, intercept, penalty = _fitted(x, y)
    terms = _terms(x, middle, spread)

    def ridge(rows, each):
        centred = terms[rows] - terms[rows].mean(axis=0)
        square = centred.T @ centred + each * 50 * np.eye(8)
        found = np.linalg.solve(square, centred.T @ (y[rows] - y[rows].mean()))
        return found, y[rows].mean() - terms[rows].mean(axis=0) @ found

    whole = ridge(np.arange(50), penalty)
    np.testing.assert_allclose(slopes, whole[0], rtol=1e-8)
    assert intercept == pytest.approx(whole[1])
    missed = []
    for each in _PENALTIES:
        left_out = [ridge(np.delete(np.arange(50), k), each) for k in range(50)]
        missed.append(sum((y[k] - terms[k] @ one[0] - one[1]) ** 2 for k, one in enumerate(left_out)))
    assert penalty == _PENALTIES[np.argmin(missed)]


def planted(seed, noise, sequences=1500):
    """Features of text, and scores that peak at a frequency; the share of their variance that is no noise."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(sequences, 6)) @ rng.normal(size=(6, 6))
    true = -((features[:, 0] - 1) ** 2) + 2 * features[:, 3]
    true = (true - true.mean()) / true.std()
    return features, true, true + rng.normal(0, noise, sequences), 1 / (1 + noise**2)


@pytest.mark.parametrize("noise", [0.3, 1.0, 2.0])
def test_what_is_planted_is_predicted_and_its_error_told(noise):
    features, true, score, share = planted(0, noise)
    predictor = ScorePredictor.from_scores(features[:1000], score[:1000])
    assert not predictor.noise
    assert predictor.r2_interval[0] < share < predictor.r2_interval[1] + 0.03  # less what 1,000 sequences cannot fix
    new = predictor.predict(features[1000:])
    assert np.corrcoef(new, true[1000:])[0, 1] > 0.97
    on_new = 1 - np.mean((score[1000:] - new) ** 2) / np.var(score[1000:])
    assert on_new == pytest.approx(predictor.r2, abs=0.1)
    # Of two normal variables that correlate by r, ranks correlate by 6/π·arcsin(r/2); these are nearly so.
    assert predictor.rank_correlation == pytest.approx(6 / np.pi * np.arcsin(np.sqrt(predictor.r2) / 2), abs=0.1)


def test_scores_that_have_nothing_to_do_with_the_features_are_refused():
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found.append(ScorePredictor.from_scores(rng.normal(size=(200, 8)), rng.normal(size=200)))
    assert sum(bool(one.noise) for one in found) >= 38
    refused = next(one for one in found if one.noise)
    with pytest.raises(ValueError, match="do not predict the scores: R² on sequences held out is"):
        refused.predict(np.zeros((1, 8)))


def test_groups_are_held_out_as_a_whole():
    """A feature that tells documents apart, and scores of documents by lot: known of a document's others alone."""
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(12), 40)
    features = np.eye(12)[document] + rng.normal(0, 0.01, (480, 12))
    score = rng.normal(size=12)[document] + rng.normal(0, 0.3, 480)
    assert ScorePredictor.from_scores(features, score).r2 > 0.7
    assert ScorePredictor.from_scores(features, score, group=document).noise


@pytest.mark.parametrize(
    ("features", "score", "more", "message"),
    [
        (np.ones((39, 2)), np.ones(39), {}, "got 39 sequences"),
        (np.ones((50, 2)), np.ones(49), {}, r"expected \(sequences, features\)"),
        (np.full((50, 2), np.nan), np.ones(50), {}, "of sequence 0 some are not finite"),
        (np.ones((50, 2)), np.ones(50), {"folds": 1}, "folds: got 1 for 50 groups"),
        (np.ones((50, 2)), np.ones(50), {"group": np.zeros(50)}, "folds: got 5 for 1 groups"),
        (np.ones((50, 2)), np.ones(50), {"group": np.zeros(49)}, "one code a sequence"),
    ],
)
def test_bad_input_is_refused(features, score, more, message):
    with pytest.raises(ValueError, match=message):
        ScorePredictor.from_scores(features, score, **more)


def test_equal_scores_predict_nothing_and_other_features_are_refused():
    flat = ScorePredictor.from_scores(np.random.default_rng(0).normal(size=(50, 2)), np.ones(50))
    assert flat.noise == "all scores are equal"
    features, _, score, _ = planted(0, 0.3, 200)
    with pytest.raises(ValueError, match=r"expected \(sequences, 6\)"):
        ScorePredictor.from_scores(features, score).predict(features[:, :5])
