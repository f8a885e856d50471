"""The component between runs on planted ones: it is found, and makes intervals hold in another pair of runs."""

import dataclasses
import json

import numpy as np
import pytest

from tests.seeded_runs import COORDINATES, WINDOW, compare_tokens, groups, part, planted_runs
from tsl_jax.runs import (
    CompareRuns,
    RunBlock,
    RunComponents,
    coordinates_of,
    estimate_component,
    plan_comparison,
    with_run_components,
)

TOKENS = 40_000


def heavy(rng, shape):
    """Student's t with 2 degrees of freedom, of which 90% lie where 90% of a normal distribution do."""
    return rng.standard_t(2, shape) * 1.6449 / 2.9200


def mixture(rng, shape):
    """Mostly a normal distribution; 4% are 20 times as wide."""
    return rng.normal(size=shape) * np.where(rng.random(shape) < 0.04, 20.0, 1.0)


PLANTED = {
    "additive": {"additive": 0.01},
    "factor": {"factor": 4.0},
    "both": {"additive": 0.01, "factor": 3.0},
    "heavy tails": {"additive": 0.01, "draw": heavy},
    "outliers": {"factor": 4.0, "draw": mixture},
}


@pytest.mark.parametrize("name", PLANTED)
def test_intervals_with_the_component_hold_in_another_pair_of_runs(name):
    fits, _ = planted_runs(TOKENS, 4, **PLANTED[name], seed=3)
    first = compare_tokens(fits[:2])
    second = compare_tokens(fits[2:], first.components)
    assert (first.estimated, second.estimated) == (True, False)
    for found in second.all_pairs.parameters:
        assert found.coverage[1] < 0.85
        bound = 0.01 if found.events == "falling" else 0.025  # a tenth of the tokens rise
        assert found.coverage_between_runs[1] == pytest.approx(0.9, abs=bound), found
        assert np.allclose(found.coverage_between_runs_by_error, 0.9, atol=0.04 if bound < 0.02 else 0.06), found


def test_the_planted_component_is_found():
    for name, form in (("additive", "additive"), ("factor", "factor"), ("both", "both")):
        fits, _ = planted_runs(TOKENS, **PLANTED[name], seed=4)
        component = compare_tokens(fits).components.find("learning_time", "falling")
        assert component.form == form
        planted = {"additive": 0.0, "factor": 1.0} | PLANTED[name]
        at_typical = np.sqrt(planted["factor"] * component.typical_error**2 + planted["additive"])
        assert component.between_runs == pytest.approx(at_typical, rel=0.03)
        errors = [run.stderr["learning_time"] / run.params["learning_time"] for run in fits]
        median = np.median(np.sqrt(np.mean(np.square(errors), axis=0)))
        assert component.typical_error == pytest.approx(median, rel=0.02)
        if form != "both":
            assert component.factor == pytest.approx(planted["factor"], rel=0.06)
            assert component.additive == pytest.approx(planted["additive"], rel=0.06, abs=1e-12)
            fraction = 1 - (component.typical_error / at_typical) ** 2
            assert component.fraction == pytest.approx(fraction, abs=0.03)


def test_no_component_where_there_is_none():
    for seed in range(5):
        fits, _ = planted_runs(4000, seed=seed)
        found = compare_tokens(fits)
        falling = [one for one in found.components.items if one.events == "falling"]
        assert len(falling) == 4
        for component in falling:
            assert component.between_runs < 1.06 * component.typical_error, seed
        assert sum(component.form == "none" for component in falling) >= 3, seed


def test_errors_that_claim_too_much_are_left_as_they_are():
    fits, _ = planted_runs(4000, factor=0.25, seed=5)
    component = compare_tokens(fits).components.find("loss_drop", "falling")
    assert (component.form, component.factor, component.additive) == ("none", 1.0, 0.0)


def test_small_errors_that_claim_too_little_beside_great_ones_that_claim_too_much():
    fits, _ = planted_runs(TOKENS, 4, factor=0.5, additive=0.002, seed=13)
    first = compare_tokens(fits[:2])
    component = first.components.find("learning_time", "falling")
    assert component.form == "both"
    assert component.factor == pytest.approx(0.5, abs=0.05)
    found = compare_tokens(fits[2:], first.components).all_pairs.of("learning_time")
    assert found.coverage[1] > 0.92
    assert found.coverage_by_error[0] < 0.84
    assert np.allclose(found.coverage_between_runs_by_error, 0.9, atol=0.02)


