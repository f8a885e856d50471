"""`tsl forecast`, `tsl rank` and `tsl timescale`: files in, JSON out, clear refusals."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tsl_jax.cli import forecast, like, rank, timescale
from tsl_jax.store import create_losses

pytestmark = pytest.mark.usefixtures("optimised")

app = typer.Typer(pretty_exceptions_enable=False)
app.command("forecast")(forecast.forecast)
app.command("rank")(rank.rank)
app.command("timescale")(timescale.timescale)
STEP = np.arange(100, 4001, 100)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def curve(path, floor=3.0, rows=None, header="step,lr,loss"):
    """A CSV of a power law; ``rows`` replaces its text."""
    lines = rows or [f"{step},0.001,{floor + 20 * step**-0.5:.6f}" for step in STEP]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_forecast_of_a_csv(tmp_path):
    picture = tmp_path / "forecast.png"
    done = run(
        *("forecast", curve(tmp_path / "a.csv"), "--until", 4000, "--fraction", 0.3),
        *("--warmup", 0, "--picture", picture, "--json"),
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["hidden"]["rows"] == 28
    assert said["hidden"]["mse"] < 1e-4
    assert said["end"]["lower90"] < said["end"]["loss"] < said["end"]["upper90"]
    assert np.isclose(sum(said["laws"].values()), 1, atol=1e-4)
    assert picture.stat().st_size > 10_000


def test_rank_of_two_csvs(tmp_path):
    files = [curve(tmp_path / "worse.csv", 3.2), curve(tmp_path / "better.csv", 3.0)]
    done = run("rank", *files, "--at", 6000, "--schedule", "none", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["runs"][0]["run"].endswith("better.csv")
    assert said["runs"][0]["probability_best"] > 0.9


@pytest.mark.parametrize(
    ("rows", "header", "options", "says"),
    [
        (["1,0.1,nan"], "step,lr,loss", (), "none of its 1 rows has a finite step and loss"),
        (["1,0.1,five"], "step,lr,loss", (), "line 2: loss is 'five'"),
        (None, "step,lr,loss", ("--loss-column", "nats"), "no column 'nats' among"),
        (["1,3"], "when,loss", (), "no column 'step'"),
        (["100,0.1,3"], "step,lr,loss", ("--schedule", "none"), "got 1 rows"),
        (None, "step,lr,loss", ("--fraction", "0"), "fraction: got 0.0"),
        (None, "step,lr,loss", ("--fraction", "1"), "fraction: got 1.0"),
        (None, "step,lr,loss", (), "end at step 4000"),
        (None, "step,lr,loss", ("--schedule", "square"), "--schedule: got 'square'"),
        ([f"{step},0.1,{step / 1000}" for step in STEP], "step,lr,loss", ("--schedule", "none"), "rises"),
    ],
)
def test_refusals(tmp_path, rows, header, options, says):
    done = run("forecast", curve(tmp_path / "a.csv", rows=rows, header=header), "--until", 9000, *options, "--json")
    assert done.exit_code == 1, done.output
    assert says in json.loads(done.stdout)["error"]["message"]


def test_rows_left_out_are_said_once_and_columns_can_be_named(tmp_path):
    rows = [f"{step};{'' if step == 500 else 0.001};{'' if step == 300 else 3 + 20 * step**-0.5}" for step in STEP]
    path = curve(tmp_path / "a.txt", rows=rows, header="when;eta;nats")
    names = ("--step-column", "when", "--loss-column", "nats", "--lr-column", "eta")
    done = run("timescale", path, "--warmup", 0, *names, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)["runs"][0]
    assert said["rows"] == len(STEP) - 1  # the loss of the row without a rate counts
    assert np.isclose(said["lr_sum"]["exponent"], 0.5, atol=0.01)
    assert done.stderr.count("left out 1 row without a finite loss") == 1


def test_positions_must_be_there(tmp_path):
    losses = 3 + 20 * STEP[None] ** -0.5 + np.zeros((4, 1))
    create_losses(tmp_path / "losses.zarr", losses, checkpoints={"step": STEP})
    done = run("forecast", tmp_path / "losses.zarr", "--until", 9000, "--positions", "--json")
    assert done.exit_code == 1
    assert "position" in json.loads(done.stdout)["error"]["message"]


def test_timescale_finds_the_planted_exponent(tmp_path):
    files = [curve(tmp_path / "a.csv"), curve(tmp_path / "b.csv")]
    done = run("timescale", *files, "--warmup", 0, "--picture", tmp_path / "t.png", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert np.isclose(said["runs"][0]["lr_sum"]["exponent"], 0.5, atol=0.01)
    assert np.isclose(said["runs"][0]["step"]["exponent"], 0.5, atol=0.01)
    assert said["collapse"]["lr_sum"] < 0.01
    assert (tmp_path / "t.png").exists()


def test_timescale_without_rates_is_in_steps(tmp_path):
    rows = [f"{step},{3 + 20 * step**-0.5:.6f}" for step in STEP]
    done = run("timescale", curve(tmp_path / "a.csv", rows=rows, header="step,loss"), "--json")
    assert done.exit_code == 0, done.output
    assert "lr_sum" not in json.loads(done.stdout)["runs"][0]
    few = run("timescale", tmp_path / "a.csv", "--from", 3900, "--json")
    assert "lower --from" in json.loads(few.stdout)["error"]["message"]


def test_a_schedule_of_ones_own_must_reach_as_far(tmp_path):
    short = tmp_path / "short.csv"
    short.write_text("step,lr\n0,0.001\n5000,0.001\n")
    done = run("forecast", curve(tmp_path / "a.csv"), "--until", 9000, "--schedule", short, "--json")
    assert done.exit_code == 1
    assert "short.csv end at step 5000, the forecast at 9000" in json.loads(done.stdout)["error"]["message"]


@pytest.mark.parametrize(
    ("command", "loss", "says"),
    [
        (("rank", "--at", 9000, "--schedule", "none"), STEP / 1000, "runs[0]: loss: rises"),
        (("rank", "--at", 300, "--schedule", "none"), 20 / STEP, "after the last seen one"),
        (("rank", "--at", 9000), 20 / STEP, "end at step 4000"),
        (("timescale", "--warmup", 0), STEP / 1000, "loss: rises"),
        (("timescale", "--warmup", 9000), 20 / STEP, "--warmup: got 9000"),
        (("timescale",), 20 / STEP, "--warmup: the rows begin at step 100"),
    ],
)
def test_rank_and_timescale_refuse_too(tmp_path, command, loss, says):
    rows = [f"{step},0.001,{value:.6f}" for step, value in zip(STEP, loss, strict=True)]
    files = [curve(tmp_path / name, rows=rows) for name in ("a.csv", "b.csv")]
    done = run(command[0], *files, *command[1:], "--json")
    assert done.exit_code == 1, done.output
    assert says in json.loads(done.stdout)["error"]["message"]


def test_sizes_of_runs_are_read():
    assert like.parameters("25M") == like.parameters("25e6") == 25e6
    assert like.parameters("1.3B") == 1.3e9
    assert like.with_size("old.csv:25M") == ("old.csv", 25e6)
    assert like.with_size("old.csv") == ("old.csv", None)
    assert like.with_size("s3://bucket/old.zarr") == ("s3://bucket/old.zarr", None)
    with pytest.raises(typer.BadParameter, match="expected a number of parameters"):
        like.parameters("many")


def test_a_size_moves_the_forecast(tmp_path):
    lines = [f"{step},{0.001 if step <= 2000 else 0.0001},{3 + 20 * step**-0.5:.6f}" for step in STEP]
    path, ends = curve(tmp_path / "a.csv", rows=lines), []
    for size in ("1M", "10B"):
        done = run("forecast", path, "--until", 4000, "--fraction", 0.4, "--warmup", 0, "--size", size, "--json")
        assert done.exit_code == 0, done.output
        ends.append(json.loads(done.stdout)["end"]["loss"])
    assert ends[1] < ends[0] - 0.05


def test_finished_runs_without_rates_say_how_the_loss_goes_on(tmp_path):
    """The course bends as no power law does, which the default cannot know."""

    def rows(floor):
        return [f"{step},{floor + (step / 800) ** -0.42 + 0.2 * (step / 200) ** -1.8:.6f}" for step in STEP]

    old = [curve(tmp_path / f"{k}.csv", rows=rows(3 - 0.1 * k), header="step,loss") for k in range(3)]
    young = curve(tmp_path / "young.csv", rows=rows(2.6), header="step,loss")
    like = [part for k, path in enumerate(old) for part in ("--like", f"{path}:{4**k}M")]
    errors = []
    for given in ((), (*like, "--size", "64M")):
        done = run("forecast", young, "--until", 4000, "--fraction", 0.1, *given, "--json")
        assert done.exit_code == 0, done.output
        errors.append(json.loads(done.stdout)["hidden"]["mse"])
    assert errors[1] < 0.5 * errors[0]


def test_runs_of_unlike_lengths_keep_their_laws(tmp_path):
    """Hardly any rows lie over the same steps: no common curve, which is said beside each run's own law."""
    late = [f"{step},0.001,{3 + 20 * step**-0.5:.6f}" for step in range(4100, 8001, 100)]
    runs = curve(tmp_path / "early.csv"), curve(tmp_path / "late.csv", rows=late)
    done = run("timescale", *runs, "--warmup", 0, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert [law["run"] for law in said["runs"]] == [str(path) for path in runs]
    assert said["collapse"] == {"lr_sum": None, "step": None}
    assert "expected 8 or more; compare runs over the same part of training" in said["no_collapse"]["step"]
    assert "No common curve over steps" in done.stderr
