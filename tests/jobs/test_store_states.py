"""A fit store as a model: fits that are killed, skip chunks, are refused, replace others, and files that are lost.

Whatever order it comes in, a run that says it is complete leaves the files of an undisturbed one, options are refused
that are not those of the store, and what is finished and unharmed is right at any moment.
"""

import os
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from small_job import Job, use_cheap_engine

from tests.kills import KillAt, Killed, tree
from tsl_jax.curves import Hyperbola
from tsl_jax.fitting import FitOptions
from tsl_jax.store import ChangedError, ChunkError, open_fits

TOKENS, BLOCKS = 150, 3
#: Always the same few in `make test`, more and others in `make fuzz`.
FEW = 6
EXAMPLES = int(os.environ.get("TSL_FUZZ", 0)) // 10 or FEW
STEPS = (8, 9)
#: A fit store of other options, while it is being deleted.
TORN = "torn"


def fit(job, place, steps, **options):
    """The job with so many steps at most."""
    return job.fit(place, Hyperbola(), options=FitOptions(block_size=32, max_steps=steps), **options)


def content(place):
    """All files of a fit store, and what its ledger counts: records name the objects of losses, which are replaced."""
    ledger = open_fits(place).ledger
    files = {name: data for name, data in tree(place).items() if not name.startswith("ledger/c.")}
    return files | {"states": ledger.states.tolist(), "status": ledger.status_counts()}


class Stores(RuleBasedStateMachine):
    """What can happen to the fits of one loss store."""

    #: The losses, and the files of undisturbed runs: the same for all examples.
    root = job = truth = None

    def __init__(self):
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        use_cheap_engine(self._patch.setattr)
        self.fits = Path(tempfile.mkdtemp(dir=self.root)) / "fits"
        self.kill_at = KillAt(self._patch)
        self.chunk = self.root / "losses.zarr/losses/c/2/0"  # of the second block
        self.aside = self.root / "aside"
        #: Whose fits the store may hold, None for none that can be opened, and files that were lost or cut.
        self.whose, self.harmed = {None}, set()

    def teardown(self):
        """Undo what was patched and broken."""
        self._patch.undo()
        self.mend()

    @property
    def broken(self):
        """Whether a chunk of the losses is."""
        return self.aside.exists()

    def mend(self):
        """Restore the chunk."""
        if self.broken:
            self.aside.replace(self.chunk)

    @rule(steps=st.sampled_from(STEPS), killed=st.integers(0, 60), skip=st.booleans(), overwrite=st.booleans())
    def run(self, steps, killed, skip, overwrite):
        """A run of any kind, which may be killed at one of its changes of the store."""
        others = self.whose - {None, steps}
        self.kill_at(self.fits, killed)
        try:
            on_bad_chunk = "skip" if skip else "stop"
            found = fit(self.job, self.fits, steps, on_bad_chunk=on_bad_chunk, overwrite=overwrite)
        except ChangedError:
            assert others
            assert not overwrite
            self.whose = others
        except Killed:
            assert killed
            self.stopped(steps, overwrite)
        except ChunkError:
            assert self.broken
            assert not skip
            self.stopped(steps, overwrite)
        else:
            assert overwrite or others != self.whose
            self.whose = {steps}
            assert found.complete or (self.broken and skip)
            if found.complete:
                assert content(self.fits) == self.truth[steps]
                self.harmed = set()
            else:
                assert {bad.chunk for bad in found.bad_chunks} == {"losses/c/2/0"}
                assert open_fits(self.fits).ledger.states.tolist()[::2] == [1, 1]
        finally:
            self.kill_at(self.fits, 0)

    def stopped(self, steps, overwrite):
        """A run did not come to its end."""
        if overwrite:
            self.whose = self.whose | {steps, TORN}
        else:  # nothing of it may be there, if it was only begun now
            self.whose = {steps} if self.whose == {steps} else {None, steps}

    @rule()
    def break_or_mend_the_losses(self):
        """A chunk is cut short, or restored."""
        if self.broken:
            self.mend()
            return
        self.chunk.replace(self.aside)
        self.chunk.write_bytes(self.aside.read_bytes()[:-40])

    @precondition(lambda self: self.whose <= set(STEPS) and len(self.whose) == 1)
    @rule(choice=st.integers(0, 999), how=st.sampled_from(["lost", "empty", "cut"]))
    def harm(self, choice, how):
        """A file of fits is lost, emptied or cut."""
        names = [name for name in sorted(tree(self.fits)) if "/c/" in name and name.split("/")[0] in ("rate", "rss")]
        if not names:
            return
        file = self.fits / names[choice % len(names)]
        self.harmed.add(names[choice % len(names)])
        data = file.read_bytes()
        file.unlink()
        if how != "lost":
            file.write_bytes(b"" if how == "empty" else data[: len(data) // 2])

    @precondition(lambda self: len(self.whose) == 1 and self.whose <= set(STEPS))
    @invariant()
    def what_counts_is_right(self):
        """Every file of a finished block is that of an undisturbed run, but for what was harmed."""
        (steps,) = self.whose
        if not (self.fits / "zarr.json").exists():
            return
        states, now = open_fits(self.fits).ledger.states, tree(self.fits)
        done = {f"c/{shard}" for block in range(BLOCKS) if states[block] == 1 for shard in (2 * block, 2 * block + 1)}
        for name, content in self.truth[steps].items():
            if name.partition("/")[2] in done and name not in self.harmed:
                assert now[name] == content, name

    @rule(steps=st.sampled_from(STEPS))
    def mend_all(self, steps):
        """With whole losses one more run ends it, in place of other fits where there are some."""
        self.mend()
        self.run(steps, 0, False, bool(self.whose - {None, steps}))
        assert self.whose == {steps}


def test_stores_come_through_whatever_happens(tmp_path, cheap_engine, monkeypatch):
    job = Job(tmp_path / "losses.zarr", tokens=TOKENS)
    job.write()
    truth = {}
    for steps in STEPS:
        fit(job, tmp_path / f"undisturbed{steps}", steps)
        truth[steps] = content(tmp_path / f"undisturbed{steps}")
    for name, value in {"root": tmp_path, "job": job, "truth": truth}.items():
        monkeypatch.setattr(Stores, name, value)
    chosen = {"max_examples": EXAMPLES, "derandomize": EXAMPLES == FEW}
    run_state_machine_as_test(Stores, settings=settings(**chosen, stateful_step_count=10, deadline=None))
