"""`tsl scaling`: a table in, a law, the best sizes for a budget and a picture out."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tsl_jax.cli import scaling
from tsl_jax.store.curve_files.size_table import read_sizes

pytestmark = pytest.mark.usefixtures("optimised")

app = typer.Typer(pretty_exceptions_enable=False)
app.command("scaling")(scaling.scaling)
app.command("other")(lambda: None)


def run(*arguments):
    return CliRunner().invoke(app, ["scaling", *map(str, arguments)])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    size, tokens = (a.ravel() for a in np.meshgrid(np.geomspace(5e7, 5e9, 8), np.geomspace(1e9, 1e11, 8)))
    noise = 1 + 0.002 * np.random.default_rng(0).normal(size=64)
    loss = (1.8172 + 482 * size**-0.3478 + 2085 * tokens**-0.3658) * noise
    path = tmp_path_factory.mktemp("scaling") / "runs.csv"
    rows = zip(size, 6 * size * tokens, loss, strict=True)
    path.write_text("N,FLOPs,loss\n" + "".join(f"{n:.0f},{c:.6e},{value:.6f}\n" for n, c, value in rows))
    return path


def test_a_law_and_the_best_sizes_of_a_budget(table, tmp_path):
    picture = tmp_path / "scaling.png"
    done = run(
        table, "--budget", 1e21, "--budget", 5.76e23, "--budget", 1, "--replicates", 100, "--picture", picture, "--json"
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["law"], said["runs"]) == ("chinchilla", 64)
    assert said["params"]["floor"] == pytest.approx(1.8172, abs=0.1)
    assert said["lower"]["floor"] < 1.8172 < said["upper"]["floor"]
    best = said["budgets"][1]
    assert 6 * best["size"] * best["tokens"] == pytest.approx(5.76e23)
    assert best["size_interval"][0] < best["size"] < best["size_interval"][1]
    assert "E (floor)" in done.stderr
    assert "tokens are operations / (6 * size)" in done.stderr
    assert "Outside the data: this budget is 192 times the largest run" in done.stderr
    assert "Outside the data: this budget is 1/3e+17 of the smallest run" in done.stderr
    assert said["status"] == "CONVERGED"
    assert picture.stat().st_size > 10_000


def test_equal_losses_and_folders_are_refused(table, tmp_path):
    path = tmp_path / "equal.csv"
    path.write_text("N,D,loss\n" + "".join(f"{n},{d},3\n" for n in (1e7, 1e8, 1e9) for d in (1e9, 1e10, 1e11)))
    done = run(path)
    assert done.exit_code == 1
    assert "loss: got 1 different value(s), expected at least 3" in done.output
    assert f"error: {tmp_path}: is no file" in " ".join(run(tmp_path).output.split())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--law", "moore"), "--law: got 'moore', expected chinchilla or kaplan"),
        (("--budget", -1), "--budget: got -1"),
        (("--level", 2), "--level: got 2"),
        (("--huber", 0), "--huber: got 0"),
        (("--size-column", "M"), "no column 'M'"),
        (("--picture", "x.doc"), "--picture"),
    ],
)
def test_refusals_name_the_option(table, options, says):
    done = run(table, "--replicates", 0, *options, "--json")
    assert done.exit_code == 1, done.output
    assert says in json.loads(done.stdout)["error"]["message"]


def test_unique_tokens_come_from_their_column(table, tmp_path):
    done = run(table, "--law", "data_constrained")
    assert done.exit_code == 1
    assert "--unique-column: got none" in " ".join(done.output.split())
    path = tmp_path / "once.csv"
    path.write_text("N,D,loss,unique_tokens\n" + "".join(f"{n},{10 * n},{9e7 / n},1e6\n" for n in (1e7, 1.1e7, 1.2e7)))
    rows = read_sizes(path)
    assert rows.unique_tokens.tolist() == [1e6] * 3
    assert read_sizes(table).unique_tokens is None