@pytest.mark.parametrize("planted", [{}, {"factor": 2.0}, {"additive": 0.02}])
def test_scatter_that_grows_along_training_is_found_and_holds_in_another_pair(planted):
    fits, _ = planted_runs(TOKENS, 4, **planted, slope=1.0, seed=14, errors=(0.02, 0.1))
    first = compare_tokens(fits[:2])
    found = compare_tokens(fits[2:], first.components)
    for name in COORDINATES:
        times = first.components.find(name, "falling").times
        assert times.parameter == "learning_time"
        assert np.all(np.diff(times.factors) > 0)
        middles = np.sqrt(np.multiply(times.edges[1:], times.edges[:-1]))
        assert np.polyfit(np.log(middles), np.log(times.factors[1:-1]), 1)[0] == pytest.approx(1, abs=0.15)
        one = found.all_pairs.of(name)
        assert one.coverage_by_time[0] - one.coverage_by_time[2] > 0.15
        assert np.allclose(one.coverage_between_runs_by_time, 0.9, atol=0.02), name
        # Each run's errors by its own time, as a user has them.
        wide = [with_run_components(run.params, run.stderr, first.components) for run in fits[2:]]
        pairs = [
            COORDINATES[name].of(run.params[name], errors[name]) for run, errors in zip(fits[2:], wide, strict=True)
        ]
        z = (pairs[1][0] - pairs[0][0]) / np.hypot(pairs[0][1], pairs[1][1])
        time = fits[2].params["learning_time"]
        for third in np.array_split(np.argsort(time), 3):
            assert np.mean(np.abs(z[third]) < 1.645) == pytest.approx(0.9, abs=0.03), name


def test_learning_times_make_no_difference_where_none_is():
    seeds = range(20, 40)
    chance = []
    for seed in seeds:
        fits, _ = planted_runs(2000, factor=2.0, seed=seed)
        chance += [one.times is not None for one in compare_tokens(fits).components.items]
    assert np.mean(chance) <= 0.02, list(seeds)


def test_few_tokens_are_drawn_to_the_factor_of_all():
    fits, _ = planted_runs(TOKENS, slope=1.0, seed=15)
    many = compare_tokens(fits).components.find("loss_drop", "falling").times.factors
    few = compare_tokens([part(run, slice(0, 1500)) for run in fits]).components.find("loss_drop", "falling").times
    assert np.std(np.log(few.factors)) < 1.1 * np.std(np.log(many))
    alone = compare_tokens([part(run, slice(0, 200)) for run in fits]).components.find("loss_drop", "falling")
    assert alone.times is None


def test_moments_would_follow_the_tails():
    fits, _ = planted_runs(TOKENS, **PLANTED["outliers"], seed=6)
    (one, s_one), (two, s_two) = (
        COORDINATES["final_loss"].of(run.params["final_loss"], run.stderr["final_loss"]) for run in fits
    )
    by_moments = np.mean((two - one) ** 2 / (s_one**2 + s_two**2))
    assert by_moments > 40
    assert compare_tokens(fits).components.find("final_loss", "falling").factor < 8


def test_the_error_of_the_component_is_its_scatter():
    values, errors = [], []
    for seed in range(24):
        fits, _ = planted_runs(3000, factor=4.0, seed=100 + seed)
        job = CompareRuns(plan_comparison(fits, COORDINATES, "learning_time", WINDOW), ("a", "b"))
        counts = job.add(job.start(), RunBlock(fits, groups(3000)))
        component = estimate_component(
            "learning_time", "falling", COORDINATES["learning_time"], counts.resampled[:, 0, 0]
        )
        values.append(component.between_runs)
        errors.append(component.between_runs_stderr)
    assert 0.6 < np.std(values) / np.sqrt(np.mean(np.square(errors))) < 1.6  # seeds 100 to 123


def test_a_linear_scale_is_in_its_own_units():
    units = {"learning_time": "axis"}
    fits, _ = planted_runs(5000, additive=0.01, seed=7, rising=0.0)
    plain = [
        dataclasses.replace(
            run,
            params={"learning_time": 2000 + 400 * np.log(run.params["learning_time"])},
            stderr={"learning_time": 400 * run.stderr["learning_time"] / run.params["learning_time"]},
        )
        for run in fits
    ]
    window = (1.0, 6000.0)
    found = compare_tokens(plain, coordinates=coordinates_of(units, "linear", 5999.0), window=window)
    log = compare_tokens(fits).components.find("learning_time", "falling")
    linear = found.components.find("learning_time", "falling")
    assert linear.coordinate == "plain"
    assert linear.additive == pytest.approx(log.additive * 400**2, rel=0.03)
    assert linear.between_runs == pytest.approx(400 * log.between_runs, rel=0.03)
    (one, two), other = found.all_pairs.parameters, compare_tokens(fits).all_pairs.of("learning_time")
    assert one.run_std == pytest.approx(400 * other.run_std, rel=0.02)
    assert one.median_difference == pytest.approx(400 * other.median_difference, rel=0.05)
    assert (one.unit, two.tokens) == ("axis", 0)


