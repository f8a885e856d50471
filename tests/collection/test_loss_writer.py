"""Losses written while a model trains: from ranks, after kills and restarts, of the same tokens at every checkpoint."""

import concurrent.futures
import contextlib
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from tests.kills import Killed
from tsl_jax.cli import app
from tsl_jax.collection import LossWriter, RestartWarning
from tsl_jax.store import ChangedError, LockedError, StoreError, import_losses, open_losses
from tsl_jax.store.checkpoint_ledger import counting_columns
from tsl_jax.store.importing import LossImportWarning
from tsl_jax.store.imports.zarr_places import open_by_rank

SEQUENCES, POSITIONS = 7, 5
IDS = np.random.default_rng(0).integers(0, 90, (SEQUENCES, POSITIONS))
MASK = np.random.default_rng(1).random((SEQUENCES, POSITIONS)) > 0.2


def losses_at(step):
    return np.random.default_rng(step).normal(3, 1, (SEQUENCES, POSITIONS)).astype("float32")


def share(step, rank, ranks, order=None):
    """What a DistributedSampler without shuffling deals to a rank, repeated from the first where it does not go up."""
    size = -(-SEQUENCES // ranks)
    sequences = (rank + ranks * np.arange(size)) % SEQUENCES
    sequences = sequences if order is None else sequences[order]
    batch = {"token_id": IDS[sequences], "mask": MASK[sequences], "sequence": sequences}
    return batch, losses_at(step)[sequences]


def write(out, steps, ranks=2, **options):
    with contextlib.ExitStack() as held:
        writers = [
            held.enter_context(LossWriter(out, rank=rank, ranks=ranks, dtype="float32", **options))
            for rank in range(ranks)
        ]
        for step in steps:
            for rank, writer in enumerate(writers):
                writer.write(step, *share(step, rank, ranks), tokens_seen=1000 * step)


def whole(steps):
    return np.stack([losses_at(step)[MASK] for step in steps], axis=1)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_all_tokens_once_and_in_order_whatever_the_ranks(tmp_path, ranks):
    write(tmp_path / "by_step", (10, 20, 40), ranks, attributes={"domains": ["news"]})
    store = import_losses(tmp_path / "by_step", tmp_path / "losses.zarr")
    np.testing.assert_array_equal(store.read(), whole((10, 20, 40)))
    np.testing.assert_array_equal(store.read_coordinate("token_id"), IDS[MASK])
    np.testing.assert_array_equal(store.read_coordinate("sequence"), np.nonzero(MASK)[0])
    np.testing.assert_array_equal(store.read_coordinate("position"), np.nonzero(MASK)[1])
    assert store.axis("tokens_seen").tolist() == [10_000, 20_000, 40_000]
    assert store.attributes["domains"] == ["news"]
    assert np.issubdtype(store.checkpoint_coordinates["step"].dtype, np.integer)


def test_blocks_of_tokens_are_read_as_the_whole(tmp_path):
    write(tmp_path / "by_step", (1, 2), 3)
    found = open_by_rank(tmp_path / "by_step")
    for start in range(0, int(MASK.sum()), 4):
        block = found.losses.read(start, min(start + 4, found.losses.shape[0]), slice(0, 2))
        np.testing.assert_array_equal(block, whole((1, 2))[start : start + 4])


def test_batches_in_any_order_are_the_same_checkpoint(tmp_path):
    order = np.random.default_rng(3).permutation(SEQUENCES)
    with LossWriter(tmp_path / "by_step", dtype="float32") as writer:
        writer.write(1, *share(1, 0, 1))
        with writer.checkpoint(2) as rows:
            batch, losses = share(2, 0, 1, order)
            for part in (slice(0, 3), slice(3, None)):
                rows.add({name: values[part] for name, values in batch.items()}, losses[part])
        store = writer.to_store(tmp_path / "losses.zarr")
    np.testing.assert_array_equal(store.read(), whole((1, 2)))


def test_other_tokens_are_refused_and_the_first_named(tmp_path):
    with LossWriter(tmp_path / "by_step") as writer:
        batch, losses = share(1, 0, 1)
        writer.write(1, batch, losses)
        other = batch["token_id"].copy()
        at = int(np.flatnonzero(MASK.ravel())[4])
        other.flat[at] += 1
        words = rf"token_id: of 1 tokens another, first of token 4 .*was {IDS.flat[at]}, now {IDS.flat[at] + 1}"
        with pytest.raises(ChangedError, match=words):
            writer.write(2, {**batch, "token_id": other}, losses)
        with pytest.raises(ChangedError, match=rf"tokens of this rank: were {MASK.sum()}, now {MASK[:-1].sum()}"):
            writer.write(2, {name: values[:-1] for name, values in batch.items()}, losses[:-1])
        with pytest.raises(ChangedError, match=r"was .*now .*domain"):
            writer.write(2, {**batch, "domain": np.zeros(SEQUENCES, int)}, losses)
        with pytest.raises(ChangedError, match="tokens_seen"):
            writer.write(2, batch, losses, tokens_seen=3)
        assert writer.steps == [1]


def test_a_restart_sets_the_later_checkpoints_aside_and_says_so(tmp_path, tree):
    out = tmp_path / "by_step"
    write(out, (10, 20, 30, 40))
    before = tree(out)
    with pytest.raises(StoreError, match=r"holds checkpoints up to step 40. Give start="):
        LossWriter(out, rank=0, ranks=2, dtype="float32")
    with pytest.warns(RestartWarning, match=r"from step 25, before 2 checkpoints .*\(steps 30, 40\)"):
        write(out, (30, 50), start=25)
    store = import_losses(out, tmp_path / "losses.zarr")
    np.testing.assert_array_equal(store.read(), whole((10, 20, 30, 50)))
    assert store.attributes["restarted_from"] == [25]
    chunks = {name: content for name, content in before.items() if "/c/" in name}
    assert chunks.items() <= tree(out).items()  # nothing that was written is another
    write(out, (60,), start=50)  # no restart: nothing is later


def test_a_checkpoint_that_is_there_is_kept_and_a_difference_said(tmp_path):
    with LossWriter(tmp_path / "by_step", dtype="float32") as writer:
        batch, losses = share(1, 0, 1)
        writer.write(1, batch, losses)
        writer.write(1, batch, losses)
        with pytest.warns(RestartWarning, match=r"step 1 is written already, and is kept; .*differ by up to 0\.5 nat"):
            writer.write(1, batch, losses + 0.5)
        with pytest.raises(StoreError, match="got step 0 after step 1"):
            writer.write(0, batch, losses)
        np.testing.assert_array_equal(writer.to_store(tmp_path / "losses").read(), whole((1,)))


def test_which_columns_count():
    assert counting_columns([], []) == []
    assert counting_columns([1, 2, 3], []) == [0, 1, 2]
    assert counting_columns([1, 2, 3, 2, 3, 3], [(3, 1), (5, 2.5)]) == [0, 3, 5]
    assert counting_columns([1, 2, 3], [(3, 0)]) == []
    assert counting_columns([1, 2, 3], [(3, 2), (3, 1)]) == [0]


def test_a_checkpoint_that_one_rank_lacks_is_left_out_and_said(tmp_path):
    out = tmp_path / "by_step"
    write(out, (10, 20))
    with LossWriter(out, rank=1, ranks=2, dtype="float32", start=20) as writer:
        writer.write(30, *share(30, 1, 2), tokens_seen=30_000)
    with pytest.warns(LossImportWarning, match="steps 30 were not written by all of the 2 ranks"):
        store = import_losses(out, tmp_path / "losses.zarr")
    np.testing.assert_array_equal(store.read(), whole((10, 20)))


def test_a_kill_at_any_moment_leaves_no_half_checkpoint(tmp_path, kill_at):
    out = tmp_path / "by_step"
    write(out, (10, 20))
    count = kill_at(out, 0)
    shutil.copytree(out, tmp_path / "copy")
    write(out, (30,), start=20)
    changes = count()
    assert changes > 4
    for k in range(1, changes + 1):
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "copy", out)
        kill_at(out, k)
        with pytest.raises(Killed):
            write(out, (30,), start=20)
        kill_at(out, 0)
        with warnings.catch_warnings():  # rank 0 may have written it: that is set aside
            warnings.simplefilter("ignore", RestartWarning)
            write(out, (30,), start=20)
        found = open_by_rank(out)
        np.testing.assert_array_equal(found.losses.read(0, found.losses.shape[0], slice(0, 3)), whole((10, 20, 30)))


