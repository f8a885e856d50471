"""Collecting goes on where it was: killed at any write, with more checkpoints, never with other batches."""

import contextlib
import itertools
import pickle
import random
import shutil
import warnings

import numpy as np
import pytest
from tiny_model import VOCABULARY, loss_fn, plain_loss, with_logits

from tsl_jax.collection import Checkpoint, collect
from tsl_jax.collection.job import run
from tsl_jax.store import ChangedError, StoreError, open_losses


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


def test_an_error_in_the_middle_keeps_what_was_collected(model, tmp_path):
    def checkpoints():
        yield from model.checkpoints[:3]
        yield model.checkpoints[1]

    reports = []
    with pytest.raises(StoreError, match=r"got step 100 after step 200.*kept"):
        collect(loss_fn, checkpoints(), model.batches, tmp_path / "losses")
    collect(loss_fn, model.checkpoints, model.batches, tmp_path / "losses", progress=reports.append)
    assert [report.resumed for report in reports] == [True, True, True, False]


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


class Elsewhere:
    """Workers that see what can be sent to them, and do it in any order; the driver dies after some tasks."""

    count, lost = 2, 0
    reduce = call = None
    dumps = staticmethod(pickle.dumps)

    def __init__(self, dies_after=None):
        self.left, self.choice = dies_after, random.Random(0)

    def each(self, function, items, *, name, again):
        coming, under_way = enumerate(items), []
        while under_way := [*under_way, *itertools.islice(coming, 2 - len(under_way))]:
            if self.left == 0:
                raise RuntimeError("the driver is gone")
            self.left = None if self.left is None else self.left - 1
            index, item = under_way.pop(self.choice.randrange(len(under_way)))
            task = pickle.loads(pickle.dumps(again(item)))
            yield index, pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(function))(task)))


def test_workers_measure_the_losses_of_one_process(model, tmp_path, tree):
    collect(with_logits, model.checkpoints, model.batches, tmp_path / "one", logits=True)
    options = {"logits": True, "client": Elsewhere(dies_after=7)}  # of 12: three batches of four checkpoints
    with pytest.raises(RuntimeError, match="gone"):
        collect(with_logits, model.checkpoints, model.batches, tmp_path / "many", **options)
    reports = []
    options["client"] = Elsewhere()
    collect(with_logits, model.checkpoints, model.batches, tmp_path / "many", **options, progress=reports.append)
    assert [report.resumed for report in reports] == [True, True, False, False]
    assert tree(tmp_path / "many") == tree(tmp_path / "one")


def test_a_loss_function_that_cannot_be_sent_is_named(model, tmp_path):
    with pytest.raises(StoreError, match=r"loss_fn: .* cannot be sent to workers \(.*lambda.*Define it at the top"):
        collect(lambda *_: 0, model.checkpoints, model.batches, tmp_path / "losses", client=Elsewhere())
