"""`tsl compare`: what it says, what it writes, what it refuses."""

import json

import numpy as np
import pytest

import tsl_jax
from tests.seeded_stores import TOKENS, seeded_columns, token_coordinates, write_runs
from tsl_jax.cli.compare_words import component_words, typical_words
from tsl_jax.runs import RunComponent, RunComponents, TimeFactors
from tsl_jax.store import open_fits


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("runs"), seeded_columns(runs=3, factor=3.0))


def test_two_runs(tsl, runs, tmp_path):
    picture, out = tmp_path / "runs.png", tmp_path / "combined.zarr"
    done = tsl("compare", *runs[:2], "--json", "--picture", picture, "--out", out)
    assert done.code == 0, done.err
    found = tsl_jax.compare(*runs[:2])
    said = done.json
    assert said["runs"] == [str(path) for path in runs[:2]]
    assert (said["axis"], said["scale"], said["components_estimated_here"]) == ("step", "log", True)
    parameters = {(one["parameter"], one["events"]): one for one in said["all_pairs"]["parameters"]}
    time = found.all_pairs.of("learning_time")
    assert parameters["learning_time", "falling"]["rank_correlation"] == time.rank_correlation
    assert parameters["learning_time", "falling"]["coverage"] == list(time.coverage)
    assert RunComponents.from_dict(said["components"]) == found.components
    assert np.array_equal(said["all_pairs"]["kinds"]["tokens"], found.all_pairs.kinds)
    assert picture.stat().st_size > 10_000
    assert (said["picture"], said["combined"]) == (str(picture), {"fits": str(out), "tokens": TOKENS})
    assert open_fits(out).attributes["combined"]["runs"] == said["runs"]
    for words in (
        "2 runs of the same 1,200 tokens.",
        "UNLEARNED",
        "LEARNED, the loss rises",
        "of that variance is not in the standard error",
        f"Left out: no fit in a run {found.all_pairs.left_out['no fit in a run']}",
        f"Combined fits of 2 runs: {out}",
    ):
        assert words in done.err, words
    info = tsl("info", out, "--json")
    assert info.json["combined_runs"] == said["runs"]


def test_tables_are_never_cut(runs):
    from typer.testing import CliRunner

    from tsl_jax.cli import app

    narrow, wide = (
        CliRunner().invoke(app, ["compare", *map(str, runs)], env={"COLUMNS": columns, "TERM": "dumb"})
        for columns in ("40", "200")
    )
    assert narrow.exit_code == 0
    assert "…" not in narrow.stderr
    rows = [line.split() for line in wide.stderr.splitlines() if line.startswith(("learning_time  ", "sharpness  "))]
    assert len(rows) >= 6
    narrow_rows = [line.split() for line in narrow.stderr.splitlines()]
    assert all(row in narrow_rows for row in rows)
    assert f"{runs[0]}, {runs[2]}" in narrow.stderr


def test_components_of_other_runs(tsl, runs, tmp_path):
    given = tmp_path / "components.json"
    given.write_text(tsl("compare", *runs[:2], "--json").out)
    done = tsl("compare", *runs[1:], "--components", given, "--json")
    assert done.code == 0, done.err
    assert not done.json["components_estimated_here"]
    assert done.json["components"] == json.loads(given.read_text())["components"]
    written = tmp_path / "written.json"
    done = tsl("compare", *runs[:2], "--write-components", written, "--json")
    assert done.code == 0, done.err
    assert done.json["components_written"] == str(written)
    assert json.loads(written.read_text())["components"] == json.loads(given.read_text())["components"]
    again = tsl("compare", *runs[1:], "--components", written, "--json")
    assert again.json["all_pairs"] == tsl("compare", *runs[1:], "--components", given, "--json").json["all_pairs"]
    for text, says in (("{}", "no components in it"), ("nonsense", "no components in it")):
        given.write_text(text)
        done = tsl("compare", *runs[1:], "--components", given)
        assert done.code == 2
        assert says in words(done.err)
    assert tsl("compare", *runs[1:], "--components", tmp_path / "none.json").code == 2


