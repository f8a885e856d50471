"""Losses of a tiny model, collected: equal to a plain loop, resumable, and refused where they would be wrong."""

import contextlib
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr
from tiny_model import VOCABULARY, logits_of, loss_fn, plain_loss, with_logits

import tsl_jax as tsl
from tsl_jax.collect import Checkpoint, collect
from tsl_jax.collect.job import run
from tsl_jax.store import ChangedError, StoreError, open_losses, validate


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


class PlainEvaluator:
    """Losses without JAX, for tests of what is on disk."""

    def prepare(self, params, tokens):
        return params

    def submit(self, params, tokens):
        return [
            [plain_loss(params, *pair) for pair in zip(*row, strict=True)]
            for row in zip(tokens.batch["before"], tokens.batch["token_id"], strict=True)
        ]

    def fetch(self, pending):
        return np.array(pending), None


def collect_plainly(checkpoints, batches, out):
    options = {"coordinates": None, "logits": False, "dtype": "float16", "attributes": None, "progress": None}
    return run(PlainEvaluator(), checkpoints, batches, out, overwrite=False, **options)


def test_killed_at_any_write_and_resumed_is_uninterrupted(model, tmp_path, kill_at, tree):
    loaded = []

    def checkpoints():
        def load(step, params):
            loaded.append(step)
            return params

        return (Checkpoint(step, lambda s=step, p=params: load(s, p)) for step, params in model.checkpoints[:2])

    count = kill_at(tmp_path / "whole", 0)
    collect_plainly(checkpoints(), model.batches, tmp_path / "whole")
    whole, writes = tree(tmp_path / "whole"), count()
    assert loaded == [0, 100]
    for k in range(1, writes + 1):
        path = tmp_path / f"killed{k}"
        kill_at(path, k)
        loaded.clear()
        with pytest.raises(kill_at.error):
            collect_plainly(checkpoints(), model.batches, path)
        with warnings.catch_warnings(), contextlib.suppress(StoreError):
            warnings.simplefilter("ignore")  # Zarr's about a folder that is half deleted
            assert open_losses(path).num_checkpoints == len(loaded) == 2, "what opens is whole"
        kill_at(path, 0)
        collect_plainly(checkpoints(), model.batches, path)
        assert tree(path) == whole
        assert len(loaded) <= 3, "only the checkpoint that was being written is computed again"


def test_later_checkpoints_go_on_from_a_finished_store(model, tmp_path, kill_at, tree):
    collect_plainly(model.checkpoints[:2], model.batches, tmp_path / "whole")
    whole = tree(tmp_path / "whole")
    count = kill_at(tmp_path / "parts", 0)
    collect_plainly(model.checkpoints[:1], model.batches, tmp_path / "parts")
    before = count()
    collect_plainly(model.checkpoints[1:2], model.batches, tmp_path / "parts")
    assert tree(tmp_path / "parts") == whole
    writes = count() - before
    collect_plainly(model.checkpoints[:1], model.batches, tmp_path / "first")
    for k in range(1, writes + 1, 3):
        path = tmp_path / f"killed{k}"
        shutil.copytree(tmp_path / "first", path)
        kill_at(path, k)
        with pytest.raises(kill_at.error):
            collect_plainly(model.checkpoints[:2], model.batches, path)
        kill_at(path, 0)
        collect_plainly(model.checkpoints[:2], model.batches, path)
        assert tree(path) == whole


def test_what_is_finished_is_handed_back(model, tmp_path, tree):
    collect(loss_fn, model.checkpoints, model.batches, tmp_path / "losses")
    before, reports = tree(tmp_path / "losses"), []
    store = collect(None_called, model.checkpoints, model.batches, tmp_path / "losses", progress=reports.append)
    assert all(report.resumed for report in reports)
    np.testing.assert_allclose([report.mean_loss for report in reports], model.expected.mean(0), rtol=1e-3)
    assert store.num_checkpoints == len(reports) == 4
    assert tree(tmp_path / "losses") == before


def None_called(params, batch):
    raise AssertionError("computed again")


def test_a_training_loop_is_a_generator_of_checkpoints(model):
    def train():
        params = model.checkpoints[0][1]
        for step in range(3):
            yield step, params
            params = jax.tree.map(lambda value: value + 0.5, params)

    store = collect(loss_fn, train(), lambda: iter(model.batches), zarr.storage.MemoryStore(), dtype="float32")
    np.testing.assert_allclose(store.read()[:, 0], model.expected[:, 0], rtol=1e-5)
    assert store.num_checkpoints == 3


def test_an_error_in_the_middle_keeps_what_was_collected(model, tmp_path):
    def checkpoints():
        yield from model.checkpoints[:3]
        yield model.checkpoints[1]

    reports = []
    with pytest.raises(StoreError, match=r"got step 100 after step 200.*kept"):
        collect(loss_fn, checkpoints(), model.batches, tmp_path / "losses")
    collect(loss_fn, model.checkpoints, model.batches, tmp_path / "losses", progress=reports.append)
    assert [report.resumed for report in reports] == [True, True, True, False]


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


def without(name):
    return lambda batches: [{key: value for key, value in batch.items() if key != name} for batch in batches]


def changed(batches):
    first = dict(batches[1], token_id=(batches[1]["token_id"] + 1) % VOCABULARY)
    return [batches[0], first, batches[2]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed, r"batches\[1\]: its arrays were others"),
        (lambda batches: batches[:2], "batches: were 3, now 2"),
        (without("mask"), r"batches\[0\]: had 15 tokens, now 16"),
        (without("domain"), "token_coordinates: was .*domain"),
    ],
)
def test_other_batches_are_refused_and_nothing_is_lost(model, tmp_path, change, words):
    with pytest.raises(RuntimeError, match="stopped"):
        collect(loss_fn, stopping(model.checkpoints[:2]), model.batches, tmp_path / "losses")
    with pytest.raises(ChangedError, match=words):
        collect(loss_fn, model.checkpoints, change(model.batches), tmp_path / "losses")
    store = collect(loss_fn, model.checkpoints, model.batches, tmp_path / "losses")
    np.testing.assert_allclose(store.read(), model.expected, rtol=1e-3, atol=1e-6)
    with pytest.raises(ChangedError, match="batches"):
        collect(loss_fn, model.checkpoints, change(model.batches), tmp_path / "losses")
    later = [(500, model.checkpoints[0][1])]
    with pytest.raises(ChangedError, match="dtype: was 'float16', now 'float32'"):
        collect(loss_fn, later, model.batches, tmp_path / "losses", dtype="float32")
    again = collect(loss_fn, model.checkpoints[:3], change(model.batches), tmp_path / "losses", overwrite=True)
    assert again.num_checkpoints == 3


def stopping(checkpoints):
    yield from checkpoints
    raise RuntimeError("stopped")


def test_a_step_before_those_collected_is_refused(model, tmp_path):
    collect(loss_fn, model.checkpoints[1:], model.batches, tmp_path / "losses")
    with pytest.raises(StoreError, match="got step 0 now, expected steps after 400"):
        collect(loss_fn, model.checkpoints, model.batches, tmp_path / "losses")
    assert open_losses(tmp_path / "losses").num_checkpoints == 3


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


def test_orbax_directories(model, tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint", reason="needs orbax-checkpoint (the extra orbax)")
    from tsl_jax.collect import orbax_checkpoints

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
