"""What runs of other seeds say of each other, on what is known; and the whole benchmark, small."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

import tsl_jax as tsl
from benchmarks.seeds import holding as seeds
from benchmarks.seeds.claims import claims
from benchmarks.seeds.runs import checkpoints, made_with
from benchmarks.seeds.statistics import (
    PARAMETERS,
    Run,
    compared,
    coverage,
    difference,
    fraction,
    kinds,
    read_run,
    repeated,
    widened_coverage,
)
from benchmarks.texts import split_texts
from tsl_jax import Category, Status
from tsl_jax.reshape import EventDensity
from tsl_jax.runs import RunComponent, RunComponents, TimeFactors

NUMBER, CONTEXT = 12_000, 40
SEQUENCE = np.arange(NUMBER) // CONTEXT


def planted(seed: int, spread: float) -> list[Run]:
    """Two runs of the same tokens whose parameters scatter ``spread`` times their standard errors."""
    rng = np.random.default_rng(seed)
    truth = {
        "learning_time": np.exp(rng.uniform(1, 7, NUMBER)),
        "sharpness": np.exp(rng.normal(1, 0.5, NUMBER)),
        "loss_drop": rng.normal(4, 1, NUMBER),
        "final_loss": rng.uniform(0, 3, NUMBER),
    }
    runs = []
    for _ in range(2):
        error = rng.uniform(0.01, 0.1, NUMBER)
        params, stderr = {}, {}
        for name, value in truth.items():
            scatter = spread * error * rng.standard_normal(NUMBER)
            if name in ("learning_time", "sharpness"):
                params[name] = value * np.exp(scatter)
                stderr[name] = error * params[name]
            else:
                params[name], stderr[name] = value + scatter, error
        status, category = (np.full(NUMBER, code, np.uint8) for code in (Status.CONVERGED, Category.LEARNED))
        density = EventDensity.of(params["learning_time"], NUMBER)
        runs.append(Run(params, stderr, status, category, np.zeros(NUMBER), np.ones(NUMBER), density, SEQUENCE))
    return runs


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.45])
def test_coverage_is_that_of_a_planted_spread(spread):
    """Errors that are true cover 90%; those 2.45 times too small cover 50%."""
    one, other = planted(1, spread)
    found = compared(one, other)
    expected = 2 * norm.cdf(norm.ppf(0.95) / spread) - 1
    for name, measured in found["parameters"].items():
        print(name, measured)
        assert measured["tokens"] == NUMBER
        assert measured["fraction"] == pytest.approx(expected, abs=4 * measured["stderr"] + 1e-3), name
        # The quantiles of a normal scatter by 1.31 of its deviation over root n.
        assert measured["half_width"] == pytest.approx(spread, rel=4 * 1.31 / NUMBER**0.5), name
    assert list(found["by_learning_time"]) == ["0 to inf"]
    assert found["by_learning_time"]["0 to inf"] == found["parameters"]
    assert found["rank_correlation"] > 0.98
    assert found["learned_in_both"] == NUMBER


def test_a_shift_that_all_tokens_share_is_no_spread_but_costs_coverage():
    z = np.random.default_rng(2).standard_normal(NUMBER)
    found = coverage(0.3 * (z + 1.0), np.full(NUMBER, 0.3), SEQUENCE)
    assert found["half_width"] == pytest.approx(1, rel=0.05)
    assert found["fraction"] == pytest.approx(norm.cdf(0.645) - norm.cdf(-2.645), abs=0.02)


def test_coverage_is_told_by_when_tokens_are_learned():
    """Early tokens repeat as their errors say, late ones by three times as much: all together hide it."""
    (one, other), (wide, wider) = planted(9, 1.0), planted(9, 3.0)
    late = one.params["learning_time"] > 150
    for run, source in ((one, wide), (other, wider)):
        for name, values in run.params.items():
            values[late] = source.params[name][late]
            run.stderr[name][late] = source.stderr[name][late]
    found = compared(one, other, [0, 50, 300, np.inf])["by_learning_time"]
    early, later = found["0 to 50"]["learning_time"], found["300 to inf"]["learning_time"]
    assert early["half_width"] == pytest.approx(1, rel=0.08)
    assert later["half_width"] == pytest.approx(3, rel=0.08)
    assert early["fraction"] == pytest.approx(0.9, abs=4 * early["stderr"])
    assert later["fraction"] == pytest.approx(0.416, abs=4 * later["stderr"])
    assert sum(one["learning_time"]["tokens"] for one in found.values()) == NUMBER


def test_errors_between_runs_hold_in_every_third():
    """Late tokens scatter three times as much as their errors say; components say so and make them hold."""
    edges = [0, 50, 300, 2000]
    one, other = planted(10, 1.0)
    late = one.params["learning_time"] > 150
    for run, source in zip((one, other), planted(10, 3.0), strict=True):
        for name, values in run.params.items():
            values[late] = source.params[name][late]
            run.stderr[name][late] = source.stderr[name][late]
    rows = []
    for events in ("falling", "rising"):
        for name, (_, logarithm) in PARAMETERS.items():
            times = TimeFactors("learning_time", (150.0,), (1.0, 9.0))
            kind = "ln" if logarithm else "plain"
            rows.append(RunComponent(name, events, kind, 0.0, 1.0, "factor", 0.9, 99, 0.1, 0.2, 0.0, times))
    found = widened_coverage(one, other, RunComponents(tuple(rows)), edges)
    assert list(found)[:1] + list(found)[4:] == ["all", "0 to 50", "50 to 300", "300 to 2000"]
    assert [name.split(",")[0] for name in list(found)[1:4]] == ["first third", "second third", "last third"]
    for name, window in found.items():
        for parameter, measured in window.items():
            assert measured["fraction"] == pytest.approx(0.9, abs=4 * measured["stderr"] + 0.01), (name, parameter)
    without = widened_coverage(
        one, other, RunComponents(tuple(dataclasses.replace(row, times=None) for row in rows)), edges
    )
    assert without["300 to 2000"]["learning_time"]["fraction"] < 0.5


def test_only_tokens_with_an_event_and_an_error_in_both_runs_are_compared():
    one, other = planted(3, 1.0)
    one.category[0] = Category.LATE
    other.category[1] = Category.UNLEARNED
    one.stderr["sharpness"][2] = np.nan
    other.stderr["sharpness"][3] = np.inf
    known = difference(one, other, "sharpness")[2]
    np.testing.assert_array_equal(np.flatnonzero(~known), [0, 1, 2, 3])
    np.testing.assert_array_equal(np.flatnonzero(~difference(one, other, "loss_drop")[2]), [0, 1])


def test_runs_with_no_common_event_have_no_coverage():
    one, other = planted(4, 1.0)
    other.category[:] = Category.UNLEARNED
    found = compared(one, other)
    assert found["learned_in_both"] == 0
    assert found["rank_correlation"] is None
    empty = {"fraction": None, "stderr": None, "tokens": 0, "half_width": None}
    assert all(one == empty for one in found["parameters"].values())
    json.dumps(found, allow_nan=False)
    assert "none" in seeds.tables({"pairs": {"0, 1": found}, "claims": {}})


def test_the_error_of_a_share_knows_that_tokens_of_a_sequence_are_alike():
    """Sequences that hit as a whole: their number counts, not that of the tokens."""
    rng = np.random.default_rng(5)
    whole = (rng.uniform(size=NUMBER // CONTEXT) < 0.3)[SEQUENCE]
    alone = rng.uniform(size=NUMBER) < 0.3
    by_sequence = (0.3 * 0.7 / (NUMBER // CONTEXT)) ** 0.5
    assert fraction(whole, SEQUENCE)["stderr"] == pytest.approx(by_sequence, rel=0.1)
    assert fraction(alone, SEQUENCE)["stderr"] == pytest.approx(by_sequence / CONTEXT**0.5, rel=0.15)


def test_categories_that_repeat_are_counted_each_and_falling_ones_apart():
    one, other = planted(6, 0.0)
    one.category[:10], other.category[:7] = Category.LATE, Category.LATE
    for run in (one, other):
        run.params["loss_drop"][:] = 1.0
    one.params["loss_drop"][20:24], other.params["loss_drop"][20:23] = -1.0, -1.0
    found = repeated(one, other)
    assert found["LATE"]["fraction"] == 0.7
    assert found["LATE"]["by_chance"] == 7 / NUMBER
    assert (found["LEARNED, rises"]["fraction"], found["LEARNED, rises"]["tokens"]) == (0.75, 4)
    assert (found["LEARNED, falls"]["fraction"], found["LEARNED, falls"]["tokens"]) == (1.0, NUMBER - 14)
    assert found["EARLY"]["fraction"] is None
    assert sum(where.sum() for where in kinds(one).values()) == NUMBER


def test_claims_come_true_where_the_other_run_has_the_event_in_the_window():
    one, other = planted(7, 0.0)
    for run in (one, other):
        run.params["learning_time"][:] = 10.0
        run.params["learning_time"][:1000] = 100.0
        run.params["loss_drop"][:] = 1.0
        run.stderr["learning_time"][:] = 0.1
    one.stderr["learning_time"][0] = 1e4  # claims little: its error is far wider than the window
    one.unlearned[4] = 0.6  # as does one that may have no event
    one.r2[5:9] = 0.5  # and those that the curve hardly follows
    other.category[1] = Category.LATE
    other.params["learning_time"][2] = 300.0
    other.params["loss_drop"][3] = -1.0
    one = dataclasses.replace(one, density=EventDensity.of(one.params["learning_time"], NUMBER))
    found = claims(one, other, (50.0, 200.0))
    sure = found["97% to 100%"]
    assert sure["tokens"] == 1000 - 6
    assert sure["fraction"] == pytest.approx((1000 - 9) / (1000 - 6))
    assert 0.97 < sure["claimed"] <= 1
    assert found["30% to 50%"]["tokens"] == 5
    assert found["30% to 50%"]["fraction"] == 1
    assert found["90% to 97%"] == {"fraction": None, "stderr": None, "tokens": 0, "claimed": None}
    # With components that know of wide scatter hardly anything is claimed.
    rows = [
        RunComponent(name, events, "ln" if log else "plain", 4.0, 1.0, "additive", 0.9, 99, 0.1, 2.0, 0.0)
        for events in ("falling", "rising")
        for name, (_, log) in PARAMETERS.items()
    ]
    wide = claims(one, other, (50.0, 200.0), RunComponents(tuple(rows)))
    assert sum(wide[name]["tokens"] for name in list(wide)[2:]) == 0


def test_checkpoints_are_geometric_from_the_first_step():
    steps = checkpoints({"steps": 1600, "checkpoints": 100})
    assert (steps[0], steps[-1]) == (1, 1600)
    assert 64 <= len(steps) <= 100
    assert np.ptp(np.diff(np.log(steps[-40:]))) < 0.02  # rounded to whole steps


@pytest.fixture
def text(tmp_path):
    """The package's own sources, every second one as a document."""
    folder = tmp_path / "text"
    folder.mkdir()
    for number, path in enumerate(sorted(Path(tsl.__file__).parent.rglob("*.py"))):
        (folder / f"{number}{'.py' if number % 2 else '.txt'}").write_bytes(path.read_bytes())
    return str(folder)


