"""Losses of a tiny model, collected: equal to a plain loop."""

import jax
import numpy as np
import pytest
import zarr
from tiny_model import VOCABULARY, logits_of, loss_fn, with_logits

import tsl_jax as tsl
from tsl_jax.collection import collect
from tsl_jax.store import StoreError, validate


def test_losses_and_coordinates_are_those_of_a_plain_loop(model, tmp_path):
    reports = []
    store = tsl.collect(
        loss_fn,
        model.checkpoints,
        model.batches,
        tmp_path / "losses.zarr",
        coordinates=lambda step: {"tokens_seen": 4096 * step},
        dtype="float32",
        attributes={"domains": ["a", "b", "c"]},
        progress=reports.append,
    )
    np.testing.assert_allclose(store.read(), model.expected, rtol=1e-5, atol=1e-6)
    rows, places = np.array(model.places).T
    expected = {"sequence": rows, "position": places, "token_id": model.text[rows, places + 1]}
    expected["domain"] = np.array([0, 1, 1, 0, 2])[rows]
    for name, values in expected.items():
        np.testing.assert_array_equal(store.read_coordinate(name), values)
    assert set(store.token_coordinates) == set(expected)
    assert store.axis("step").tolist() == [0, 100, 200, 400]
    assert store.axis("tokens_seen").tolist() == [0, 409600, 819200, 1638400]
    assert store.attributes["domains"] == ["a", "b", "c"]
    np.testing.assert_allclose([report.mean_loss for report in reports], model.expected.mean(0), rtol=1e-5)
    assert store.losses.chunks[1] == 4
    assert validate(tmp_path / "losses.zarr") == []
    assert sorted(path.name for path in (tmp_path / "losses.zarr").iterdir()) == sorted(
        ["domain", "losses", "mean_loss", "position", "sequence", "step", "token_id", "tokens_seen", "zarr.json"]
    )


def test_logits_mean_and_spread_leave_out_padding(model):
    store = collect(with_logits, model.checkpoints, model.batches, zarr.storage.MemoryStore(), logits=True)
    for column, (_, params) in enumerate(model.checkpoints):
        kept = np.concatenate([np.asarray(logits_of(params, batch))[batch["mask"]] for batch in model.batches])
        assert kept.shape == (len(model.expected), VOCABULARY)
        found = store.checkpoint_coordinates
        np.testing.assert_allclose(found["logit_mean"][column], kept.mean(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["logit_spread"][column], np.sqrt(kept.var(1).mean()), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(store.read(), model.expected, rtol=1e-3)
    assert store.losses.dtype == np.float16


def test_a_training_loop_is_a_generator_of_checkpoints(model):
    def train():
        params = model.checkpoints[0][1]
        for step in range(3):
            yield step, params
            params = jax.tree.map(lambda value: value + 0.5, params)

    store = collect(loss_fn, train(), lambda: iter(model.batches), zarr.storage.MemoryStore(), dtype="float32")
    np.testing.assert_allclose(store.read()[:, 0], model.expected[:, 0], rtol=1e-5)
    assert store.num_checkpoints == 3


def test_orbax_directories(model, tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint", reason="needs orbax-checkpoint (the extra orbax)")
    from tsl_jax.collection import orbax_checkpoints

    with ocp.CheckpointManager(tmp_path / "run") as manager:
        for step, params in model.checkpoints:
            manager.save(step, args=ocp.args.StandardSave({"params": params, "count": np.int32(step)}))
    found = orbax_checkpoints(tmp_path / "run", params=lambda saved: saved["params"])
    assert [checkpoint.step for checkpoint in found] == [0, 100, 200, 400]
    store = collect(loss_fn, found, model.batches, tmp_path / "losses", dtype="float32")
    np.testing.assert_allclose(store.read(), model.expected, rtol=1e-5, atol=1e-6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="holds no checkpoint"):
        orbax_checkpoints(tmp_path / "empty")
    with pytest.raises(StoreError, match="is no directory"):
        orbax_checkpoints(tmp_path / "absent")
