"""`tsl forecast` and `tsl timescale` on logs that begin in a warm-up, fall late, lack losses or determine no law."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tsl_jax.cli import forecast, timescale
from tsl_jax.jobs.runs import rates_until, read_run
from tsl_jax.plots import draw_timescale, timescale_data
from tsl_jax.temporal import time_law

pytestmark = pytest.mark.usefixtures("optimised")

app = typer.Typer(pretty_exceptions_enable=False)
app.command("forecast")(forecast.forecast)
app.command("timescale")(timescale.timescale)
PEAK, WARMUP, END = 6e-4, 2000, 20_000


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments):
    done = run(*arguments, "--json")
    assert done.exit_code == 1, done.output
    return json.loads(done.stdout)["error"]["message"]


def rates(end=END):
    """A warm-up and a cosine to a tenth, rate of every update."""
    count = np.arange(end)
    cosine = 0.1 + 0.9 * (1 + np.cos(np.pi * (count - WARMUP) / (END - WARMUP))) / 2
    return PEAK * np.where(count < WARMUP, count / WARMUP, cosine)


def losses(step, rate):
    tau = np.concatenate([[0.0], np.cumsum(rate)])[step]
    return 3 + 0.6 * np.maximum(tau, 1e-6) ** (-1 / 3)


@pytest.fixture(scope="module")
def cosine(tmp_path_factory):
    step = np.arange(250, END + 1, 250)
    path = tmp_path_factory.mktemp("curves") / "cosine.csv"
    rows = zip(step, losses(step, rates()), np.append(rates(), PEAK / 10)[step], strict=True)
    path.write_text("step,loss,lr\n0,11,0\n" + "".join(f"{s},{loss:.6f},{rate:.9g}\n" for s, loss, rate in rows))
    return path


def test_the_low_rates_of_a_warmup_are_no_fall_that_was_seen(cosine):
    said = json.loads(run("forecast", cosine, "--until", END, "--fraction", 0.2, "--json").stdout)
    assert any("fall by 87% of its highest value more than was seen" in words for words in said["warnings"])
    young = run("forecast", cosine, "--until", END, "--fraction", 0.08, "--json")
    assert any("fall by 90%" in words for words in json.loads(young.stdout)["warnings"])
    late = run("forecast", cosine, "--until", END, "--fraction", 0.95, "--json")
    assert not any("will fall" in words for words in json.loads(late.stdout)["warnings"])


def test_a_forecast_is_of_the_step_that_was_asked_for(cosine):
    assert "--until: got 15000, expected a step after the last seen one, 20000" in refusal(
        "forecast", cosine, "--until", 15_000
    )
    assert "a --fraction below 0.9" in refusal("forecast", cosine, "--until", 15_000, "--fraction", 0.9)
    assert "--until: got nan" in refusal("forecast", cosine, "--until", "nan")
    said = json.loads(run("forecast", cosine, "--until", 15_001, "--fraction", 0.75, "--json").stdout)
    assert said["end"]["step"] == said["step"][-1] == 15_001
    assert len(said["step"]) == 1


def test_errors_name_options(cosine, tmp_path):
    late = tmp_path / "late.csv"
    late.write_text("step,loss,lr\n" + "".join(f"{s},{3 + 20 * s**-0.5},0.001\n" for s in range(100, 1000, 50)))
    for command in (("timescale", late), ("forecast", late, "--until", 900, "--fraction", 0.5)):
        message = refusal(*command)
        assert message.startswith("--warmup: the rows begin at step 100")
        assert "warmup_steps" not in message
        assert refusal(*command, "--warmup", 300).startswith("--warmup: got 300, but the rates do not rise from 0")
    assert refusal("timescale", cosine, "--level", 1).startswith("--level: got 1.0")
    assert refusal("forecast", cosine, "--until", 3e4, "--fraction", 2).startswith("--fraction: got 2.0")


@pytest.mark.parametrize("first", [0, 20, 60, 140])
def test_the_warmup_is_as_long_as_said_wherever_the_log_begins(tmp_path, first):
    """Rows at and inside a warm-up of 80 steps, sparse ones too."""
    step = np.arange(first, 401, 40)
    rate = 1.2e-4 * np.minimum(np.arange(401) / 80, 1)
    path = tmp_path / "log.csv"
    rows = zip(step, 3 + 20 * (step + 1.0) ** -0.5, rate[step], strict=True)
    path.write_text("step,loss,lr\n" + "".join(f"{s},{loss:.6f},{r:.9g}\n" for s, loss, r in rows))
    end = int(step[-1])
    np.testing.assert_allclose(rates_until(read_run(str(path)), end, warmup=80), rate[:end], rtol=1e-6, atol=1e-12)
    if first in (20, 60):  # a forecast from inside the warm-up goes up to its end, and is constant then
        constant = rates_until(read_run(str(path)).until(60), 400, "constant", 80)
        np.testing.assert_allclose(constant, rate[:400], rtol=1e-6, atol=1e-12)
    if first == 20:
        said = json.loads(run("timescale", path, "--warmup", 80, "--json").stdout)["runs"][0]
        assert said["first_step"] == 100


def test_timescale_leaves_the_warmup_out_without_rates(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n" + "".join(f"{s},{3 + 20 * (s + 1) ** -0.5}\n" for s in range(0, 240, 20)))
    said = json.loads(run("timescale", path, "--warmup", 90, "--json").stdout)["runs"][0]
    assert said["first_step"] == 100


def test_timescale_takes_a_dense_schedule_for_sparse_losses(cosine, tmp_path):
    """Losses at few steps, rates of every update elsewhere, as of a schedule that a run logs."""
    step = np.arange(2500, END + 1, 2500)
    log, schedule = tmp_path / "log.csv", tmp_path / "schedule.csv"
    log.write_text("step,loss\n" + "".join(f"{s},{x:.7f}\n" for s, x in zip(step, losses(step, rates()), strict=True)))
    schedule.write_text("step,lr\n" + "".join(f"{s},{rate:.9g}\n" for s, rate in enumerate(rates())))
    said = json.loads(run("timescale", log, "--schedule", schedule, "--json").stdout)["runs"][0]
    assert said["lr_sum"]["exponent"] == pytest.approx(1 / 3, abs=2e-3)
    assert said["lr_sum"]["floor"] == pytest.approx(3, abs=5e-3)
    schedule.write_text("step,lr\n0,0.001\n5000,0.001\n")
    assert "schedule.csv end at step 5000, the losses at 20000" in refusal("timescale", cosine, "--schedule", schedule)


def test_rows_without_a_loss_are_gaps_and_their_rates_count(tmp_path):
    path = tmp_path / "sparse.csv"
    path.write_text("step,loss,lr\n0,10,1e-5\n1,,2e-5\n2,9,3e-5\n")
    found = read_run(str(path))
    assert found.step.tolist() == [0, 2]
    np.testing.assert_allclose(rates_until(found, 2), [1e-5, 2e-5])
    assert found.notes == ("left out 1 row without a finite loss",)


@pytest.fixture
def straight(tmp_path):
    """Losses that fall straight in the logarithm of the step: laws of any floor fit."""
    path = tmp_path / "straight.csv"
    step = np.arange(250, 10_001, 250)
    path.write_text("step,loss,lr\n" + "".join(f"{s},{4 - 0.2 * np.log(s / 250):.5f},0.0006\n" for s in step))
    return path


def test_an_undetermined_law_is_said_instead_of_numbers(straight, tmp_path):
    picture = tmp_path / "law.png"
    done = run("timescale", straight, "--warmup", 0, "--picture", picture, "--json")
    said = json.loads(done.stdout)["runs"][0]
    for axis in ("lr_sum", "step"):
        assert said[axis]["determined"] is False
        assert all(said[axis][name] is None for name in ("exponent", "floor", "coefficient", "p_value_of_one_third"))
    assert "undetermined" in done.stderr
    assert "losses do not determine exponent and floor: no law" in done.stderr
    assert "AIC" not in done.stderr
    assert picture.stat().st_size > 10_000


def test_the_picture_shows_losses_without_a_law_and_lines_above_many_points():
    time = np.geomspace(1.0, 100.0, 1000)
    straight, fallen = 4 - 0.2 * np.log(time), 3 + time ** (-1 / 3) + 0.05 * np.random.default_rng(0).normal(size=1000)
    laws = [time_law(time, loss) for loss in (straight, fallen)]
    lines = timescale_data(["a", "b"], [time, time], [straight, fallen], laws)
    assert [line.determined for line in lines] == [False, True]
    np.testing.assert_array_equal(lines[0].above, straight)
    drawn = draw_timescale({"step": lines}).axes[0].get_lines()
    assert [len(line.get_xdata()) for line in drawn] == [1000, np.sum(lines[1].above > 0), 1000]
    assert drawn[2].get_zorder() > max(line.get_zorder() for line in drawn[:2])
    assert "no law" in drawn[0].get_label()
    alone = draw_timescale({"step": lines[:1]}).axes[0]
    assert alone.get_yscale() == "linear"
    assert alone.get_ylabel() == "loss (nat per token)"
