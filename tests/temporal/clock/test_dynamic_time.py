"""Dynamic time against plain sums, and schedules from callables, rates and recorded rows."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from tsl_jax.store import read_loss_curve
from tsl_jax.temporal import Schedule, lr_sum, schedule_from_optax, schedule_from_rates, schedule_from_records

OPTAX = {
    "constant": optax.constant_schedule(3e-4),
    "cosine": optax.warmup_cosine_decay_schedule(0.0, 1e-3, 100, 1000, 1e-4),
    "joined": optax.join_schedules(
        [optax.linear_schedule(0.0, 1e-3, 50), optax.exponential_decay(1e-3, 100, 0.5)], [50]
    ),
    "steps": optax.piecewise_constant_schedule(1e-3, {300: 0.1, 600: 0.5}),
}


@pytest.mark.parametrize("name", OPTAX)
def test_lr_sum_is_the_sum_of_an_optax_schedule(name):
    schedule = schedule_from_optax(OPTAX[name], 1000)
    rates = [float(OPTAX[name](count)) for count in range(1000)]
    steps = np.array([0, 1, 2, 99, 100, 101, 640, 1000])
    np.testing.assert_allclose(lr_sum(schedule, steps), [math.fsum(rates[:t]) for t in steps], rtol=1e-6)


def test_plain_python_schedules_work():
    def halving(count):
        return 0.5 if count < 3 else 0.25  # decides by the value, which JAX cannot trace

    np.testing.assert_allclose(lr_sum(schedule_from_optax(halving, 5), [3, 5]), [1.5, 2.0])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=40).filter(any))
def test_lr_sum_of_rates_is_their_running_sum(rates):
    sums = lr_sum(schedule_from_rates(rates), np.arange(len(rates) + 1))
    np.testing.assert_allclose(sums, [math.fsum(rates[:t]) for t in range(len(rates) + 1)], rtol=1e-12)
    assert np.all(np.diff(sums) >= 0)


def test_long_sums_keep_their_digits():
    rates = np.random.default_rng(0).uniform(1e-5, 1e-3, 1_000_000)
    assert float(lr_sum(schedule_from_rates(rates), 1_000_000)) == pytest.approx(math.fsum(rates), rel=1e-13)


def test_lr_sum_works_on_traced_rates():
    slope = jax.grad(lambda rates: lr_sum(Schedule(rates), np.array([2, 3])).sum())(jnp.ones(4))
    np.testing.assert_array_equal(slope, [2.0, 2.0, 1.0, 0.0])


def test_the_stores_lr_sum_is_this_one(real_lm):
    store = zarr.open_group(real_lm, mode="r")
    schedule = schedule_from_rates(store["learning_rate"][:])
    np.testing.assert_allclose(lr_sum(schedule, store["step"][:]), store["lr_sum"][:], rtol=1e-6)


# Recorded rows


def test_rows_with_a_warm_up_left_out_give_the_whole_schedule():
    exact = schedule_from_optax(optax.warmup_constant_schedule(0.0, 0.5, 20), 100)
    rows = np.array([20, 50, 100])
    again = schedule_from_records(rows, np.full(3, 0.5), warmup_steps=20)
    np.testing.assert_allclose(again.learning_rate, exact.learning_rate, atol=1e-7)


def test_rows_between_are_linear_and_lone_jumps_stay_jumps():
    count = np.arange(200)
    exact = np.where(count < 120, 1.0 - 0.002 * count, 0.2)
    rows = np.array([0, 40, 80, 100, 120, 160, 199])
    again = schedule_from_records(rows, exact[rows]).learning_rate
    held = (count[:199] >= 100) & (count[:199] < 120)  # the interval of the jump: held until its end
    np.testing.assert_allclose(again[~held], exact[:199][~held], atol=1e-12)
    np.testing.assert_allclose(again[held], exact[100])


def test_a_jump_up_is_a_jump_too():
    rates = schedule_from_records([0, 10, 20, 30, 40], [0.1, 0.1, 0.1, 0.4, 0.4]).learning_rate
    np.testing.assert_array_equal(np.unique(rates), [0.1, 0.4])


def test_the_end_of_a_warm_up_is_no_jump():
    rates = schedule_from_records([0, 10, 20, 30, 40, 50], [0.0, 0.1, 0.2, 0.2, 0.2, 0.2]).learning_rate
    np.testing.assert_allclose(np.diff(rates[:20]), 0.01, atol=1e-12)


def test_one_row_holds_its_rate():
    np.testing.assert_array_equal(schedule_from_records([5], [0.3], warmup_steps=0).learning_rate, np.full(5, 0.3))


def test_real_rows_give_back_their_schedules(loss_curves):
    """Schedules as the curves' authors define them, from files that leave the warm-up out."""
    count = np.arange(72_000)
    warm = np.minimum(count / 2160, 1.0)
    cosine = 3e-5 + 2.7e-4 * (1 + np.cos(np.pi * np.maximum(count - 2160, 0) / (72_000 - 2160))) / 2
    exact = {"cosine_72000": cosine, "wsdcon_3": np.where(count < 8000, 3e-4, 3e-5)}
    for name, rates in exact.items():
        rows = read_loss_curve(loss_curves / "25" / f"{name}.csv")
        again = schedule_from_records(rows.step, rows.learning_rate, warmup_steps=2160)
        known = (warm * rates)[: again.num_steps]
        np.testing.assert_allclose(again.learning_rate, known, rtol=1e-4, atol=1e-8 if name == "cosine_72000" else 0)