def test_a_kill_in_the_first_checkpoint_or_before_it(tmp_path, kill_at):
    count = kill_at(tmp_path, 0)
    write(tmp_path / "once", (10,))
    for k in range(1, count() + 1):
        out = tmp_path / f"out{k}"
        kill_at(tmp_path, k)
        with pytest.raises(Killed):
            write(out, (10,))
        kill_at(tmp_path, 0)
        write(out, (10,), start=10)  # the rank that has written it keeps it
        found = open_by_rank(out)
        np.testing.assert_array_equal(found.losses.read(0, found.losses.shape[0], slice(0, 1)), whole((10,)))


PROGRAM = """
import sys, numpy as np
import tsl_jax as tsl
rank = int(sys.argv[2])
writer = tsl.LossWriter(sys.argv[1], rank=rank, ranks=2, dtype="float32")
sequence = rank + 2 * np.arange(50)
ids = np.tile(np.arange(8), (50, 1)) + sequence[:, None]
for step in (1, 2, 4):
    batch = {"token_id": ids, "sequence": sequence}
    writer.write(step, batch, (ids / step).astype("float32"))
"""


def test_two_processes_at_the_same_time(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "by_step")]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        started = [threads.submit(subprocess.run, [*command, str(rank)], capture_output=True) for rank in range(2)]
        for future in started:
            assert future.result().returncode == 0, future.result().stderr
    store = import_losses(tmp_path / "by_step", tmp_path / "losses.zarr")
    ids = np.tile(np.arange(8), (100, 1)) + np.arange(100)[:, None]
    np.testing.assert_array_equal(store.read_coordinate("token_id"), ids.ravel())
    np.testing.assert_allclose(store.read(), ids.ravel()[:, None] / np.array([1.0, 2, 4]), rtol=1e-6)


