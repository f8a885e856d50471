"""Every pass over a store: on any partition into parts and tasks, in any order, on one token, the same result."""

import dataclasses
import pickle

import jax
import numpy as np
import pytest
from zarr.storage import MemoryStore

from tests.planted_store import STEP, planted_columns, write_fit_store
from tsl_jax.collection.competing_runs import CompetingRun, FirstDifference, LastLosses
from tsl_jax.curves import Sigmoid
from tsl_jax.jobs.domains import ALL_TOKENS, Domain
from tsl_jax.jobs.group_sums import MeanLosses
from tsl_jax.jobs.learning_times import CountEvents
from tsl_jax.jobs.positions import PositionSums
from tsl_jax.jobs.predict import MeansOfFits
from tsl_jax.jobs.scores.buckets import BucketLosses, fall_of
from tsl_jax.jobs.scores.density import event_density
from tsl_jax.jobs.scores.tokens import ScorePass
from tsl_jax.jobs.spectrum.token_groups import grouping_of
from tsl_jax.jobs.spectrum.tokens import SpectrumPass
from tsl_jax.spectrum import SpectrumGrid
from tsl_jax.store import create_losses, open_fits, open_losses
from tsl_jax.stream import passes
from tsl_jax.stream.parts import Part, parts_of, sequence_numbers, sequence_parts
from tsl_jax.stream.passes import run_pass, tasks_of
from tsl_jax.stream.workers import merged

TOKENS, CONTEXT = 330, 8


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("passes")
    rng = np.random.default_rng(3)
    ends = rng.integers(3, CONTEXT, TOKENS)  # contexts of many lengths
    position = np.concatenate([np.arange(end) for end in ends])[:TOKENS].astype("int32")
    coordinates = {"position": position, "domain": rng.integers(0, 3, TOKENS).astype("int8")}
    write_fit_store(folder, planted_columns(TOKENS), coordinates=coordinates, chunk=10)
    return open_losses(folder / "losses.zarr"), open_fits(folder / "fits.zarr")


def passes_over(losses, fits):
    grid = SpectrumGrid(1.0, 256.0, "log")
    columns = np.arange(1, len(STEP))
    groups = {"domain": grouping_of(fits, "domain", 8)}
    inside, buckets = (4.0, 32.0), (np.arange(100), np.arange(100) % 3)
    domain = losses.read_coordinate("domain")
    domain[[90, 200]] += 1
    coordinates = {"position": losses.read_coordinate("position"), "domain": domain}
    other = create_losses(MemoryStore(), losses.read()[::-1], checkpoints={"step": STEP}, tokens=coordinates)
    return {
        "mean losses": MeanLosses(losses),
        "positions": PositionSums(losses, "step", 4, CONTEXT),
        "means of fits": MeansOfFits(losses, fits, Sigmoid()),
        "spectrum": SpectrumPass(fits, Sigmoid(), grid, groups, (losses, None), columns),
        "learning times": CountEvents(fits, Sigmoid(), np.geomspace(1, 256, 257), (Domain(None, ALL_TOKENS),)),
        "scores": ScorePass(fits, inside, inside, None, TOKENS, event_density(fits)),
        "bucket losses": BucketLosses(
            losses, *buckets, losses.axis("step"), fall_of(losses.axis("step"), inside, "log")
        ),
        "last losses": LastLosses((CompetingRun(losses, 1.0), CompetingRun(other, 1.0))),
        "first difference": FirstDifference(losses, other, ("position", "domain")),
    }


NAMES = (
    *("mean losses", "positions", "means of fits", "spectrum", "learning times", "scores", "bucket losses"),
    *("last losses", "first difference"),
)


def leaves(result):
    """The arrays and numbers of a result."""
    if isinstance(result, np.ndarray | jax.Array | float | int | np.generic):
        return [np.asarray(result)]
    if dataclasses.is_dataclass(result):
        return leaves([getattr(result, field.name) for field in dataclasses.fields(result)])
    if isinstance(result, list | tuple):
        return [leaf for item in result for leaf in leaves(item)]
    if isinstance(result, dict):
        return leaves(list(result.values()))
    return leaves(list(vars(result).values())) if hasattr(result, "__dict__") else []


