"""`tsl schedule`: runs in; a schedule, a CSV file that `tsl forecast` reads and a picture out."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tsl_jax.cli import schedule
from tsl_jax.jobs.runs import Run, rates_until
from tsl_jax.temporal import AnnealingLaw, history, schedule_from_rates

pytestmark = pytest.mark.usefixtures("optimised")

app = typer.Typer(pretty_exceptions_enable=False)
app.command("schedule")(schedule.schedule)
app.command("other")(lambda: None)

TRUTH = {"floor": 2.5, "coefficient": 0.5, "exponent": 0.4, "excess": 150.0, "memory": 80.0}


def run(*arguments):
    return CliRunner().invoke(app, ["schedule", *map(str, arguments)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three finished runs with the annealing law's losses, whose files begin at the end of their warm-up."""
    folder, count = tmp_path_factory.mktemp("runs"), np.arange(1200)
    warm = np.minimum((count + 1) / 100, 1.0)
    shapes = {
        "constant": np.ones(1200),
        "cosine": 0.55 + 0.45 * np.cos(np.pi * count / 1200),
        "step": np.where(count < 600, 1.0, 0.2),
    }
    paths = []
    for name, shape in shapes.items():
        rates, step = 1e-3 * warm * shape, np.arange(100, 1200, 20)
        loss = np.asarray(AnnealingLaw().predict(TRUTH, history(schedule_from_rates(rates), step)))
        loss = loss * np.exp(5e-4 * np.random.default_rng(len(paths)).normal(size=len(step)))
        rows = zip(step, rates[step], loss, strict=True)
        paths.append(folder / f"{name}.csv")
        paths[-1].write_text("step,lr,loss\n" + "".join(f"{s},{r:.8g},{v:.6f}\n" for s, r, v in rows))
    return paths


@pytest.fixture(scope="module")
def done(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    options = ("--steps", 1500, "--warmup", 100, "--law", "annealing_law", "--shapes", "cosine,wsd-linear")
    result = run(*runs, *options, "--out", folder / "new.csv", "--picture", folder / "new.png", "--json")
    assert result.exit_code == 0, result.output
    return folder, result


def test_the_choice_is_said_with_its_gain(done):
    folder, result = done
    said = json.loads(result.stdout)
    assert (said["shape"], said["steps"], said["laws"]) == ("wsd-linear", 1500, ["annealing_law"])
    assert [row["shape"] for row in said["tried"]] == ["wsd-linear", "cosine"]
    for row in said["gain"].values():
        assert row["lower"] < row["gain"] < row["upper"]
    assert "Predicted gain over cosine" in result.stderr
    assert "Outside the data: the budget is 1.3 times the longest run" in result.stderr
    assert (folder / "new.png").stat().st_size > 10_000


def test_the_csv_file_is_the_schedule_that_other_commands_read(done):
    folder, result = done
    said = json.loads(result.stdout)
    young = Run("young", np.arange(200.0, 400.0, 50.0), np.full(4, 3.0))
    rates = rates_until(young, 1500, str(folder / "new.csv"))
    assert len(rates) == 1500
    np.testing.assert_allclose(rates[:100], 1e-5 * np.arange(1, 101), rtol=1e-6)
    start = 100 + said["params"]["start"] * 1400
    expected = np.interp(np.arange(101, 1501), [start, 1500], [1e-3, said["last_rate"]])
    np.testing.assert_allclose(rates[100:], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--law", "moore"), "--law: got 'moore', expected step_power_law"),
        (("--shapes", "zigzag"), "--shapes: got 'zigzag'"),
        (("--lowest", 1), "--lowest: got 1"),
        (("--steps", 110), "--steps: 10 updates are left after the warm-up"),
        (("--out", "x.txt"), "--out: x.txt has the ending"),
        (("--picture", "x.doc"), "--picture"),
    ],
)
def test_refusals_name_the_option(runs, options, says):
    result = run(*runs, "--steps", 1500, "--warmup", 100, *options, "--json")
    assert result.exit_code == 1, result.output
    assert says in json.loads(result.stdout)["error"]["message"]


def test_runs_without_rates_are_refused(runs, tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("step,loss\n" + "".join(f"{step},{4 - step / 1e4}\n" for step in range(100, 1000, 100)))
    result = run(*runs[:1], path, "--steps", 1500, "--warmup", 100, "--json")
    assert "has no learning rates" in json.loads(result.stdout)["error"]["message"]
