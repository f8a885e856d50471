"""The pass over tokens of several runs against direct computation, and the same whatever the blocks and their order."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm, spearmanr

from tests.seeded_runs import COORDINATES, WINDOW, compare_tokens, groups, part, planted_runs
from tsl_jax.fitting import Category, Status
from tsl_jax.runs import CompareRuns, RunBlock, RunTokens, TokenKind, coordinates_of, kinds_of, plan_comparison

TOKENS = 20_000


@pytest.fixture(scope="module")
def fits():
    """Three runs with all kinds of tokens and with errors that are not known."""
    found, _ = planted_runs(TOKENS, 3, factor=2.0, seed=20)
    rng = np.random.default_rng(21)
    kinds = [Category.LEARNED, Category.EARLY, Category.LATE, Category.UNLEARNED, Category.NONE]
    changed = []
    for run in found:
        category = rng.choice(kinds, TOKENS, p=[0.9, 0.02, 0.03, 0.03, 0.02]).astype("uint8")
        status = np.where(category == Category.NONE, Status.FLAT, run.status).astype("uint8")
        stderr = {name: np.where(rng.random(TOKENS) < 0.05, np.nan, values) for name, values in run.stderr.items()}
        changed.append(RunTokens(run.params, stderr, status, category))
    return changed


@pytest.fixture(scope="module")
def compared(fits):
    return compare_tokens(fits)


def direct(fits, one, two, name, sign):
    """Differences, their errors and both values of tokens that fall (1) or rise (-1) in both runs, from the data."""
    runs = fits[one], fits[two]
    both = np.logical_and.reduce(
        [(run.category == Category.LEARNED) & (np.sign(run.params["loss_drop"]) == sign) for run in runs]
    )
    (y_one, s_one), (y_two, s_two) = (COORDINATES[name].of(run.params[name], run.stderr[name]) for run in runs)
    known = both & np.isfinite(s_one) & np.isfinite(s_two)
    return (y_two - y_one)[known], np.hypot(s_one, s_two)[known], y_one[known], y_two[known], both.sum()


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize(("events", "sign"), [("falling", 1), ("rising", -1)])
@pytest.mark.parametrize("name", COORDINATES)
def test_what_is_said_of_a_parameter_is_so(fits, compared, pair, events, sign, name):
    found = compared.pairs[pair].of(name, events)
    difference, error, y_one, y_two, both = direct(fits, *pair, name, sign)
    assert (found.tokens, found.tokens + found.without_error) == (len(difference), both)
    assert found.rank_correlation == pytest.approx(spearmanr(y_one, y_two).statistic, abs=1e-3)
    # Where few tokens lie, neighbours are as far apart as this.
    few = 0.02 if events == "rising" else 0.004
    assert found.median_difference == pytest.approx(np.median(difference), abs=few)
    assert found.run_std == pytest.approx(np.quantile(abs(difference), 0.6827) / np.sqrt(2), rel=few + 0.01)
    assert found.typical_error == pytest.approx(np.median(error) / np.sqrt(2), rel=0.03)
    z = difference / error
    np.testing.assert_allclose(found.z_quantiles, np.quantile(z, (0.05, 0.25, 0.5, 0.75, 0.95)), atol=0.01 + 2 * few)
    inside = [np.mean(abs(z) < norm.ppf((1 + level) / 2)) for level in (0.5, 0.9, 0.99)]
    np.testing.assert_allclose(found.coverage, inside, atol=0.003)
    quarters = np.array_split(abs(z)[np.argsort(error)] < norm.ppf(0.95), 4)
    np.testing.assert_allclose(
        found.coverage_by_error, [quarter.mean() for quarter in quarters], atol=0.006 + 1.2 * few
    )


def test_kinds_of_tokens_and_what_repeats(fits, compared):
    found = compared.pairs[0, 1]
    kinds = [kinds_of(run, True) for run in fits[:2]]
    assert set(kinds[0]) == {0, 1, 2, 3, 4, 5}
    for one in TokenKind:
        for two in TokenKind:
            assert found.kinds[one, two] == np.sum((kinds[0] == one) & (kinds[1] == two))
    repeats = {one.kind: one for one in found.repeats}
    late = [kind == TokenKind.LATE for kind in kinds]
    assert repeats[TokenKind.LATE].both == np.sum(late[0] & late[1])
    mean = (late[0].sum() + late[1].sum()) / 2
    assert repeats[TokenKind.LATE].fraction == pytest.approx(np.sum(late[0] & late[1]) / mean)
    assert repeats[TokenKind.LATE].by_chance == pytest.approx(late[0].mean() * late[1].sum() / mean)
    assert (
        repeats[TokenKind.RISES].fraction > 5 * repeats[TokenKind.RISES].by_chance
    )  # forgetting was planted to repeat
    assert TokenKind.FITTED not in repeats
    compared = sum(one.tokens + one.without_error for one in found.parameters if one.parameter == "sharpness")
    assert compared + sum(found.left_out.values()) == TOKENS
    assert found.left_out["no fit in a run"] == np.sum((kinds[0] == 5) | (kinds[1] == 5))


def test_by_sharpness(fits):
    found = compare_tokens(fits[:2]).all_pairs.by_sharpness
    difference, error, y_one, y_two, _ = direct(fits, 0, 1, "learning_time", 1)
    assert len(found) == 8
    assert sum(group.tokens for group in found) == len(difference)
    both = np.logical_and.reduce([kinds_of(run, True) == TokenKind.FALLS for run in fits[:2]])
    both &= np.logical_and.reduce([np.isfinite(run.stderr["learning_time"]) for run in fits[:2]])
    sharpness = np.sqrt(fits[0].params["sharpness"] * fits[1].params["sharpness"])[both]
    for group in found:
        rows = (sharpness > group.least) & (sharpness <= group.most)
        assert group.tokens == pytest.approx(rows.sum(), abs=2)
        assert group.rank_correlation == pytest.approx(spearmanr(y_one[rows], y_two[rows]).statistic, abs=2e-3)
        assert group.coverage == pytest.approx(np.mean(abs(difference / error)[rows] < 1.645), abs=0.01)


def counts_of(job, fits, blocks):
    counts = job.start()
    for rows in blocks:
        counts = job.add(counts, RunBlock([part(run, rows) for run in fits], groups(len(fits[0].status))[rows]))
    return counts


def same(one, two):
    return all(np.array_equal(getattr(one, f.name), getattr(two, f.name)) for f in dataclasses.fields(one))


def test_the_result_depends_on_no_partition_and_no_order(fits):
    few = [part(run, slice(0, 150)) for run in fits]
    job = CompareRuns(plan_comparison(few, COORDINATES, "learning_time", WINDOW), ("a", "b", "c"))
    whole = counts_of(job, few, [slice(0, 150)])
    assert whole.ranks.sum() > 500
    assert same(whole, counts_of(job, few, [slice(k, k + 1) for k in range(150)]))
    assert same(whole, counts_of(job, few, [slice(90, 150), slice(0, 7), slice(7, 90)]))
    shuffled = np.random.default_rng(22).permutation(150)
    assert same(whole, counts_of(job, few, [shuffled[:70], shuffled[70:]]))
    merged = job.merge(counts_of(job, few, [slice(0, 50)]), counts_of(job, few, [slice(50, 150)]))
    assert same(whole, merged)
    assert str(job.finish(whole).as_dict()) == str(job.finish(merged).as_dict())
    assert same(job.start(), counts_of(job, few, [slice(0, 0)]))


def test_families_without_events_are_compared_whole():
    coordinates = coordinates_of({"amplitude": "nat", "rate": "1/position", "floor": "nat"}, "linear", 10.0)
    rng = np.random.default_rng(23)
    truth = {
        "amplitude": rng.uniform(1, 3, 5000),
        "rate": np.exp(rng.normal(0, 1, 5000)),
        "floor": rng.uniform(1, 2, 5000),
    }
    runs = []
    for _ in range(2):
        params = {name: values * (1 + 0.1 * rng.normal(size=5000)) for name, values in truth.items()}
        params["rate"][:10] = -1.0  # no logarithm
        stderr = {name: 0.05 * values for name, values in truth.items()}
        status = np.full(5000, Status.CONVERGED, "uint8")
        status[-5:] = Status.FLAT
        runs.append(RunTokens(params, stderr, status, np.full(5000, Category.NONE, "uint8")))
    found = compare_tokens(runs, coordinates=coordinates, event=None)
    assert [one.parameter for one in found.all_pairs.parameters] == ["amplitude", "rate", "floor"]
    rate = found.all_pairs.of("rate", "all")
    assert (rate.tokens, rate.without_error, rate.unit) == (4985, 10, "1")
    assert found.all_pairs.left_out["no fit in a run"] == 5
    assert found.all_pairs.by_sharpness == ()
    assert found.components.find("rate", "all").factor == pytest.approx(4, rel=0.15)
    assert {one.kind for one in found.all_pairs.repeats} == {TokenKind.FITTED, TokenKind.NO_FIT}
    with pytest.raises(KeyError, match="no parameter 'rate' of falling events"):
        found.all_pairs.of("rate")


def test_runs_of_one_kind_of_token_alone_say_what_they_can():
    fits, _ = planted_runs(100, seed=24)
    nothing = [dataclasses.replace(run, category=np.full(100, Category.UNLEARNED, "uint8")) for run in fits]
    found = compare_tokens(nothing)
    assert {one.tokens for one in found.all_pairs.parameters} == {0}
    assert np.isnan(found.all_pairs.of("learning_time").rank_correlation)
    assert found.all_pairs.left_out["no event in a run"] == 100