def same(name, one, other):
    """Equal to rounding; a spectrum's losses are added in float32 within a part."""
    for a, b in zip(leaves(one), leaves(other), strict=True):
        rtol = 1e-6 if name == "spectrum" or a.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_no_pass_depends_on_how_its_tokens_are_cut(stores, name, monkeypatch):
    losses, fits = stores
    job = passes_over(losses, fits)[name]
    whole = run_pass(job, sequence_parts(losses, TOKENS))
    small = sequence_parts(losses, 10)
    same(name, run_pass(job, small), whole)
    monkeypatch.setattr(passes, "LEAST_TASK_TOKENS", 40)
    assert len(tasks_of(small)) > 4
    same(name, run_pass(job, small), whole)


@pytest.mark.parametrize("name", NAMES)
def test_parts_may_be_added_in_any_order_and_elsewhere(stores, name):
    losses, fits = stores
    job = passes_over(losses, fits)[name]
    parts = sequence_parts(losses, 10)
    rng = np.random.default_rng(1)
    states = []
    for group in np.array_split(rng.permutation(len(parts)), 3):
        state = job.start()
        for at in group:
            state = job.add(state, job.read(parts[at]))
        states.append(pickle.loads(pickle.dumps(state)))
    state = job.merge(job.merge(states[2], states[0]), states[1])
    same(name, job.finish(state), run_pass(job, parts))


class Elsewhere:
    """Workers that see nothing but what can be sent to them."""

    count = 3
    each = call = None
    lost = 0
    dumps = staticmethod(pickle.dumps)

    def reduce(self, function, merge, items, *, name, report):
        def results():
            for index, item in enumerate(items):
                yield pickle.loads(pickle.dumps(function))(item)
                report(index)

        return merged(lambda one, other: merge(*pickle.loads(pickle.dumps((one, other)))), results())


@pytest.mark.parametrize("name", NAMES)
def test_workers_give_the_same_bits(stores, name, monkeypatch):
    monkeypatch.setattr(passes, "LEAST_TASK_TOKENS", 100)
    losses, fits = stores
    job, parts, seen = passes_over(losses, fits)[name], sequence_parts(losses, 20), []
    here = run_pass(job, parts)
    there = run_pass(job, parts, client=Elsewhere(), progress=lambda done, total: seen.append((done, total)))
    for a, b in zip(leaves(here), leaves(there), strict=True):
        np.testing.assert_array_equal(a, b)
    assert seen[-1] == (TOKENS, TOKENS)
    assert len(seen) == len(tasks_of(parts))


@pytest.mark.parametrize("rows", [1, 7, 10, 30, 1000])
def test_parts_cover_a_store_once_and_number_its_sequences_alike(stores, rows):
    losses, _ = stores
    parts = sequence_parts(losses, rows)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == TOKENS
    assert all(part.start % 10 == 0 for part in parts) or rows < 10
    position = losses.read_coordinate("position")
    want = np.concatenate([[0], np.cumsum(np.diff(position) <= 0)])
    assert np.array_equal(np.concatenate([sequence_numbers(losses, part) for part in parts]), want)
    assert [part.tokens for part in parts_of(losses, rows)] == [part.tokens for part in parts]


def test_an_error_while_reading_is_raised_as_it_is(stores):
    class Broken(MeanLosses):
        def read(self, part):
            raise RuntimeError(f"tokens {part.start} to {part.stop}")

    with pytest.raises(RuntimeError, match="tokens 0 to 10"):
        run_pass(Broken(stores[0]), parts_of(stores[0], 10))


def test_a_store_without_tokens_has_the_result_of_none(stores):
    assert np.isnan(run_pass(MeanLosses(stores[0]), [])).all()
    assert tasks_of([]) == []
    assert Part(3, 5).tokens == slice(3, 5)