def test_few_tokens_say_nothing():
    fits, _ = planted_runs(20, seed=8)
    found = compare_tokens(fits)
    assert {component.form for component in found.components.items} == {"unknown"}
    assert found.components.find("learning_time", "falling") is None
    one = found.all_pairs.of("learning_time")
    assert one.tokens > 10
    assert np.isfinite(one.coverage).all()
    assert np.isnan(one.coverage_between_runs).all()
    wide = with_run_components(fits[0].params, fits[0].stderr, found.components)
    assert all(np.isnan(errors).all() for errors in wide.values())


def test_few_rising_tokens_borrow_the_component_of_falling_ones():
    fits, _ = planted_runs(2000, factor=4.0, seed=9, rising=0.01)
    components = compare_tokens(fits).components
    falling = components.find("learning_time", "falling")
    assert components.find("learning_time", "rising") == falling
    rises = fits[0].params["loss_drop"] < 0
    assert 0 < rises.sum() < 30
    wide = with_run_components(fits[0].params, fits[0].stderr, components)["learning_time"]
    assert np.allclose(wide / fits[0].stderr["learning_time"], np.sqrt(falling.factor))


def test_errors_are_widened_by_the_formula_in_the_units_of_the_store():
    fits, _ = planted_runs(TOKENS, additive=0.01, seed=10)
    components = compare_tokens(fits).components
    params, stderr = part(fits[0], slice(0, 500)).params, part(fits[0], slice(0, 500)).stderr
    wide = with_run_components(params, stderr, components)
    rises = params["loss_drop"] < 0
    for name, coordinate in COORDINATES.items():
        y, error = coordinate.of(params[name], stderr[name])
        own = [components.find(name, events) for events in ("falling", "rising")]
        variances = [one.factor * error**2 + one.additive for one in own]
        want = coordinate.value(y, np.sqrt(np.where(rises, variances[1], variances[0])))[1]
        np.testing.assert_allclose(wide[name], want)
    fits, _ = planted_runs(TOKENS, slope=1.0, seed=17)
    late = compare_tokens(fits).components
    with pytest.raises(ValueError, match="params: expected learning_time, too: errors of final_loss between runs"):
        late.widened({"final_loss": params["final_loss"]}, {"final_loss": stderr["final_loss"]})
    with pytest.raises(ValueError, match="params: expected learning_time"):
        with_run_components({"loss_drop": params["loss_drop"]}, {"learning_time": stderr["learning_time"]}, components)


def test_components_survive_json():
    fits, _ = planted_runs(200, seed=11)  # too few tokens rise: NaN
    components = compare_tokens(fits).components
    text = json.dumps(components.as_dict(), allow_nan=False)
    again = RunComponents.from_dict(json.loads(text))
    assert json.dumps(again.as_dict()) == text
    assert again.find("sharpness", "falling") == components.find("sharpness", "falling")
    assert {component.form for component in again.items if component.events == "rising"} == {"unknown"}
    fits, _ = planted_runs(TOKENS, slope=1.0, seed=16)
    components = compare_tokens(fits).components
    rows = components.as_dict()
    assert components.find("sharpness", "falling").times is not None
    assert RunComponents.from_dict(json.loads(json.dumps(rows))) == components
    broken = [rows[0] | {"times": times} for times in (
        "early", {"edges": []}, {"parameter": "learning_time", "edges": [2.0, 1.0], "factors": [1.0, 1.0, 1.0]},
        {"parameter": "learning_time", "edges": [1.0, 2.0], "factors": [1.0, 1.0]},
    )]  # fmt: skip
    for wrong in ([{"parameter": "x"}], ["x"], *([row] for row in broken)):
        with pytest.raises(ValueError, match="components: got"):
            RunComponents.from_dict(wrong)


def test_components_of_another_law_are_refused():
    fits, _ = planted_runs(200, seed=12)
    components = compare_tokens(fits).components
    components.check(COORDINATES, "learning_time")
    other = coordinates_of({"learning_time": "axis"}, "linear")
    for coordinates, event in ((other, "learning_time"), (COORDINATES, None)):
        with pytest.raises(ValueError, match="components: got those of learning_time"):
            components.check(coordinates, event)
