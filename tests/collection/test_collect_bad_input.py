"""What `collect` refuses, and in which words."""

import jax.numpy as jnp
import numpy as np
import pytest
import zarr
from tiny_model import loss_fn, with_logits

from tsl_jax.collection import collect
from tsl_jax.store import StoreError


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([0, 2, 1], "got step 100 after step 200.*out of order"),
        ([0, 1, 1], "got step 100 after step 100.*comes twice"),
        ([], "there was none"),
    ],
)
def test_checkpoints_out_of_order_or_twice(model, order, words):
    reports = []
    checkpoints = [model.checkpoints[i] for i in order]
    with pytest.raises(StoreError, match=words):
        collect(loss_fn, checkpoints, model.batches, zarr.storage.MemoryStore(), progress=reports.append)
    assert not reports, "a list is checked before anything is computed"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda params, batch: jnp.mean(loss_fn(params, batch)), r"float32\[\].*expected.*\(2, 8\).*not their mean"),
        (lambda params, batch: loss_fn(params, batch)[:, 1:], r"float32\[2, 7\].*expected.*\(2, 8\).*without it"),
        (lambda params, batch: loss_fn(params, batch).ravel(), r"float32\[16\].*expected.*\(2, 8\)"),
        (lambda params, batch: batch["token_id"], r"int32\[2, 8\].*floating-point"),
        (with_logits, r"returned \(float32\[2, 8\], float32\[2, 8, 7\]\), expected losses alone"),
    ],
)
def test_a_loss_function_of_the_wrong_shape(model, function, words):
    with pytest.raises(StoreError, match=words):
        collect(function, model.checkpoints, model.batches, zarr.storage.MemoryStore())


def test_logits_that_were_asked_for_and_did_not_come(model):
    with pytest.raises(StoreError, match=r"returned float32\[2, 8\], expected \(losses, logits\)"):
        collect(loss_fn, model.checkpoints, model.batches, zarr.storage.MemoryStore(), logits=True)


BATCH = {"token_id": np.zeros((2, 4), int)}


@pytest.mark.parametrize(
    ("batches", "error", "words"),
    [
        (iter([BATCH]), TypeError, "expected a list of batches, or a function"),
        (BATCH, TypeError, "expected a list of batches"),
        ([np.zeros((2, 4))], TypeError, r"batches\[0\]: got ndarray, expected a mapping"),
        ([{"text": np.zeros((2, 4))}], StoreError, "has 'text', expected 'token_id'"),
        ([{"token_id": np.zeros(4, int)}], StoreError, r"got shape \(4,\), expected \(sequences, positions\)"),
        ([BATCH | {"domain": np.zeros(3, int)}], StoreError, r"\['domain'\]: got shape \(3,\)"),
        ([BATCH | {"domain": np.zeros(2)}], StoreError, "got dtype float64, expected whole numbers"),
        ([BATCH | {"mask": np.zeros((2, 4), bool)}], StoreError, "without a token that counts"),
        ([BATCH | {"mask": [[5, -100, 7, 0]] * 2}], StoreError, r"\['mask'\]: holds 5, expected 0 .*labels != -100"),
        ([BATCH | {"mask": [[1, -100, 1, 0]] * 2}], StoreError, r"\['mask'\]: holds -100"),
        ([BATCH | {"mask": np.ones((2, 4))}], StoreError, "got dtype float64, expected whole numbers"),
        ([], StoreError, "got 0 batches"),
        ([BATCH, BATCH | {"domain": np.zeros(2, int)}], StoreError, r"batches\[1\]: records .*domain, expected"),
    ],
)
def test_batches_that_are_refused(batches, error, words):
    with pytest.raises(error, match=words):
        collect(loss_fn, [], batches, zarr.storage.MemoryStore())


@pytest.mark.parametrize(
    ("checkpoints", "words"),
    [([3], "got int, expected"), ([("a", {})], "got 'a' for a step"), ([(float("nan"), {})], "got nan for a step")],
)
def test_checkpoints_of_another_kind(model, checkpoints, words):
    with pytest.raises(TypeError, match=words):
        collect(loss_fn, checkpoints, model.batches, zarr.storage.MemoryStore())


def test_what_is_foreign_is_never_touched(model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"holds other files \(notes.txt\)"):
        collect(loss_fn, model.checkpoints, model.batches, tmp_path, overwrite=True)
    zarr.create_group(tmp_path / "other", attributes={"tsl_kind": "fits"})
    with pytest.raises(StoreError, match="holds tsl_kind='fits'"):
        collect(loss_fn, model.checkpoints, model.batches, tmp_path / "other", overwrite=True)
    with pytest.raises(StoreError, match="dtype: got int8"):
        collect(loss_fn, model.checkpoints, model.batches, tmp_path / "new", dtype="int8")