def test_a_ledger_that_lost_a_row_is_refused(tmp_path):
    out = tmp_path / "by_step"
    write(out, (10, 20, 30), 1)
    (out / "rank_0/columns/ledger/c/1/0").unlink()
    for use in (lambda: import_losses(out, tmp_path / "losses"), lambda: LossWriter(out, dtype="float32", start=30)):
        with pytest.raises(StoreError, match=r"row 1 of its ledger is lost or damaged.*Restore"):
            use()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"losses": np.float32(3)}, "reduction='none'"),
        ({"losses": np.ones((SEQUENCES, POSITIONS - 1), "f4")}, "no loss for the first: give token_id without it"),
        ({"losses": np.ones((SEQUENCES * POSITIONS), "f4")}, "Reshape them"),
        ({"losses": np.ones((SEQUENCES, POSITIONS), "i4")}, "expected floating-point numbers"),
        ({"token_id": None, "mask": None}, "expected 'token_id'"),
        ({"mask": np.full((SEQUENCES, POSITIONS), -100)}, "holds -100, expected 0"),
        ({"mask": np.zeros((SEQUENCES, POSITIONS), bool)}, "none had a token that counts"),
        ({"sequence": np.zeros(SEQUENCES, int)}, "comes twice, with token_id"),
        ({"sequence": np.arange(SEQUENCES) - 1}, "is negative"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(tmp_path, change, words):
    batch, losses = share(1, 0, 1)
    batch = {name: values for name, values in (batch | change).items() if values is not None and name != "losses"}
    with LossWriter(tmp_path / "by_step") as writer:
        with pytest.raises(StoreError, match=words):
            writer.write(1, batch, change.get("losses", losses))
        assert writer.steps == []
    with pytest.raises(StoreError, match="the writer is closed"):
        writer.write(1, *share(1, 0, 1))


def test_bad_ranks_and_places(tmp_path):
    out = tmp_path / "by_step"
    with pytest.raises(StoreError, match="ranks count from 0"):
        LossWriter(out, rank=2, ranks=2)
    with LossWriter(out, rank=0, ranks=2) as writer:
        with pytest.raises(LockedError):
            LossWriter(out, rank=0, ranks=2)
        with pytest.raises(StoreError, match="has no 'sequence'"):
            writer.write(1, {"token_id": IDS}, losses_at(1))
        with pytest.raises(StoreError, match="rank 0 of 2 has written no checkpoint"):
            import_losses(out, tmp_path / "losses")
    with pytest.raises(StoreError, match="ranks: got 3, expected 2"):
        LossWriter(out, rank=0, ranks=3)
    write(tmp_path / "other", (1,), 1)
    with pytest.raises(StoreError, match="dtype: got float16, expected float32"):
        LossWriter(tmp_path / "other", start=1)
    import_losses(tmp_path / "other", tmp_path / "losses")
    with pytest.raises(StoreError, match="holds tsl_kind='losses'"):
        LossWriter(tmp_path / "losses")


def test_ranks_that_number_sequences_alike_are_refused(tmp_path):
    for rank in range(2):
        with LossWriter(tmp_path / "by_step", rank=rank, ranks=2) as writer:
            writer.write(1, {"token_id": IDS + rank, "sequence": np.arange(SEQUENCES)}, losses_at(1))
    with pytest.raises(StoreError, match="ranks 0 and 1 hold unlike tokens of sequence 0"):
        import_losses(tmp_path / "by_step", tmp_path / "losses")


def test_a_store_in_memory(tmp_path):
    memory = zarr.storage.MemoryStore()
    with LossWriter(memory, dtype="float32") as writer:
        writer.write(1, *share(1, 0, 1))
        np.testing.assert_array_equal(writer.to_store(tmp_path / "losses").read(), whole((1,)))


def test_the_commands_name_the_step_that_makes_a_loss_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("by_step.zarr", (10, 20, 40, 80, 160, 320))
    validated = CliRunner().invoke(app, ["validate", "by_step.zarr"])
    assert "Write losses of another layout into a loss store with tsl import" in validated.stdout
    refused = CliRunner().invoke(app, ["fit", "by_step.zarr", "fits.zarr"])
    assert refused.exit_code == 1
    command = refused.stderr.strip().replace("\n", " ").partition("make a loss store of it: ")[2].rstrip(".")
    assert command == "tsl import by_step.zarr by_step-losses.zarr"
    done = CliRunner().invoke(app, command.split()[1:])
    assert done.exit_code == 0, done.stderr
    np.testing.assert_array_equal(open_losses("by_step-losses.zarr").read(), whole((10, 20, 40, 80, 160, 320)))
    fitted = CliRunner().invoke(app, ["fit", "by_step-losses.zarr", "fits.zarr"])
    assert fitted.exit_code == 0, fitted.stderr
