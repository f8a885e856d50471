"""Losses copied by workers: the files of one process, whatever order blocks come in and whoever is killed."""

import itertools
import pickle
import random

import numpy as np
import pytest
import zarr

from tests.kills import Killed, tree
from tests.store.test_rechunk import columns_store
from tsl_jax.store import ChunkError, LockedError, StoreError, import_losses, locate, rechunk, writer_lock
from tsl_jax.store.imports.sources import find_losses
from tsl_jax.store.run_mark import begin_run
from tsl_jax.stream import copies
from tsl_jax.stream.outcomes import WorkerError

TOKENS, STEPS = 30, (1, 2, 4)
LAYOUT = {"chunk_tokens": 2, "shard_tokens": 4, "memory": 2 * 4 * len(STEPS) * 4}
LOSSES = np.random.default_rng(1).normal(size=(TOKENS, len(STEPS))).astype("float32")


class Elsewhere:
    """Workers that see what can be sent to them, do it in any order, and some of it twice."""

    count, lost = 3, 0
    reduce = call = None
    dumps = staticmethod(pickle.dumps)

    def __init__(self, seed=0):
        self.choice, self.tasks = random.Random(seed), []

    def each(self, function, items, *, name, again):
        coming, under_way = enumerate(items), []
        while under_way := [*under_way, *itertools.islice(coming, 5 - len(under_way))]:
            index, item = under_way.pop(self.choice.randrange(len(under_way)))
            for task in (item, again(item))[: self.choice.choice((1, 2))]:
                self.tasks.append(task)
                result = pickle.loads(pickle.dumps(function))(pickle.loads(pickle.dumps(task)))
            yield index, result


@pytest.fixture
def source(tmp_path):
    return columns_store(tmp_path / "source", LOSSES).location.name


@pytest.fixture
def whole(source, tmp_path):
    rechunk(source, tmp_path / "whole", **LAYOUT)
    return tree(tmp_path / "whole")


def rewrite(tmp_path, client, told=None, target="made", **options):
    layout = LAYOUT | options
    return rechunk(str(tmp_path / "source"), tmp_path / target, **layout, progress=told, client=client)


@pytest.mark.parametrize("seed", range(3))
def test_the_files_are_those_of_one_process(source, whole, tmp_path, seed):
    seen = []
    rewrite(tmp_path, Elsewhere(seed), lambda *done: seen.append(done))
    assert tree(tmp_path / "made") == whole
    assert seen == [(min(stop, TOKENS), TOKENS) for stop in range(4, TOKENS + 4, 4)]


@pytest.mark.parametrize("workers", [True, False])
def test_a_driver_that_was_killed_goes_on(source, whole, tmp_path, workers):
    def kill(done, _):
        if done >= 12:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsl_jax.store.run_mark.end_runs", lambda _: None)  # a process that is gone ends nothing
        with pytest.raises(Killed):
            rewrite(tmp_path, Elsewhere(), kill)
    again = Elsewhere(1)
    rewrite(tmp_path, again if workers else None)
    assert tree(tmp_path / "made") == whole
    assert all(task.rows[0] >= 12 for task in again.tasks)


def test_sources_of_many_files_are_opened_by_each_worker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for step, column in zip(STEPS, LOSSES.T, strict=True):
        np.save(f"step{step}.npy", column)
    files, layout = [f"step{step}.npy" for step in STEPS], LAYOUT
    import_losses(files, "one", **layout, tokens={"token_id": np.arange(TOKENS)})
    import_losses(files, "many", **layout, tokens={"token_id": np.arange(TOKENS)}, client=Elsewhere())
    assert tree(tmp_path / "many") == tree(tmp_path / "one")


def test_what_workers_cannot_read_is_refused_before_anything_is_written(source, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("step1,step2\n1.0,0.5\n2.0,1.5\n")
    with pytest.raises(StoreError, match=r"table\.csv: is a table.*expected arrays.*--workers"):
        import_losses(table, tmp_path / "made", client=Elsewhere())
    with pytest.raises(StoreError, match="source: got a ndarray, which other processes do not see"):
        import_losses(LOSSES, tmp_path / "made", steps=STEPS, client=Elsewhere())
    with pytest.raises(StoreError, match="target: got a MemoryStore, which other processes do not see"):
        rechunk(source, zarr.storage.MemoryStore(), client=Elsewhere())
    assert not (tmp_path / "made").exists()


def test_a_bad_chunk_is_named_and_the_run_goes_on_where_it_was(source, whole, tmp_path):
    path = tmp_path / "source/losses/c/4/1"
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    with pytest.raises(ChunkError, match=r"losses/c/4/1.*goes on where it was"):
        rewrite(tmp_path, Elsewhere())
    assert not (tmp_path / "made/rechunking/ledger/run").exists()
    path.write_bytes(content)
    rewrite(tmp_path, Elsewhere())
    assert tree(tmp_path / "made") == whole


def test_workers_of_another_run_version_or_source_write_nothing(source, whole, tmp_path, monkeypatch):
    def stop(done, _):
        raise Killed

    workers = Elsewhere()
    with pytest.raises(Killed):
        rewrite(tmp_path, workers, stop)
    late, before = workers.tasks[0], tree(tmp_path / "made")
    with pytest.raises(LockedError, match="has ended"):
        copies.copy_rows(late)
    place = locate(tmp_path / "made/rechunking", writable=True)
    with writer_lock(place):
        begin_run(place)
        with pytest.raises(LockedError, match="another has taken over"):
            copies.copy_rows(late)
    monkeypatch.setattr(copies, "package_version", lambda: "9.9")
    with pytest.raises(WorkerError, match=r"the run 9\.9: install the same version"):
        rewrite(tmp_path, Elsewhere())
    monkeypatch.undo()
    seen = {"source": str(tmp_path / "moved"), "target": str(tmp_path / "made")}
    monkeypatch.setattr(copies, "from_anywhere", lambda name, _: seen[name])
    with pytest.raises(StoreError, match=r"moved.*This worker does not see it"):
        rewrite(tmp_path, Elsewhere())
    columns_store(tmp_path / "moved", LOSSES[:20])
    with pytest.raises(StoreError, match=r"made for losses of shape \(30, 3\), and this worker finds \(20, 3\)"):
        rewrite(tmp_path, Elsewhere())
    assert {name: whole[name] for name in before if name in whole and name.startswith("losses/c")} == {
        name: content for name, content in before.items() if name.startswith("losses/c")
    }


def test_a_source_that_cannot_be_sent_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"source: .* cannot be sent to workers \(.*lambda"):
        copies.copied_by_workers(Elsewhere(), (lambda path: find_losses(path, None), "a"), tmp_path / "made")
