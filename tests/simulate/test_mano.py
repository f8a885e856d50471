"""Modular arithmetic: every expression read and worked out again in plain Python."""

import collections
import math

import numpy as np
import pytest
from scipy import stats

from tsl_jax.simulate import Mano, mano_batches, mano_expressions

TASK = Mano()
#: Expressions in every test: one shape, so that programs are shared.
NUMBER = 3000
#: (modulus, greatest length): other sizes for the oracle.
TASKS = [TASK, Mano(7, (3, 5), "inverse_square"), Mano(2, (1, 1))]


def worked_out(words, modulus):
    """Value and tree of a prefix expression given as words, by recursion; nothing may be left over."""

    def read(at):
        word = words[at]
        if word not in "+-×":
            return int(word), at + 1, "."
        left, at, left_tree = read(at + 1)
        right, at, right_tree = read(at)
        value = {"+": left + right, "-": left - right, "×": left * right}[word]
        return value % modulus, at, f"({left_tree}{right_tree})"

    value, end, tree = read(0)
    assert end == len(words)
    return value, tree


@pytest.mark.parametrize("task", TASKS, ids=["paper", "small", "smallest"])
@pytest.mark.parametrize("split", ["training", "validation"])
def test_answers_are_what_python_works_out(task, split):
    made = mano_expressions(task, NUMBER, seed=1, split=split)
    for tokens, answer, place, length in zip(
        *(np.asarray(values)[:500] for values in (made.tokens, made.answer, made.answer_position, made.length)),
        strict=True,
    ):
        words = task.words(tokens).split()
        end = 2 * length + 2
        assert (words[0], words[end], words[end + 1]) == ("start", "=", str(answer))
        assert place == end + 1
        assert words[end + 2 :] == ["padding"] * (task.context - end - 2)
        expression = words[1:end]
        assert sum(word in "+-×" for word in expression) == length
        assert worked_out(expression, task.modulus)[0] == answer
        assert task.lengths[0] <= length <= task.lengths[1]
    assert made.tokens.shape == (NUMBER, task.context)


def test_lengths_operations_numbers_and_trees_are_spread_as_said():
    for task in (TASK, Mano(weighting="inverse_square")):
        length = np.asarray(mano_expressions(task, NUMBER, seed=2).length)
        weight = np.arange(1, 11.0) ** (-2 if task.weighting == "inverse_square" else 0)
        counts = np.bincount(length, minlength=11)[1:]
        assert stats.chisquare(counts, NUMBER * weight / weight.sum()).pvalue > 1e-3
    four = Mano(5, (4, 4))
    made = mano_expressions(four, NUMBER, seed=3)
    trees, words = collections.Counter(), collections.Counter()
    for tokens in np.asarray(made.tokens):
        expression = four.words(tokens).split()[1:10]
        trees[worked_out(expression, 5)[1]] += 1
        words.update(expression)
    assert len(trees) == math.comb(8, 4) // 5  # Catalan's number: every tree
    assert stats.chisquare(list(trees.values())).pvalue > 1e-3
    assert stats.chisquare([words[name] for name in "+-×"]).pvalue > 1e-3
    assert stats.chisquare([words[str(name)] for name in range(5)]).pvalue > 1e-3


def test_splits_and_seeds_share_nothing():
    kinds = [{"split": "training"}, {"split": "validation"}, {"split": "training", "seed": 1}]
    long = Mano(lengths=(10, 10))
    seen = [
        {tuple(row) for row in np.asarray(mano_expressions(long, NUMBER, **kind).tokens).tolist()} for kind in kinds
    ]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    again = mano_expressions(long, NUMBER, split="validation")
    assert {tuple(row) for row in np.asarray(again.tokens).tolist()} == seen[1]


def test_batches_are_the_validation_expressions():
    batches = mano_batches(TASK, NUMBER, NUMBER // 3, seed=4)
    whole = mano_expressions(TASK, NUMBER, seed=4, split="validation")
    assert len(batches) == 3
    np.testing.assert_array_equal(np.concatenate([batch["tokens"] for batch in batches]), whole.tokens)
    for batch in batches:
        taken = np.take_along_axis(batch["tokens"], batch["position"], axis=1)
        np.testing.assert_array_equal(taken, batch["token_id"])
        np.testing.assert_array_equal(batch["position"][:, 0], 2 * batch["domain"] + 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mano(modulus=1), "modulus: got 1, expected a whole number, 2 to 1021"),
        (lambda: Mano(modulus=23.0), "modulus: got 23.0"),
        (lambda: Mano(lengths=(0, 3)), "lengths: got 0, expected a whole number, 1 to 64"),
        (lambda: Mano(lengths=(4, 3)), "lengths: got 4 to 3, expected the least first"),
        (lambda: Mano(lengths=3), "lengths: got 3, expected the least and the greatest"),
        (lambda: Mano(weighting="cubic"), "weighting: got 'cubic', expected 'uniform' or 'inverse_square'"),
        (lambda: mano_expressions(TASK, 0), "number: got 0"),
        (lambda: mano_expressions(TASK, 5, split="test"), "split: got 'test', expected 'training' or 'validation'"),
        (lambda: mano_expressions(TASK, 5, seed=-2), "seed: got -2"),
        (lambda: mano_batches(TASK, 50, 20), "number: got 50, expected a multiple of the batch, 20"),
        (lambda: mano_batches(TASK, 50, 0), "batch: got 0"),
    ],
)
def test_bad_input_says_what_is_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
