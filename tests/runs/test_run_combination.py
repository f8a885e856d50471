"""Fits of several runs as one: the formula, who is used where runs disagree, and errors that hold."""

import numpy as np
import pytest

from tests.seeded_runs import COORDINATES, WINDOW, compare_tokens, part, planted_runs
from tsl_jax.fitting import Category, Status
from tsl_jax.runs import RunComponents, RunTokens, combine_runs, combined_statistic, coordinates_of

NONE = RunComponents(())


def runs_of(**columns):
    """One token a column; ``columns`` hold a row a run of learning time, drop, category, status, error."""
    rows = {name: np.atleast_2d(np.asarray(values, float)) for name, values in columns.items()}
    shape = rows["category"].shape
    default = {"learning_time": 50.0, "drop": 3.0, "status": Status.CONVERGED, "error": 0.1}
    rows = {name: rows.get(name, np.full(shape, value)) for name, value in default.items()} | rows
    found = []
    for k in range(shape[0]):
        params = {
            "learning_time": rows["learning_time"][k],
            "sharpness": np.full(shape[1], 2.0),
            "loss_drop": rows["drop"][k],
            "final_loss": np.full(shape[1], 1.0),
        }
        stderr = {name: rows["error"][k] * np.abs(values) for name, values in params.items()}
        codes = (rows[name][k].astype("uint8") for name in ("status", "category"))
        found.append(RunTokens(params, stderr, *codes))
    return found


def combined(fits, components=NONE):
    return combine_runs(fits, COORDINATES, components, "learning_time", WINDOW)


L, E, LATE, U, N = Category.LEARNED, Category.EARLY, Category.LATE, Category.UNLEARNED, Category.NONE


def test_the_mean_is_weighted_by_the_variance_between_runs():
    fits, _ = planted_runs(5000, 3, additive=0.02, factor=2.0, seed=30)
    components = compare_tokens(fits).components
    found = combined(fits, components)
    rises = fits[0].params["loss_drop"] < 0
    for name, coordinate in COORDINATES.items():
        total = weighted = 0.0
        for run in fits:
            y, error = coordinate.of(run.params[name], run.stderr[name])
            own = [components.find(name, events) for events in ("falling", "rising")]
            weight = 1 / np.where(rises, own[1].variance(error), own[0].variance(error))
            total, weighted = total + weight, weighted + weight * y
        value, error = coordinate.value(weighted / total, 1 / np.sqrt(total))
        np.testing.assert_allclose(found.params[name], value, rtol=1e-12)
        np.testing.assert_allclose(found.stderr[name], error, rtol=1e-12)
    assert np.all(found.used)


def test_what_weighs_runs_is_their_mean_learning_time():
    fits, truth = planted_runs(20_000, 3, factor=2.0, slope=1.0, seed=33)
    components = compare_tokens(fits).components
    found = combined(fits, components)
    component = components.find("final_loss", "falling")
    assert component.times is not None
    falls = fits[0].params["loss_drop"] > 0
    time = np.exp(np.mean([np.log(run.params["learning_time"]) for run in fits], axis=0))
    errors = np.stack([run.stderr["final_loss"] for run in fits])
    total = np.sum(1 / (component.factor * errors**2 + component.additive), axis=0) / component.times.at(time)
    np.testing.assert_allclose(found.stderr["final_loss"][falls], (1 / np.sqrt(total))[falls])
    inside = np.abs(found.params["final_loss"] - truth["final_loss"]) < 1.645 * found.stderr["final_loss"]
    for third in np.array_split(np.argsort(truth["learning_time"]), 3):
        assert np.mean(inside[third]) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("planted", [{"additive": 0.02}, {"factor": 4.0}, {}])
def test_combined_errors_hold(planted):
    fits, truth = planted_runs(20_000, 3, **planted, seed=31)
    found = combined(fits, compare_tokens(fits).components)
    for name, coordinate in COORDINATES.items():
        y, error = coordinate.of(found.params[name], found.stderr[name])
        inside = np.mean(np.abs(y - truth[name]) < 1.645 * error)
        assert inside == pytest.approx(0.9, abs=0.015), name
        single = coordinate.of(fits[0].params[name], fits[0].stderr[name])[0]
        assert np.std(y - truth[name]) < 0.75 * np.std(single - truth[name])


