"""A fit on many workers, block by block: the real tasks, storage that all share, workers that are taken away."""

import dataclasses
import heapq
import random
from collections import deque
from collections.abc import Iterator

from tsl_jax.jobs.fit.elsewhere import task_ranges
from tsl_jax.stream.plan import blocks_of

_SECONDS_OF_HOUR = 3600.0


@dataclasses.dataclass(frozen=True)
class Plant:
    """What fits.

    Args:
        name: of it.
        workers: how many that do one task at a time: a thread of a Dask worker counts as one.
        tokens_per_second: of a worker, where nothing but it is the limit.
        block_tokens: tokens of a block.
        worker_bandwidth: bytes a second between a worker and the stores.
        total_bandwidth: of all workers together.
        lifetime_hours: mean of the time after which a worker is taken away; it is exponential. Infinite: never.
        back_seconds: until another one takes its place.
        start_seconds: from the start of a worker to its first block.
        price: of a worker for an hour.
    """

    name: str
    workers: int
    tokens_per_second: float
    block_tokens: int
    worker_bandwidth: float
    total_bandwidth: float
    lifetime_hours: float = float("inf")
    back_seconds: float = 300.0
    start_seconds: float = 15.0
    price: float = 0.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a job took.

    Attributes:
        hours: from its start to its end.
        paid: for workers while they were there.
        tasks: how many there were.
        lost: workers that were taken away.
        repeated: blocks that were begun and lost, or fitted twice.
    """

    hours: float
    paid: float
    tasks: int
    lost: int
    repeated: int


def simulate(tokens: int, plant: Plant, *, token_bytes: float, task_seconds: float, seed: int = 0) -> Outcome:
    """Fit so many tokens once.

    Args:
        tokens: of the store.
        plant: what fits.
        token_bytes: bytes that are read and written for a token.
        task_seconds: that a task costs beside its blocks, in its worker.
        seed: of the lifetimes.
    """
    return _Run(tokens, plant, token_bytes, task_seconds, random.Random(seed)).to_the_end()


class _Run:
    """Blocks that are done, tasks that wait, and what each worker is at."""

    def __init__(self, tokens: int, plant: Plant, token_bytes: float, task_seconds: float, rng: random.Random) -> None:
        blocks = blocks_of(tokens, plant.block_tokens)
        self._plant, self._rng, self._task_seconds = plant, rng, task_seconds
        self._sizes = [block.stop - block.start for block in blocks]
        self._token_bytes = token_bytes
        self._ranges = task_ranges(blocks, plant.workers)
        self._waiting, self._left = deque(range(len(self._ranges))), set(range(len(self._ranges)))
        self._under_way: dict[int, int] = {}  # workers by task
        self._helped: set[int] = set()
        self._done = bytearray(len(blocks))
        self._events: list[tuple[float, int, int, str]] = []
        self._life = [0] * plant.workers  # how often a worker was replaced or told to stop: older events are void
        self._at: list[tuple[int, Iterator[int], int] | None] = [None] * plant.workers
        self._since = [0.0] * plant.workers
        self._paid_seconds, self._lost, self._repeated, self._now = 0.0, 0, 0, 0.0

    def to_the_end(self) -> Outcome:
        for worker in range(self._plant.workers):
            self._start(worker)
        while self._left:
            self._now, worker, life, what = heapq.heappop(self._events)
            if life != self._life[worker]:
                continue
            if what == "taken":
                self._take_away(worker)
            elif what == "back":
                self._start(worker)
            else:
                self._block_done(worker)
        alive = [self._now - since for since in self._since if since < float("inf")]
        paid = (self._paid_seconds + sum(alive)) / _SECONDS_OF_HOUR * self._plant.price
        return Outcome(self._now / _SECONDS_OF_HOUR, paid, len(self._ranges), self._lost, self._repeated)

    def _later(self, seconds: float, worker: int, what: str) -> None:
        heapq.heappush(self._events, (self._now + seconds, worker, self._life[worker], what))

    def _start(self, worker: int) -> None:
        self._since[worker] = self._now
        if self._plant.lifetime_hours < float("inf"):
            self._later(self._rng.expovariate(1 / (self._plant.lifetime_hours * _SECONDS_OF_HOUR)), worker, "taken")
        self._later(self._plant.start_seconds, worker, "free")

    def _take_away(self, worker: int) -> None:
        self._lost += 1
        self._paid_seconds += self._now - self._since[worker]
        self._since[worker] = float("inf")
        self._life[worker] += 1
        if (at := self._at[worker]) is not None:
            self._repeated += not self._done[at[2]]
            self._leave(worker)
            if at[0] in self._left and at[0] not in self._under_way:
                self._waiting.appendleft(at[0])
        self._later(self._plant.back_seconds, worker, "back")

    def _leave(self, worker: int) -> None:
        at = self._at[worker]
        assert at is not None
        self._at[worker] = None
        self._under_way[at[0]] -= 1
        if not self._under_way[at[0]]:
            del self._under_way[at[0]]

    def _block_done(self, worker: int) -> None:
        """A worker is free: it goes on with its task, takes the next, or helps with the last that is under way."""
        at = self._at[worker]
        if at is not None:
            self._repeated += self._done[at[2]]
            self._done[at[2]] = 1
            block = next((block for block in at[1] if not self._done[block]), None)
            if block is not None:
                self._at[worker] = at[0], at[1], block
                return self._fit(worker, block, 0.0)
            self._left.discard(at[0])
            self._leave(worker)
        while True:
            task, order = self._next_task()
            if task is None:
                if self._left:
                    self._later(1.0, worker, "free")  # what is under way may be lost
                return None
            block = next((block for block in order if not self._done[block]), None)
            if block is not None:
                break
            self._left.discard(task)
        self._under_way[task] = self._under_way.get(task, 0) + 1
        self._at[worker] = task, order, block
        return self._fit(worker, block, self._task_seconds + self._transfer(block))

    def _next_task(self) -> tuple[int | None, Iterator[int]]:
        while self._waiting:
            task = self._waiting.popleft()
            if task in self._left:
                return task, iter(range(*self._ranges[task]))
        for task in sorted(self._under_way, reverse=True):
            if task in self._left and task not in self._helped:
                self._helped.add(task)
                first, last = self._ranges[task]
                return task, iter(range(last - 1, first - 1, -1))
        return None, iter(())

    def _fit(self, worker: int, block: int, extra: float) -> None:
        seconds = max(self._sizes[block] / self._plant.tokens_per_second, self._transfer(block))
        self._later(seconds + extra, worker, "free")

    def _transfer(self, block: int) -> float:
        """Seconds to read and write a block while as many workers do the same as are at work now."""
        busy = sum(self._under_way.values())
        bandwidth = min(self._plant.worker_bandwidth, self._plant.total_bandwidth / busy)
        return self._sizes[block] * self._token_bytes / bandwidth
