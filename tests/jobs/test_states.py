"""A distributed fit as a model: tasks that are killed, repeated, and done by workers that were taken for dead.

Whatever order they come in, a block counts only when its fits are those of an undisturbed run, nothing that is written
for a run that has ended counts, and one more run ends with the files of an undisturbed one.
"""

import dataclasses
import pickle
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from small_job import Job, use_cheap_engine

from tests.kills import KillAt, Killed, tree
from tsl_jax.curves import Sigmoid
from tsl_jax.fitting import FitOptions
from tsl_jax.jobs.fit.elsewhere import task_ranges
from tsl_jax.jobs.fit.request import FitRequest
from tsl_jax.jobs.fit.running import FitJob
from tsl_jax.jobs.fit.task import FitTask, again_from_the_end, run_task
from tsl_jax.store import LockedError, WriteError, locate, open_fits, writer_lock
from tsl_jax.store.run_mark import begin_run, end_runs
from tsl_jax.stream import bytes_per_token, plan
from tsl_jax.stream.outcomes import package_version
from tsl_jax.stream.plan import blocks_of

TOKENS = 64 * 6 - 20


class Here:
    """Stands for workers: in this process, one task at a time."""

    count = 2
    reduce = None
    lost = 0
    dumps = staticmethod(pickle.dumps)

    def call(self, function, *arguments):
        return function(*arguments)

    def each(self, function, items, *, name, again):
        for index, item in enumerate(items):
            yield index, function(item)


class Runs(RuleBasedStateMachine):
    """What can happen to the runs of one store."""

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        root = Path(self._folder.name)
        self.job = Job(str(root / "losses.zarr"), tokens=TOKENS)
        self.job.write()
        self.fits, self.mark, self.tasks = root / "fits.zarr", None, []
        self._patch = pytest.MonkeyPatch()
        use_cheap_engine(self._patch.setattr)
        self._patch.setattr(plan, "MOST_CHUNK_TOKENS", 32)  # two shards a block: one may be there without the other
        self.kill_at = KillAt(self._patch)
        memory = 64 * bytes_per_token(12, 2, 68)
        options = FitOptions(block_size=32, max_steps=8)
        self.request = FitRequest(self.job.source, str(self.fits), Sigmoid(), options=options, memory=memory)
        self.job.fit(root / "undisturbed.zarr", client=Here(), memory=memory, options=options)
        self.truth = tree(root / "undisturbed.zarr")
        assert "category/c/11" in self.truth  # of the last of six blocks, the second shard
        self.rows = open_fits(root / "undisturbed.zarr").ledger.table

    def teardown(self):
        """Undo what was patched."""
        self._patch.undo()
        self._folder.cleanup()

    @initialize()
    def first_run(self):
        """The first driver has made the store."""
        self.driver_begins()

    @rule()
    def driver_begins(self):
        """A driver begins, or begins anew after it was killed: it holds the lock when it writes its mark."""
        target = locate(self.fits, writable=True)
        job = FitJob(self.request, Here(), None, mixed_hardware=False, overwrite=False)
        with writer_lock(target):
            store = job.create(target)
            self.mark = begin_run(target)
        states = store.ledger.states
        todo = [block for block in blocks_of(TOKENS, 64) if states[block.index] != 1]
        request = job.plan_at(target).request(self.request)
        ranges = task_ranges(todo, 2)
        self.tasks += [FitTask(request, self.mark, blocks, None, package_version()) for blocks in ranges]

    @precondition(lambda self: self.mark is not None)
    @rule()
    def driver_ends(self):
        """The driver has all results, as far as it knows, and takes its mark away."""
        end_runs(locate(self.fits, writable=True))
        self.mark = None

    @precondition(lambda self: self.tasks)
    @rule(choice=st.integers(0, 99), killed=st.integers(0, 40), backwards=st.booleans())
    def worker_runs(self, choice, killed, backwards):
        """A worker does a task of any run, from either end; maybe it is killed at one of its writes."""
        task = self.tasks[choice % len(self.tasks)]
        task = again_from_the_end(task) if backwards else task
        self.kill_at(self.fits, killed)
        try:
            report = run_task(task)
        except (Killed, WriteError):
            assert killed
        except LockedError:
            assert task.run != self.mark
        else:
            assert task.run == self.mark
            first, last = task.blocks
            assert sorted(report.rows) == list(range(first, last))
        finally:
            self.kill_at(self.fits, 0)

    @invariant()
    def what_counts_is_right(self):
        """Every record is that of an undisturbed run, and so is every file of its block."""
        if not self.fits.exists():
            return
        now = tree(self.fits)
        table = open_fits(self.fits).ledger.table
        for block, row in enumerate(table):
            if row[0]:
                assert row.tolist() == self.rows[block].tolist()
        finished = {f"c/{2 * block + shard}" for block in range(6) if table[block, 0] for shard in (0, 1)}
        for name, content in self.truth.items():
            array, _, chunk = name.partition("/")
            if array != "ledger" and chunk in finished:
                assert now[name] == content, name

    @rule()
    def one_more_run_ends_it(self):
        """A whole run after all this."""
        self.job.fit(self.fits, client=Here(), memory=self.request.memory, options=self.request.options)
        left = tree(self.fits)
        if left.pop("ledger/run", None) is None:  # a driver that is killed after the last block leaves its mark
            self.mark = None
        assert left == self.truth


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=5, stateful_step_count=15, deadline=None)


def test_a_task_is_data():
    """Every field can be compared, printed and sent."""
    names = {field.name for field in dataclasses.fields(FitTask)}
    assert names == {"request", "run", "blocks", "fitter", "version", "backwards"}
