"""Tasks in other processes: values and errors come back, and sums merge in one order wherever they are made."""

import concurrent.futures
import dataclasses
import multiprocessing
import operator
import os
import pickle
import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsl_jax.store import BadChunk, ChunkError, LockedError, StoreError
from tsl_jax.store.errors import ReadMemoryError
from tsl_jax.stream.outcomes import WorkerError
from tsl_jax.stream.parts import Part
from tsl_jax.stream.passes import run_pass
from tsl_jax.stream.workers import PoolWorkers, merged, workers_of


@given(st.lists(st.integers(), min_size=1, max_size=70))
def test_neighbours_are_merged_two_by_two(numbers):
    trees = merged(lambda one, other: (one, other), iter(numbers))

    def flat(tree):
        return [*flat(tree[0]), *flat(tree[1])] if isinstance(tree, tuple) else [tree]

    def depth(tree):
        return 1 + max(map(depth, tree)) if isinstance(tree, tuple) else 0

    assert flat(trees) == numbers
    assert depth(trees) == (len(numbers) - 1).bit_length()


@pytest.mark.parametrize("count", [1, 2, 7, 100, 745])
def test_few_results_are_held_at_a_time(count):
    alive = most = 0

    def made():
        nonlocal alive, most
        for _ in range(count):
            alive += 1
            most = max(most, alive)
            yield 1

    def merge(one, other):
        nonlocal alive
        alive -= 1
        return one + other

    assert merged(merge, made()) == count
    assert most <= count.bit_length() + 1


def fail(item):
    if item == 3:
        raise ChunkError("losses.zarr", BadChunk("losses", "losses/c/3/0", 6, 8, "no such thing"))
    return item


def end(item):
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.fixture(scope="module")
def pool():
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


def test_values_come_back(pool):
    workers = PoolWorkers(pool)
    seen = []
    assert workers.count == 2
    assert workers.call(pow, 2, 5) == 32
    assert sorted(workers.each(abs, [-3, 2, -1], name="abs")) == [(0, 3), (1, 2), (2, 1)]
    assert workers.reduce(abs, operator.add, [-3, 2, -1], name="abs", report=seen.append) == 6
    assert seen == [0, 1, 2]


def test_errors_come_back_as_they_were(pool):
    with pytest.raises(ChunkError, match=r"no such thing.*\(In the worker process \d+ on ") as raised:
        list(PoolWorkers(pool).each(fail, range(5), name="fail"))
    assert raised.value.bad.chunk == "losses/c/3/0"
    with pytest.raises(ValueError, match="invalid literal") as raised:
        PoolWorkers(pool).call(int, "x")
    assert "In the worker process" in raised.value.__notes__[0]


def test_what_cannot_be_sent_is_told_with_the_way_out(pool):
    for make in (lambda: PoolWorkers(pool).call(lambda: 1), lambda: PoolWorkers(pool).call(threading.Lock)):
        with pytest.raises(WorkerError, match=r"cannot be sent to a process \(.*(lambda|lock).*Define it at the top"):
            make()
    assert PoolWorkers(pool).call(abs, -1) == 1


@dataclasses.dataclass(frozen=True)
class Counting:
    """A pass whose family is the user's own."""

    family: object

    def read(self, part):
        return part


def test_what_a_pass_holds_that_cannot_be_sent_is_named(pool):
    class Own:
        pass

    with pytest.raises(StoreError, match=r"family: <.*Own.*cannot be sent to workers \(.*a Dask client takes"):
        run_pass(Counting(Own()), [Part(0, 4)], client=pool)


def test_an_executor_that_lost_a_process_is_named():
    with (
        concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor,
        pytest.raises(WorkerError, match=r"worker process ended.*Run the same again"),
    ):
        list(PoolWorkers(executor).each(end, range(5), name="end"))


def test_what_is_no_client_is_refused():
    assert workers_of(None) is None
    with pytest.raises(TypeError, match=r"client: got str, expected a dask\.distributed\.Client"):
        workers_of("tcp://127.0.0.1:8786")


@pytest.mark.parametrize(
    "error",
    [
        *(StoreError("a"), LockedError("b"), WorkerError("c"), ReadMemoryError("d", 0, 3)),
        ChunkError("s", BadChunk("losses", "c/0", 0, 1, "gone")),
    ],
)
def test_errors_can_be_sent(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, again.__dict__, str(again)) == (
        type(error),
        error.args,
        error.__dict__,
        str(error),
    )
