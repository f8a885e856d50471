"""Sampled tokens are those of the store, whatever its size."""

import numpy as np
import pytest

from tests.planted_store import planted_columns, write_fit_store
from tsl_jax.jobs import predict_store
from tsl_jax.jobs.token_sample import sample_tokens
from tsl_jax.store import open_losses


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    fits = write_fit_store(folder, planted_columns(3000), coordinates={"place": np.arange(3000)}, chunk=100)
    return fits, open_losses(folder / "losses.zarr")


@pytest.mark.parametrize("most", [1, 7, 100, 3000, 10**6])
def test_a_sample_is_spread_and_true(store, most):
    fits, losses = store
    found = sample_tokens(fits, losses, most=most)
    token, stored = found.token, fits.read()
    assert len(token) <= most
    assert len(token) > 0.6 * min(most, 3000)
    assert np.all(np.diff(token) > 0)
    assert found.whole == (most >= 3000)
    if most > 50:
        assert np.diff([-1, *token, 3000]).max() < 3000 / 10
    np.testing.assert_array_equal(found.coordinates["place"], token)
    np.testing.assert_array_equal(found.fits.params["sharpness"], stored.params["sharpness"][token])
    np.testing.assert_array_equal(found.fits.probabilities["learned"], stored.probabilities["learned"][token])
    np.testing.assert_array_equal(found.losses, losses.read()[token][:, 1:].astype("float32"))
    np.testing.assert_allclose(found.fitted, predict_store(fits, found.axis)[token], rtol=1e-6)


def test_a_store_without_tokens(tmp_path):
    columns = {name: values[:0] for name, values in planted_columns(10).items()}
    fits = write_fit_store(tmp_path, columns, losses=np.ones((0, 10)))
    found = sample_tokens(fits, open_losses(tmp_path / "losses.zarr"))
    assert found.whole
    assert found.losses.shape == found.fitted.shape == (0, 9)
