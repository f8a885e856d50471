"""Masked losses are not measured, and arguments in the wrong order or turned are said to be so."""

import jax.numpy as jnp
import numpy as np
import pytest
import zarr

import tsl_jax as tsl
from tsl_jax.store import StoreError

STEP = np.geomspace(1.0, 1e4, 30)
LOSSES = (2 + 3 * STEP**-0.4 * np.ones((5, 1))).astype("float32")
MASKED = np.ma.masked_array(np.where(LOSSES > 4.5, 1e20, LOSSES), LOSSES > 4.5)
GAPS = np.where(LOSSES > 4.5, np.nan, LOSSES)


def created(losses, **options):
    return tsl.create_losses(zarr.storage.MemoryStore(), losses, checkpoints={"step": STEP}, **options)


def test_what_is_masked_is_not_measured():
    np.testing.assert_array_equal(created(MASKED).read(), GAPS)
    imported = tsl.import_losses(MASKED, zarr.storage.MemoryStore(), steps=STEP)
    np.testing.assert_array_equal(imported.read(), GAPS)
    masked, gaps = (tsl.fit(tsl.PowerLaw(), STEP, losses) for losses in (MASKED, GAPS))
    np.testing.assert_array_equal(masked.num_points, [28] * 5)
    np.testing.assert_array_equal(masked.rss, gaps.rss)
    unmasked = np.ma.masked_array(LOSSES, np.zeros(LOSSES.shape, bool))
    np.testing.assert_array_equal(created(unmasked).read(), LOSSES)


def test_masks_where_there_is_no_nan():
    with pytest.raises(StoreError, match=r"tokens\['a'\]: got a masked array of dtype int64, which has no NaN"):
        created(LOSSES, tokens={"a": np.ma.masked_array(np.arange(5), [1, 0, 0, 0, 0])})
    with pytest.raises(ValueError, match=r"time: value nan at index 0 is not finite"):
        tsl.fit(tsl.PowerLaw(), np.ma.masked_array(STEP, STEP < 2), LOSSES)


def test_the_other_order_of_bytes_is_the_same():
    np.testing.assert_array_equal(created(LOSSES.astype(">f4")).read(), LOSSES)
    fits = [tsl.fit(tsl.PowerLaw(), STEP, LOSSES.astype(kind)).rss for kind in (">f4", "<f4")]
    np.testing.assert_array_equal(*fits)


@pytest.mark.parametrize(
    ("kind", "cure"),
    [(object, "float32"), (int, "losses in nat"), (complex, "real part"), (str, "convert the text")],
)
def test_other_kinds_of_numbers_are_refused_with_a_cure(kind, cure):
    losses = LOSSES.astype(kind)
    for take in (created, lambda losses: tsl.fit(tsl.PowerLaw(), STEP, losses)):
        with pytest.raises((TypeError, ValueError), match=rf"losses: got dtype .*expected .*{cure}"):
            take(losses)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tsl.fit(tsl.PowerLaw(), LOSSES, STEP), "time and losses seem to be swapped"),
        (lambda: tsl.fit(tsl.PowerLaw(), jnp.asarray(LOSSES), STEP), "time and losses seem to be swapped"),
        (lambda: tsl.fit(tsl.PowerLaw(), STEP, LOSSES.T), r"seem to be transposed.*pass losses\.T"),
        (lambda: tsl.fit(STEP, LOSSES, tsl.PowerLaw()), r"family: got ndarray of shape \(30,\), .*call fit\(family"),
        (lambda: created(LOSSES.T), r"seem to be transposed.*pass losses\.T"),
        (lambda: tsl.create_losses(LOSSES, "a", checkpoints={"step": STEP}), "store and losses seem to be swapped"),
        (lambda: tsl.import_losses("a", LOSSES), "source and out seem to be swapped"),
        (lambda: tsl.import_losses(LOSSES.T, zarr.storage.MemoryStore(), steps=STEP), "seems to be transposed"),
        (lambda: tsl.fit_store(LOSSES, "a", tsl.PowerLaw()), r"tsl_jax\.import_losses\(losses, path, steps=steps\)"),
        (lambda: tsl.open_losses(jnp.asarray(LOSSES)), r"tsl_jax\.import_losses\(losses, path, steps=steps\)"),
    ],
)
def test_arguments_in_the_wrong_place_are_said(call, said):
    with pytest.raises((TypeError, ValueError), match=said):
        call()
