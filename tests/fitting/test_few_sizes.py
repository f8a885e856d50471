"""Another number of curves compiles nothing and keeps nothing: a loop over documents runs in constant memory."""

import functools
import logging
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.fitting.planted import AXIS, CHECKPOINTS, ONE_START, SIGMOID, noisy, same_bits
from tsl_jax import curve_counts, fit, least_squares, position_law, profile_interval
from tsl_jax.fitting import few_sizes
from tsl_jax.fitting.least_squares.interface import MOST_PROGRAMS, _program

LOSSES = np.tile(noisy(), (40, 1))


@pytest.fixture
def compiled(caplog):
    """``compiled(act)``: names of the programs that an act makes JAX compile."""

    def names(act):
        caplog.clear()
        with caplog.at_level(logging.WARNING), jax.log_compiles():
            jax.block_until_ready(act())
        texts = [record.getMessage() for record in caplog.records]
        return [text for text in texts if text.startswith("Finished XLA compilation")]

    return names


def test_what_is_compiled_is_seen(compiled):
    assert compiled(lambda: jax.jit(lambda a: a * 3 + 1)(np.ones(7, "float32")))
    assert not compiled(lambda: np.ones(7))


def test_numbers_are_rounded_up_to_few():
    sizes = {few_sizes.padded_size(number) for number in range(1, few_sizes.MOST + 1)}
    assert len(sizes) < 40
    for number in (1, 256, 257, 1025, 5000, few_sizes.MOST):
        size = few_sizes.padded_size(number, 64)
        assert number <= size <= max(number + 255, 1.125 * number)
        assert few_sizes.padded_size(size, 64) == size


def law_of(losses):
    return position_law(np.arange(1.0, CHECKPOINTS + 1), losses)


ACTS = {
    "fit": lambda losses: fit(SIGMOID, AXIS, losses, options=ONE_START),
    "weights": lambda losses: fit(SIGMOID, AXIS, losses, np.ones(CHECKPOINTS), options=ONE_START),
    "profile_interval": lambda losses: profile_interval(SIGMOID, AXIS, losses, "final_loss", options=ONE_START),
    "position_law": law_of,
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_another_number_of_curves_compiles_nothing(act, compiled):
    for losses in (LOSSES[:17], LOSSES[:20].reshape(4, 5, -1)):
        act(losses)
    assert not compiled(lambda: [act(LOSSES[:number]) for number in (18, 19, 23, 31)])
    assert not compiled(lambda: [act(LOSSES[:number].reshape(3, number // 3, -1)) for number in (18, 21, 30)])
    assert not compiled(lambda: act(LOSSES[3]))


def test_nor_do_arrays_of_jax(compiled):
    losses = [jnp.asarray(LOSSES[:number]) for number in (17, 18, 19)]
    ACTS["fit"](losses[0])
    assert not compiled(lambda: [ACTS["fit"](each) for each in losses[1:]])


def test_nor_what_follows_from_a_fit(compiled):
    fits = [ACTS["fit"](LOSSES[:number]) for number in (17, 18, 30)]
    follow = [
        lambda fit: fit.predict(AXIS[:5]),
        lambda fit: fit.interval("sharpness"),
        lambda fit: fit.degrees_of_freedom,
        lambda fit: curve_counts(fit.status, fit.category),
    ]
    for act in follow:
        act(fits[0])
        assert not compiled(functools.partial(list, map(act, fits[1:])))


def test_many_curves_in_parts_are_the_same(monkeypatch):
    whole = ACTS["fit"](LOSSES)
    monkeypatch.setattr(sys.modules["tsl_jax.fitting.interface"], "most_rows", lambda options, checkpoints: 256)
    assert same_bits(ACTS["fit"](LOSSES), whole)


def test_results_lie_where_losses_were_put():
    placed = jax.device_put(LOSSES[:3], jax.devices()[-1])
    assert ACTS["fit"](placed).rss.devices() == placed.devices()
    assert ACTS["fit"](placed).rss.committed


def test_programs_of_least_squares_are_forgotten():
    _program.cache_clear()
    for _ in range(3):
        least_squares(lambda p: p - jnp.arange(3.0), np.zeros(1, "float32"))
    assert _program.cache_info().currsize == 3
    assert _program.cache_info().maxsize == MOST_PROGRAMS
