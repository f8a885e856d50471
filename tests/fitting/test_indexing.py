"""Fits as sequences of curves: length, rows, a line of words."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tsl_jax as tsl

STEP = np.geomspace(1.0, 1000.0, 20)
EVENTS = np.geomspace(20.0, 200.0, 6)


@pytest.fixture(scope="module")
def fit():
    losses = 1.0 + 6.0 / (1.0 + (STEP / EVENTS[:, None]) ** 2)
    return tsl.fit(tsl.Sigmoid(), STEP.astype("float32"), losses.astype("float32"))


@pytest.mark.parametrize(
    "index",
    [3, -1, np.int64(2), slice(2, 5), slice(None, None, -2), [4, 0, 4], EVENTS > 60, jnp.arange(2), np.zeros(6, bool)],
    ids=str,
)
def test_rows_are_those_of_the_arrays(fit, index):
    some = fit[index]
    index = np.asarray(index) if isinstance(index, jax.Array) else index
    assert some.family == fit.family
    for mine, whole in zip(jax.tree.leaves(some), jax.tree.leaves(fit), strict=True):
        assert isinstance(mine, jax.Array)
        assert mine.dtype == whole.dtype
        np.testing.assert_array_equal(mine, np.asarray(whole)[index])


@pytest.mark.parametrize("index", [True, np.True_, False, None])
def test_a_truth_is_no_row(fit, index):
    assert fit[index].status.shape == np.zeros(6)[index].shape


def test_length_is_that_of_the_arrays(fit):
    assert len(fit) == len(fit.rss) == 6
    assert len(fit[:2]) == 2
    assert [float(one.rss) for one in fit] == fit.rss.tolist()
    with pytest.raises(TypeError, match="single curve, which has no length"):
        len(fit[0])
    assert fit[0]
    assert fit[:0]


def test_one_curve_still_predicts_and_has_intervals(fit):
    np.testing.assert_allclose(fit[2].predict(STEP), fit.predict(STEP)[2], rtol=1e-6)
    np.testing.assert_allclose(fit[2].interval("loss_drop").lower, fit.interval("loss_drop").lower[2])


@pytest.mark.parametrize(
    ("index", "error", "says"),
    [
        (6, IndexError, "got index 6, expected one from -6 to 5"),
        (-7, IndexError, "got index -7"),
        (np.ones(5, bool), IndexError, "boolean index did not match"),
        ("rss", TypeError, r"fit.params\['rss'\]"),
    ],
)
def test_rows_that_are_not_there(fit, index, error, says):
    with pytest.raises(error, match=says):
        fit[index]


def test_far_times_keep_their_digits():
    time = 2.0**24 + np.arange(40.0)
    losses = 1 + 4 / (1 + np.exp(0.5 * (time - 2.0**24 - 20.25)))
    far = tsl.fit(tsl.Sigmoid("linear"), time, losses[None])
    assert far[0].params["learning_time"].dtype == np.float64
    assert far[0].params["learning_time"] == far.params["learning_time"][0]


def test_rows_within_a_program(fit):
    some = jax.jit(lambda fit: fit[1:3])(fit)
    np.testing.assert_array_equal(some.rss, fit.rss[1:3])
    with pytest.raises(IndexError):
        jax.jit(lambda fit: fit[6])(fit)


def test_a_line_says_what_it_is(fit):
    assert repr(fit) == "Fit(Sigmoid(scale='log'), 6 curves; 6 CONVERGED; 6 LEARNED)"
    assert "shape ()" in repr(fit[0])
    drop = fit.params["loss_drop"].at[:2].multiply(-1)
    forgotten = dataclasses.replace(fit, params=fit.params | {"loss_drop": drop})
    assert repr(forgotten) == "Fit(Sigmoid(scale='log'), 6 curves; 6 CONVERGED; 6 LEARNED (2 rising))"
    assert repr(jax.eval_shape(lambda: fit)) == "Fit(Sigmoid(scale='log'), 6 curves)"
    assert "None" in repr(jax.tree.map(lambda _: None, fit))
    seen = []
    jax.jit(lambda fit: seen.append(repr(fit)))(fit)
    assert seen == ["Fit(Sigmoid(scale='log'), 6 curves)"]