def test_a_domain_has_the_files_of_its_suffixes_alone(tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.py").write_bytes(bytes([97 + number]) * 2000)
        (tmp_path / f"{number}.txt").write_bytes(bytes([65 + number]) * 2000)
    found = {
        domain: split_texts(str(tmp_path), {"training": 40, "validation": 10}, 99, domain=domain)
        for domain in ("code", "documents", None)
    }
    inside = {
        domain: {name: set(np.unique(values)) for name, values in rows.items()} for domain, (rows, _) in found.items()
    }
    assert not inside["code"]["training"] & inside["code"]["validation"]
    assert set.union(*inside["code"].values()) == set(range(97, 105))
    assert set.union(*inside["documents"].values()) == set(range(65, 73))
    assert set.union(*inside[None].values()) == {*range(97, 105), *range(65, 73)}


def test_runs_are_trained_once_and_differ_in_their_seed_alone(tmp_path, text, capsys):
    arguments = ["--quick", "--seeds", "2", "--stores", str(tmp_path), "--out", str(tmp_path / "found.json")]
    arguments += ["--text", text]
    found = seeds.main(arguments)
    printed = capsys.readouterr().out
    assert json.loads((tmp_path / "found.json").read_text())["pairs"] == found["pairs"]
    assert "Within the 90% interval" in printed
    assert "Claims of events" in printed
    one, other = (tsl.open_losses(tmp_path / f"run{seed}.zarr") for seed in (0, 1))
    for name in ("token_id", "sequence", "position", "domain"):
        np.testing.assert_array_equal(one.read_coordinate(name), other.read_coordinate(name), err_msg=name)
    losses, others = one.read(), other.read()
    assert losses.shape == (48 * 16, found["runs"][0]["checkpoints"])
    assert np.mean(losses[:, 0] != others[:, 0]) > 0.9
    assert losses[:, -1].mean() < losses[:, 0].mean() - 1
    assert np.mean(losses) == pytest.approx(np.mean(others), rel=0.05)
    # Of so small a model hardly an event stands out of noise that may persist; taken for independent, times agree.
    options = tsl.FitOptions(noise="independent")
    for seed in (0, 1):
        losses = tmp_path / f"run{seed}.zarr"
        tsl.fit_store(losses, tmp_path / f"independent{seed}.zarr", tsl.Sigmoid(), options=options)
    first, second = (read_run(tsl.open_fits(tmp_path / f"independent{seed}.zarr")) for seed in (0, 1))
    assert compared(first, second)["rank_correlation"] > 0.5

    # Stores that are there are used as they are; those of another preset are refused.
    again = seeds.main(arguments)
    assert "seed 0, step" not in capsys.readouterr().out
    assert again["pairs"] == found["pairs"]
    with pytest.raises(SystemExit, match=r"run0.zarr: made with"):
        seeds.main(["--preset", "cpu", "--stores", str(tmp_path)])
    assert made_with(tmp_path / "run4.zarr") is None


def test_one_run_cannot_be_compared(capsys):
    with pytest.raises(SystemExit):
        seeds.main(["--seeds", "1"])
    assert "expected at least 2" in capsys.readouterr().err