def test_scores_take_the_components_that_were_written(tsl, runs, tmp_path):
    written = tmp_path / "written.json"
    assert tsl("compare", *runs[:2], "--write-components", written).code == 0
    score = ("score", runs[0], "--window", "20:60", "--json")
    alone = tsl(*score, "--out", tmp_path / "alone.npz").json
    between = tsl(*score, "--out", tmp_path / "between.npz", "--components", written)
    assert between.code == 0, between.err
    components = RunComponents.from_dict(json.loads(written.read_text())["components"])
    found = tsl_jax.score_store(runs[0], (20, 60), components=components)
    assert between.json["events"] == found.events.sum() != alone["events"]
    assert between.json["components"] == str(written)
    with np.load(tmp_path / "between.npz") as weights:
        assert str(weights["components"]) == str(written)
    plain = [row | {"coordinate": "plain"} for row in json.loads(written.read_text())["components"]]
    written.write_text(json.dumps({"components": plain}))
    done = tsl(*score, "--out", tmp_path / "no.npz", "--components", written)
    assert (done.code, (tmp_path / "no.npz").exists()) == (1, False)
    assert "compare runs of this family and scale" in words(done.err)
    for text in ("[]", "null", '{"components": 3}', '{"components": [{}]}', '{"components": [{"times": 1}]}'):
        written.write_text(text)
        assert tsl(*score, "--out", tmp_path / "no.npz", "--components", written).code == 2, text


def words(text):
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "expected at least two"),
        (("{1}", "--level", "1.5"), 2, "between 0 and 1"),
        (("{1}", "--picture", "p.txt"), 2, "ending in .png"),
        (("{1}", "--picture", "nowhere/p.png"), 2, "no such folder"),
        (("{1}", "--write-components", "p.txt"), 2, "ending in .json"),
        (("{1}", "--write-components", "nowhere/p.json"), 2, "no such folder"),
        (("{1}", "--ignore", "sequenze"), 1, "expected a token coordinate"),
        (("{0}",), 1, "given twice"),
        (("{other}",), 1, "'sequence' of token 0 is 5, but 0 there"),
        (("{1}", "--out", "{0}"), 1, "the output is the input"),
        (("missing.zarr",), 1, "no Zarr group here"),
    ],
)
def test_what_cannot_be_done_says_why(tsl, runs, tmp_path, monkeypatch, arguments, code, says):
    coordinates = token_coordinates() | {"sequence": token_coordinates()["sequence"] + 5}
    (other,) = write_runs(tmp_path / "other", seeded_columns()[:1], coordinates) if "{other}" in arguments else [""]
    monkeypatch.chdir(tmp_path)
    given = [one.format(*runs, other=other) for one in arguments]
    done = tsl("compare", runs[0], *given)
    assert done.code == code, done.err
    assert says in words(done.err)
    assert not list(tmp_path.glob("p.*"))


@pytest.mark.parametrize(
    ("form", "factor", "additive", "said"),
    [
        ("none", 1.0, 0.0, "none: the error alone"),
        ("additive", 1.0, 0.04, "error and 0.2"),
        ("factor", 4.0, 0.0, "2 x error"),
        ("both", 4.0, 0.04, "2 x error and 0.2"),
        ("unknown", np.nan, np.nan, "unknown: too few tokens"),
    ],
)
def test_components_in_words(form, factor, additive, said):
    assert component_words(RunComponent("floor", "all", "plain", additive, factor, form, 0.9, 9, 0.1, 0.2, 0.0)) == said


def test_components_by_learning_time_in_words():
    times = TimeFactors("learning_time", (100.0,), (0.25, 9.0))
    component = RunComponent("sharpness", "falling", "ln", 0.0, 4.0, "factor", 0.9, 99, 0.1, 0.2, 0.01, times)
    assert component_words(component) == "(2 x error) x 0.5 to 3 by learning time"
    assert "times 0.5 to 3 by when it is learned; 75% of that variance" in typical_words(component)
