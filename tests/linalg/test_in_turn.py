"""No program of this package asks the CPU for a batched factorisation or transform: two at once can block for ever."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.spectrum.planted_tokens import LOG, mixed, spectrum_of
from tsl_jax.linalg.in_turn import signal_of, singular_values, sum_of_convolutions, transform
from tsl_jax.spectrum import bands, compare, decompose, fit_tail, forecast, implied_loss, pulse_modes

STEP = np.geomspace(1.0, 1000.0, 12)
LAST = LOG.axis(np.linspace(LOG.edges[0], LOG.edges[-1], 12))  # ends at the window's end to the last digit


def batched_calls(function, *args) -> list[str]:
    """Lines of the lowered program with a LAPACK call on more than a matrix, or an FFT of more than a signal."""
    text = jax.jit(function).lower(*args).as_text()
    found = []
    for line in text.splitlines():
        most = 2 if "custom_call @lapack" in line else 1 if "stablehlo.fft" in line else None
        if most is not None:
            # Leading dimensions of 1 are no batch.
            shapes = re.findall(r"tensor<((?:\d+x)+)(?:f32|f64|complex)", line)
            sizes = [[int(size) for size in shape.rstrip("x").split("x")] for shape in shapes]
            if any(np.prod(size[:-most], dtype=int) > 1 for size in sizes if len(size) > most):
                found.append(line.strip()[:200])
    return found


def test_the_search_finds_batched_calls():
    some, signals = jnp.ones((3, 4, 5)), jnp.ones((3, 8))
    assert batched_calls(jnp.linalg.svd, some)
    assert batched_calls(jax.vmap(jnp.linalg.qr), some)
    assert batched_calls(jnp.fft.rfft, signals)
    assert not batched_calls(jnp.linalg.svd, some[0])
    assert not batched_calls(jnp.fft.rfft, signals[0])


def everything(moments):
    losses = jnp.linspace(8.0, 4.0, len(STEP))
    modes = [pulse_modes(moments, resolution=8, modes=2, groups=groups) for groups in (None, 4)]
    return (
        [decompose(moments, weighting=weighting) for weighting in ("count", "drop")],
        compare(moments, STEP, losses, losses),
        implied_loss(moments, STEP),
        modes,
        fit_tail(moments, least_events=20),
        forecast(moments, LAST, losses, [2000.0], least_events=20).loss,
    )


def test_analyses_of_many_replicates_ask_for_one_at_a_time():
    moments = spectrum_of(LOG, mixed(LOG)).moments_by_resample()
    assert batched_calls(lambda m: jax.vmap(lambda one: everything(one))(m), moments) == []


def test_bands_of_any_function_ask_for_one_at_a_time():
    spectrum = spectrum_of(LOG, mixed(LOG))

    def factorised(moments):
        return jnp.linalg.svd(jnp.sum(moments.count, 0))[1]

    def banded(spectrum):
        return bands(factorised, spectrum, jax.random.key(0), replicates=20)

    assert batched_calls(banded, spectrum) == []


@pytest.mark.parametrize(
    ("one", "batch", "shape"),
    [
        (singular_values, functools.partial(np.linalg.svd, full_matrices=False), (3, 4, 6)),
        (lambda x: transform(x, 16), lambda x: np.fft.rfft(x, 16, axis=-1), (3, 9)),
        (lambda x: signal_of(transform(x, 8)), lambda x: x, (3, 8)),
    ],
)
def test_a_batch_in_turn_is_the_batch_at_once(one, batch, shape):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for ours, theirs in zip(jax.tree.leaves(jax.vmap(one)(values)), jax.tree.leaves(batch(values)), strict=True):
        # Singular vectors are known up to their signs.
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=2e-5)


def test_a_sum_of_convolutions_is_that_of_single_ones():
    rng = np.random.default_rng(1)
    signals, kernels = rng.standard_normal((2, 4, 8))
    ours = sum_of_convolutions(jnp.asarray(signals, jnp.float32), np.fft.rfft(kernels, 32, axis=1).astype(np.complex64))
    theirs = sum(np.convolve(a, b) for a, b in zip(signals, kernels, strict=True))
    np.testing.assert_allclose(ours[:15], theirs, atol=1e-5)
    np.testing.assert_allclose(ours[15:], 0, atol=1e-5)
