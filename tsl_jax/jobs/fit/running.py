"""One fit of a store while it runs: planned, made or gone on with, its blocks fitted here or in workers."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from ...store import (
    BlockState,
    ChangedError,
    FitHeader,
    FitStore,
    FitWriter,
    Location,
    Violation,
    damaged_blocks,
    join_fits,
    open_fits,
    recorded_noise,
    resume_or_create,
)
from ...store.fitters import other_fitters
from ...store.lock import Lock
from ...store.snapshot import keep_snapshot
from ...stream.blocks import Progress
from ...stream.plan import Block, blocks_of
from ...stream.stages import StageSeconds
from ...stream.workers import Workers
from .beginning import BegunFit
from .elsewhere import fit_elsewhere
from .fitter import Devices
from .noise import Recorded
from .plan import FitPlan, fitter_of, plan_elsewhere, plan_fit
from .request import FitRequest
from .samples import KeptSample, describe_samples, describe_samples_of
from .summary import describe_records
from .task import MIXED_CURE, TaskReport, fit_blocks


class FitJob:
    """What is asked for, what there is, and what fits.

    Args:
        request: what is asked for.
        workers: where blocks are fitted; None: here.
        devices: where here; None: on all local devices.
        mixed_hardware: see `fit_store`.
        overwrite: whether fits that are there count for nothing.
        alone: whether all blocks are fitted by this job, from the first on.

    Attributes:
        source: the losses, open.
        objects: the listing of their store.
    """

    def __init__(
        self,
        request: FitRequest,
        workers: Workers | None,
        devices: Devices | None,
        *,
        mixed_hardware: bool,
        overwrite: bool,
        alone: bool = True,
    ) -> None:
        if workers is not None and devices is not None:
            raise ValueError("devices: workers use all of theirs; leave out devices= (--devices), or the workers")
        self._request = request if workers is None else request.as_sent(workers.dumps)
        self._workers, self._mixed, self._overwrite, self._alone = workers, mixed_hardware, overwrite, alone
        self.source, self.objects = request.open_losses()
        self._fitter = fitter_of(request, self.source, devices) if workers is None else None
        self._planned: tuple[Any, FitPlan] | None = None
        self._begun: BegunFit | None = None
        self._kept = KeptSample(self.source.num_tokens)

    def __enter__(self) -> "FitJob":
        return self

    def __exit__(self, *_: object) -> None:
        """What was begun, and is not asked for any more, ends."""
        if self._begun is not None:
            self._begun.end()

    def plan_at(self, place: Location) -> FitPlan:
        """The plan for an output; made anew only where another noise is recorded than when it was made."""
        return self.plan_for(None if self._overwrite else recorded_noise(place))

    def plan_for(self, recorded: Recorded) -> FitPlan:
        """The plan for an output whose header says this of the noise; None: there is none yet."""
        if self._planned is None or self._planned[0] != recorded:
            if self._workers is not None:
                plan = self._workers.call(plan_elsewhere, self._request, recorded)
            else:
                assert self._fitter is not None
                if recorded is None and self._alone and self._begun is None:
                    self._begun = BegunFit(self.source, self._fitter, self._request, self.objects)
                plan = plan_fit(self._request, recorded, self.source, self._fitter)
            self._planned = recorded, plan
        return self._planned[1]

    def fit_first(self) -> None:
        """Begin to fit, by the plan for an output that is to be made now; the caller holds its lock alone."""
        if self._begun is not None and self._planned is not None and self._planned[0] is None:
            self._begun.fit_first(self._planned[1])

    def header_at(self, place: Location) -> FitHeader:
        """The header of the plan for an output."""
        return self.plan_at(place).header

    def create(self, target: Location) -> FitStore:
        """The fit store to go on with; the caller holds its lock alone."""
        plan = self.plan_at(target)
        if self._begun is not None and self._planned is not None and self._planned[0] is not None:
            self._begun.forget()  # another run has made it meanwhile
        store = resume_or_create(
            target, self.source, plan.header, plan.layout, overwrite=self._overwrite, objects=self.objects
        )
        return self._of_one_kind(store, plan)

    def join(self, target: Location) -> FitStore:
        """The fit store that another part of the job has made; the caller shares its lock."""
        plan = self.plan_at(target)
        return self._of_one_kind(join_fits(target, self.source, plan.header, self.objects), plan)

    def run(
        self,
        store: FitStore,
        lock: Lock,
        progress: Progress | None,
        *,
        part: tuple[int, int] | None = None,
        deep: bool = False,
        writable: bool = True,
    ) -> tuple[FitStore, dict[str, Any]]:
        """Fit what is not finished, or damaged: the store as it is then, and what `FitSummary` says of this run.

        Args:
            store: where the fits go.
            lock: that is held.
            progress: see `fit_store`.
            part: see `fit_store`.
            deep: see `fit_store`.
            writable: whether anything may be written; else all is finished and whole.
        """
        blocks = part_of(blocks_of(self.source.num_tokens, store.ledger.block_tokens), part)
        damaged = damaged_blocks(store, deep=deep) if writable else {}
        damaged = {block.index: damaged[block.index] for block in blocks if block.index in damaged}
        states = store.ledger.states.tolist()
        todo = [block for block in blocks if states[block.index] != BlockState.FINISHED or block.index in damaged]
        report, seconds = self._fit(store, todo, damaged, lock, _Reporter(progress, blocks, todo))
        if part is None:
            done = dataclasses.replace(store, ledger=store.ledger.with_rows(report.rows))
        else:  # the other parts have their own
            done = open_fits(store.location.open_group())
        if report.rows and part is None:
            lock.check()
            keep_snapshot(store.location, done.ledger.table, done.ledger.tags)
        return done, {
            "repaired": tuple(str(damage) for damage in (*store.ledger.damaged, *damaged.values())),
            "bad_chunks": report.bad_chunks,
            "blocks": len(blocks),
            "blocks_run": len(todo),
            "tokens_run": sum(block.stop - block.start for block in todo),
            "compile_seconds": report.compile_seconds + (self._begun.compile_seconds if self._begun else 0.0),
            "fit_seconds": report.stages.fit if self._workers is None else seconds,
            "stages": report.stages,
            "devices": report.devices,
            "workers": 0 if self._workers is None else self._workers.count,
        }

    @property
    def _plan(self) -> FitPlan:
        """The plan by which the store was made, or found finished."""
        assert self._planned is not None
        return self._planned[1]

    def described(self, fits: FitStore) -> dict[str, Any]:
        """What `FitSummary` says of the whole store, by the names of its fields."""
        plan = self._plan
        if self._workers is None:
            sampled = describe_samples(fits, self._kept)
        else:  # JAX has a part in it, and starts no device here
            sampled = self._workers.call(describe_samples_of, self._request.fits)
        return (
            describe_records(fits)
            | sampled
            | {
                "noise_seconds": plan.noise_seconds,
                "left_out_checkpoints": tuple(plan.header.left_out_checkpoints),
                "kernel_name": plan.header.options["kernel"],
            }
        )

    def _fit(
        self,
        store: FitStore,
        todo: list[Block],
        damaged: Mapping[int, Violation],
        lock: Lock,
        report: "_Reporter",
    ) -> tuple[TaskReport, float]:
        """What came of the blocks, and the seconds that it took."""
        begun, devices = time.perf_counter(), "" if self._fitter is None else self._fitter.described
        if not todo:
            return TaskReport({}, 0, (), StageSeconds(), 0.0, devices), 0.0
        if damaged:
            writer = FitWriter(store)
            for block in damaged:
                writer.reopen(block)
        if self._workers is not None:
            done = fit_elsewhere(self._request, self._plan, store, todo, self._workers, self._mixed, lock, report.add)
        else:
            assert self._fitter is not None
            what = (self.source, store, self._fitter, todo, self._request, lock, self.objects, report.add)
            done = fit_blocks(*what, begun=self._begun, kept=self._kept)
        return done, time.perf_counter() - begun

    def _of_one_kind(self, store: FitStore, plan: FitPlan) -> FitStore:
        others = [] if self._mixed else other_fitters(store.location, store.ledger, plan.fitter)
        if others:
            last_bits = f"fits may differ in their last bits: {MIXED_CURE}"
            raise ChangedError(store.name, [f"fitter: {other}; {last_bits}" for other in others])
        return store


def part_of(blocks: list[Block], part: tuple[int, int] | None) -> list[Block]:
    """The blocks of one of so many parts, which are as large as each other to a block."""
    if part is None:
        return blocks
    index, number = part
    return blocks[len(blocks) * index // number : len(blocks) * (index + 1) // number]


class _Reporter:
    """Turns tokens of finished blocks into calls of the user's progress function."""

    def __init__(self, progress: Progress | None, blocks: list[Block], todo: list[Block]) -> None:
        self._progress, self._total = progress, _tokens(blocks)
        self._done = self._total - _tokens(todo)
        self.add(0)

    def add(self, tokens: int) -> None:
        self._done += tokens
        if self._progress is not None:
            self._progress(self._done, self._total)


def _tokens(blocks: list[Block]) -> int:
    return sum(block.stop - block.start for block in blocks)