# Bad input


def test_rows_from_step_1_say_enough():
    np.testing.assert_array_equal(schedule_from_records([1, 2, 3], [0.1, 0.2, 0.3]).learning_rate, [0.1, 0.1, 0.2])


@pytest.mark.parametrize("first", [0, 1, 20, 40, 80, 100])
@pytest.mark.parametrize("spacing", [1, 20, 35])
def test_a_warmup_is_as_long_as_said_wherever_the_rows_begin(first, spacing):
    exact, rows = 1.2e-4 * np.minimum(np.arange(300) / 80, 1), np.arange(first, 300, spacing)
    again = schedule_from_records(rows, exact[rows], warmup_steps=80)
    np.testing.assert_allclose(again.learning_rate, exact[: rows[-1]], rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedule_from_rates([]), "learning_rate: got shape"),
        (lambda: schedule_from_rates([0.1, np.nan]), "at update 2"),
        (lambda: schedule_from_rates([0.1, -0.1]), "0 or above"),
        (lambda: schedule_from_rates([0.0, 0.0]), "all rates are 0"),
        (lambda: schedule_from_optax(lambda count: 0.1, 0), "num_steps"),
        (lambda: lr_sum(schedule_from_rates([0.1]), [1, 2]), "shorter than the run"),
        (lambda: lr_sum(schedule_from_rates([0.1]), -1), "expected 0 to 1"),
        (lambda: schedule_from_records([100, 200], [0.1, 0.1]), "warmup_steps: the rows begin at step 100"),
        (lambda: schedule_from_records([100, 200], [0.1, 0.1], warmup_steps=-1), "warmup_steps: got -1"),
        (lambda: schedule_from_records([100, 200], [0.1, 0.1], warmup_steps=300), "got 300, but the rates do not rise"),
        (lambda: schedule_from_records([0, 200], [0.1, 0.1], num_steps=201), "shorter than the run"),
        (lambda: schedule_from_records([0, 200], [0.1]), "one a row"),
        (lambda: schedule_from_records([0, 200, 200], [0.1] * 3), "twice"),
        (lambda: schedule_from_records([0, 300, 200], [0.1] * 3), "after 300"),
        (lambda: schedule_from_records([0, 1.5], [0.1] * 2), "whole numbers"),
        (lambda: schedule_from_records([0, np.nan], [0.1] * 2), "in row 1"),
        (lambda: schedule_from_records([0, 200], [0.1, np.inf]), "at update 2"),
    ],
)
def test_bad_schedules_say_what_to_do(make, message):
    with pytest.raises(ValueError, match=message):
        make()
