"""Draws without replacement: against exact probabilities and a slow reference; resumed, reweighted, in ranks."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsl_jax.reshape import Sampler, sampling, weighted_permutation

WEIGHT = np.array([1.0, 2.0, 0.0, 4.0, 1.0, 0.5])


def exact(weight, order):
    """Probability of these draws, each in proportion to the weights of what is left."""
    left, probability = weight.sum(), 1.0
    for candidate in order:
        probability *= weight[candidate] / left
        left -= weight[candidate]
    return probability


def chi_square(found, expected):
    """Of counts by order, in standard deviations from what chance gives."""
    square = sum((found.get(order, 0) - number) ** 2 / number for order, number in expected.items())
    freedom = len(expected) - 1
    return (square - freedom) / math.sqrt(2 * freedom)


def counted(orders):
    found = {}
    for order in orders:
        found[tuple(order)] = found.get(tuple(order), 0) + 1
    return found


@pytest.mark.parametrize("chunk", [2**20, 4])
def test_every_order_is_as_likely_as_drawing_one_by_one_makes_it(monkeypatch, chunk):
    monkeypatch.setattr(sampling, "_CHUNK", chunk)
    runs = 3000
    found = counted(weighted_permutation(WEIGHT, 2, seed=seed).tolist() for seed in range(runs))
    expected = {order: runs * exact(WEIGHT, order) for order in itertools.permutations((0, 1, 3, 4, 5), 2)}
    assert sum(expected.values()) == pytest.approx(runs)
    assert set(found) <= set(expected)
    assert chi_square(found, expected) < 4


def test_new_weights_are_those_of_the_draws_from_then_on():
    """After one draw by the first weights, the next two are drawn by the others from what is left."""
    runs, other, found = 3000, np.array([4.0, 1.0, 1.0, 1.0, 0.0, 2.0]), {}
    for seed in range(runs):
        sampler = Sampler(WEIGHT, 3, seed=seed)
        draws = iter(sampler)
        first = [next(draws)]
        sampler.reweight(other)
        order = (*first, *draws)
        found[order] = found.get(order, 0) + 1

    def probability(order):
        left = np.where(np.arange(6) == order[0], 0, other)
        return exact(WEIGHT, order[:1]) * exact(left, order[1:])

    expected = {order: runs * probability(order) for order in itertools.permutations(range(6), 3)}
    expected = {order: number for order, number in expected.items() if number > 0}
    assert sum(expected.values()) == pytest.approx(runs)
    assert set(found) <= set(expected)
    assert chi_square(found, expected) < 4


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([0.0, 1e-300, 0.5, 1.0, 7.0, 1e300]), min_size=1, max_size=50), st.data())
def test_chunks_give_what_sorting_all_keys_gives(weight, data):
    weight = np.array(weight)
    drawable = np.count_nonzero(weight)
    if drawable == 0:
        weight[0] = drawable = 1
    number, seed = data.draw(st.integers(1, drawable)), data.draw(st.integers(0, 2**64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_CHUNK", 8)
        found = weighted_permutation(weight, number, seed=seed, branch=(3,))
        starts = range(0, len(weight), 8)
        parts = [sampling._exponential(min(8, len(weight) - at), seed, (3, at // 8)) for at in starts]
    with np.errstate(divide="ignore"):
        key = np.log(np.concatenate(parts)) - np.log(weight)
    assert found.tolist() == np.argsort(key, kind="stable")[:number].tolist()


def test_few_draws_of_many_are_in_proportion_to_weight():
    weight = np.random.default_rng(0).choice([0.5, 1.0, 1.5], 40_000).astype("float32")
    drawn = weighted_permutation(weight, 4000, seed=1)
    assert len(set(drawn.tolist())) == 4000
    # Candidate i is drawn with probability 1 - exp(-weight_i·t), t such that these add up to the draws.
    t = np.interp(4000, *zip(*((np.sum(-np.expm1(-weight * t)), t) for t in np.linspace(0.05, 0.2, 200)), strict=True))
    for level in (0.5, 1.0, 1.5):
        number, chance = np.sum(weight == level), -np.expm1(-level * t)
        deviation = np.sum(weight[drawn] == level) - number * chance
        assert abs(deviation) < 4 * math.sqrt(number * chance * (1 - chance))


def sampler(**changed):
    return Sampler(**({"weight": np.arange(40.0), "number": 12, "seed": 5} | changed))


def test_epochs_differ_and_repeat_nothing_within():
    one = sampler()
    epochs = [list(one) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    for epoch in epochs:
        assert len(set(epoch)) == len(epoch) == len(one) == 12
        assert 0 not in epoch
    assert [one[k] for k in range(36)] == [*itertools.chain(*epochs)]
    assert list(sampler(seed=6)) != epochs[0]


@pytest.mark.parametrize("stop", [0, 5, 11, 12, 17])
def test_a_resumed_sampler_goes_on_with_the_same_draws(stop):
    whole = sampler()
    want = [k for _ in range(3) for k in whole]
    stopped, draws = sampler(), []
    while len(draws) < stop:
        draws += itertools.islice(iter(stopped), stop - len(draws))
    resumed = sampler()
    resumed.load_state_dict(stopped.state_dict())
    while len(draws) < 36:
        draws += resumed
    assert draws == want
    # Told by the draws that were trained on, as for a loader that reads ahead.
    behind = sampler()
    behind.load_state_dict(stopped.state_dict(draw=3))
    assert list(behind) == want[3:12]


def test_a_resumed_sampler_knows_what_was_drawn_before_weights_changed():
    def changed():
        one = sampler()
        draws = list(itertools.islice(iter(one), 7))
        one.reweight(np.arange(40.0)[::-1])
        return one, draws

    whole, draws = changed()
    rest, following = list(whole), list(whole)
    assert len({*draws, *rest}) == 12
    assert [whole[k] for k in range(24)] == [*draws, *rest, *following]
    stopped, _ = changed()
    first = list(itertools.islice(iter(stopped), 2))
    resumed = sampler(weight=np.arange(40.0)[::-1])
    resumed.load_state_dict(stopped.state_dict())
    assert [*first, *resumed] == rest
    assert list(resumed) == following


def test_ranks_share_the_draws_of_one_process():
    parts = [sampler(rank=rank, ranks=3) for rank in range(3)]
    epochs = [[list(part) for part in parts] for _ in range(2)]
    one = sampler()
    for epoch in epochs:
        assert [len(part) for part in epoch] == [4, 4, 4]
        assert [k for together in zip(*epoch, strict=True) for k in together] == list(one)
    # What is left over for some ranks only is not drawn.
    assert [len(list(sampler(rank=rank, ranks=5))) for rank in range(5)] == [2] * 5
    # Saved in three processes, gone on with in two.
    stopped = sampler(rank=0, ranks=3)
    assert len(list(itertools.islice(iter(stopped), 2))) == 2
    halves = [sampler(rank=rank, ranks=2) for rank in range(2)]
    for half in halves:
        half.load_state_dict(stopped.state_dict())
    want = list(sampler())
    assert [list(half) for half in halves] == [want[6::2], want[7::2]]
    # In ten, for each of which nothing is left in this epoch: all begin the next one.
    many = [sampler(rank=rank, ranks=10) for rank in range(10)]
    for one in many:
        one.load_state_dict(stopped.state_dict())
    later = sampler()
    assert [list(one) for one in many] == [[k] for k in (list(later), list(later))[1][:10]]


def test_a_loader_of_pytorch_takes_it():
    data = pytest.importorskip("torch.utils.data", reason="needs PyTorch")
    one, again = sampler(), sampler()
    loader = data.DataLoader(list(range(40)), batch_size=5, sampler=one)
    for _ in range(2):
        assert [k for batch in loader for k in batch.tolist()] == list(again)


def test_a_data_set_of_grain_takes_it_and_resumes():
    grain = pytest.importorskip("grain", reason="needs grain")
    one, again = sampler(), sampler()
    epoch = grain.MapDataset.source(one).map(lambda k: 100 + k).batch(4)
    want = [100 + k for _ in range(3) for k in again]
    assert [k for batch in epoch for k in batch.tolist()] == want[:12]
    epochs = grain.MapDataset.range(3 * len(one)).map(lambda draw: 100 + one[draw]).batch(4).to_iter_dataset()
    stopped, resumed = iter(epochs), iter(epochs)
    first = [next(stopped).tolist() for _ in range(4)]
    resumed.set_state(stopped.get_state())
    assert [*itertools.chain(*first, *(batch.tolist() for batch in resumed))] == want


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: sampler(number=40), ValueError, "40 draws without replacement from 39 candidates"),
        (lambda: sampler(number=0), ValueError, "number: got 0"),
        (lambda: sampler(weight=[1.0, np.nan] * 10), ValueError, "candidate 1 is nan"),
        (lambda: sampler(weight=[1.0, -1.0] * 10), ValueError, "candidate 1 is -1.0"),
        (lambda: sampler(weight=np.ones((20, 2))), ValueError, r"shape \(20, 2\)"),
        (lambda: sampler(rank=2, ranks=2), ValueError, "rank: got 2 of 2"),
        (lambda: sampler(ranks=13), ValueError, "12 draws for 13|got 12 draws"),
        (lambda: sampler()[-1], IndexError, "draw -1"),
        (lambda: sampler().reweight(np.ones(39)), ValueError, "39 candidates, expected the 40"),
        (lambda: sampler().load_state_dict({}), ValueError, "expected what Sampler.state_dict returns"),
        (lambda: sampler().load_state_dict(sampler(seed=1).state_dict()), ValueError, "its seed are not"),
        (lambda: sampler().load_state_dict(sampler(weight=np.ones(40)).state_dict()), ValueError, "its weights"),
    ],
)
def test_bad_input_is_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_weights_that_leave_too_few_are_refused_and_change_nothing():
    one = sampler()
    draws = iter(one)
    first = [next(draws) for _ in range(4)]
    with pytest.raises(ValueError, match="12 draws without replacement from 11 candidates"):
        one.reweight((np.arange(40) >= 29).astype(float))
    assert [*first, *draws] == list(sampler())