def test_categories_by_majority_and_by_the_combined_time():
    fits = runs_of(
        category=[[L, L, U, N, L, E, L], [L, U, U, L, N, LATE, LATE], [U, U, L, N, U, L, L]],
        learning_time=[[50, 50, 50, 50, 50, 0.5, 900], [60, 50, 50, 70, 50, 4000, 9000], [1, 1, 50, 1, 50, 50, 980]],
        status=[[0, 0, 0, 4, 0, 0, 0], [0, 0, 0, 0, 5, 0, 0], [0, 0, 0, 3, 0, 0, 0]],
    )
    found = combined(fits)
    # Most have an event; most have none; the same; one fit alone; one of two, and a tie counts as an event; the middle
    # of three events; the mean of three that lie on both sides of the end.
    assert found.category.tolist() == [L, U, U, L, L, L, LATE]
    assert found.used[:, 0].tolist() == [True, True, False]
    assert found.used[:, 1].tolist() == [False, True, True]
    assert found.params["learning_time"][0] == pytest.approx(np.sqrt(50 * 60))
    assert found.params["learning_time"][3] == pytest.approx(70)
    assert found.params["learning_time"][6] == pytest.approx((900 * 9000 * 980) ** (1 / 3))
    assert found.status.tolist() == [0] * 7


def test_falling_and_rising_runs_are_never_averaged():
    fits = runs_of(
        category=[[L, L, L]] * 3,
        drop=[[3, -1, 2], [2, -2, -3], [-1, 5, np.nan]],
        status=[[0, 0, 0], [0, 0, 0], [0, 0, 5]],
    )
    found = combined(fits)
    assert np.all(found.used == [[True, True, False], [True, True, True], [False, False, False]])
    assert found.params["loss_drop"][0] == pytest.approx((3 / 9 + 2 / 4) / (1 / 9 + 1 / 4))
    assert found.params["loss_drop"][2] == -3  # a tie goes to the greater drop


def test_without_errors_the_plain_mean():
    fits = runs_of(
        category=[[L, L, L]] * 2,
        learning_time=[[40, 40, 40], [90, 90, 90]],
        error=[[np.nan, np.nan, 0], [np.nan, 0.1, np.nan]],
        status=[[Status.AT_BOUND] * 3, [Status.AT_BOUND, Status.CONVERGED, Status.MAX_STEPS]],
    )
    found = combined(fits)
    np.testing.assert_allclose(found.params["learning_time"], [60, 90, 60])
    np.testing.assert_allclose(found.stderr["learning_time"], [np.nan, 9, np.nan])
    assert found.status.tolist() == [Status.AT_BOUND, Status.CONVERGED, Status.AT_BOUND]


def test_tokens_without_a_fit_stay_without():
    fits = runs_of(
        category=[[N, N]] * 2, status=[[Status.FLAT, Status.NON_FINITE], [Status.TOO_FEW_POINTS, Status.FLAT]]
    )
    found = combined(fits)
    assert np.isnan(found.params["learning_time"]).all()
    assert found.category.tolist() == [N, N]
    assert found.status.tolist() == [Status.TOO_FEW_POINTS, Status.NON_FINITE]
    assert not found.fitted.any()


def test_other_arrays_are_sums_and_means():
    fits = runs_of(category=[[L, U, N], [L, L, N], [U, L, N]], status=[[0, 0, 5], [0, 0, 5], [0, 0, 5]])
    found = combined(fits)
    points = np.array([[10, 10, 10], [20, 20, 20], [30, 30, 30]])
    values = np.array([[1.0, 1, 1], [2, 2, 2], [6, 6, np.nan]])

    def of(name, given=values):
        return combined_statistic(name, given, found, points).tolist()

    assert of("rss", np.nan_to_num(values)) == [3, 8, 3]
    assert of("num_points", points) == [30, 50, 60]
    assert of("r2") == [1.5, 4, 1.5]
    assert of("constant") == pytest.approx([230 / 60, 230 / 60, 50 / 30])
    chances = np.array([[10, 20, 7], [20, 20, 7], [61, 21, 7]], np.uint8)
    assert of("learned_probability", chances) == [30, 20, 7]


def test_families_without_events_use_every_fit():
    coordinates = coordinates_of({"coefficient": "nat·axis^exponent", "floor": "nat"}, "log")
    params = [{"coefficient": np.array([2.0, -1.0]), "floor": np.array([1.0, 1.0])} for _ in range(2)]
    stderr = {"coefficient": np.array([0.2, 0.2]), "floor": np.array([0.1, 0.1])}
    fits = [RunTokens(one, stderr, np.zeros(2, "uint8"), np.full(2, N, "uint8")) for one in params]
    found = combine_runs(fits, coordinates, NONE, None, WINDOW)
    np.testing.assert_allclose(found.params["coefficient"], [2.0, -1.0])
    np.testing.assert_allclose(found.stderr["coefficient"], [0.2 / np.sqrt(2), np.nan])
    assert found.category.tolist() == [N, N]
    assert found.status.tolist() == [Status.CONVERGED, Status.CONVERGED]
    assert np.all(part(fits[0], slice(0, 1)).params["floor"] == 1)
