"""The report's numbers are those that the commands print; what cannot be had says why."""

import inspect
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.planted_store import STEP, planted_columns, write_fit_store
from tests.report.conftest import REPLICATES
from tsl_jax.cli import app, spectrum
from tsl_jax.fitting import Category
from tsl_jax.jobs import AnalysisOptions
from tsl_jax.report import write_report


def command(*arguments):
    """What a command says with --json."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], env={"TERM": "dumb"})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_spectrum_is_that_of_the_command(run):
    few = ("--replicates", REPLICATES)
    said, found = command("spectrum", run.fits, "--losses", run.losses, *few), run.found.spectrum
    curves = found.curves
    for name, three in said["comparison"]["r2"].items():
        mine = [float(one.comparison.scores[name].r2) for one in (curves.value, curves.low, curves.high)]
        np.testing.assert_allclose(mine, three)
        if not name.startswith("implied"):
            assert f"{three[0]:.4f} ({three[1]:.4f} to {three[2]:.4f})" in run.text
    rows = said["groups"]["position"]
    assert set(said["groups"]) == {"domain", "position"}
    assert all(f"{row['median'][0]:,.4g} ({row['median'][1]:,.4g} to" in run.text for row in rows)
    assert f"{said['tail']['count']['exponent'][0]:.3f} (" in run.text
    assert all(reason in run.text for reason in said["reasons"])


def test_the_command_analyses_as_the_report_does():
    defaults = {name: one.default for name, one in inspect.signature(spectrum.spectrum).parameters.items()}
    names = ("weighting", "outside", "replicates", "level", "seed")
    assert AnalysisOptions(**{name: defaults[name] for name in names}) == AnalysisOptions()


def test_positions_are_those_of_the_command(run):
    said, found = command("positions", run.losses), run.found.positions
    np.testing.assert_allclose(found.law.params["rate"], said["checkpoints"]["rate"])
    assert float(found.separation.point) == pytest.approx(said["separation"]["point"])
    assert float(found.evenness.p_value) == pytest.approx(said["evenness"]["p_value"])
    assert f"(p = {said['evenness']['p_value']:.2g})" in run.text


def test_the_forecast_is_that_of_the_command(run):
    said, found = command("forecast", run.losses, "--until", STEP[-1], "--fraction", 0.5), run.found.forecast
    np.testing.assert_allclose(found.found.mean, said["loss"])
    np.testing.assert_allclose(found.found.lower[1], said["lower90"])
    assert f"expects {said['end']['loss']:.4f} nat (90%: {said['end']['lower90']:.4f}" in run.text


def test_the_comparison_is_that_of_the_command(run):
    said, found = command("compare", run.fits, run.other.fits), run.found.comparison
    parameters = said["all_pairs"]["parameters"]
    assert found.all_pairs.parameters[0].rank_correlation == pytest.approx(parameters[0]["rank_correlation"])
    assert all(f"{one['rank_correlation']:.3f}" in run.text for one in parameters if one["tokens"])


def test_tokens_are_counted_as_info_counts_them(run):
    said = command("info", run.fits)
    for category in said["categories"].values():
        assert f">{category['tokens']:,}</td>" in run.text


def test_without_losses_sections_say_what_they_need(alone):
    assert alone.text.count("give --losses LOSSES") == 3
    assert "--compare OTHER" in alone.text
    assert "Derivative of the mean loss" in alone.text


@pytest.fixture
def hyperbolas(tmp_path):
    """A fit store of a law without events, of which the first blocks are fitted."""
    columns = {name: planted_columns(300)[name] for name in ("constant", "status", "category")}
    columns |= {name: np.ones(300, "float32") for name in ("amplitude", "rate", "floor")}
    units = {"parameters": {"amplitude": "nat", "rate": "1/axis", "floor": "nat"}, "event": None}
    columns["category"][:] = Category.NONE
    law = {"family": "hyperbola", "family_fields": {}, "scale": "linear", "left_out_checkpoints": ()}
    write_fit_store(tmp_path, columns, losses=np.ones((300, len(STEP))), finished=False, **units, **law)
    return tmp_path


def test_an_unfinished_store_of_another_law(hyperbolas):
    page = hyperbolas / "page.html"
    found = write_report(hyperbolas / "fits.zarr", page, losses=hyperbolas / "losses.zarr")
    assert "200 tokens are not fitted yet" in page.read_text("utf-8")
    assert "single event a curve" in found.spectrum.reason
    assert "position" in found.positions.reason
    assert len(found.tokens.token) == 300


def test_damage_stands_among_the_warnings(hyperbolas):
    chunk = next(path for path in (hyperbolas / "losses.zarr" / "losses" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(b"damaged")
    page = hyperbolas / "page.html"
    found = write_report(hyperbolas / "fits.zarr", page, losses=hyperbolas / "losses.zarr")
    assert found.means.damaged
    assert found.tokens.damaged
    warnings = page.read_text("utf-8").partition('<section id="warnings">')[2].partition("</section>")[0]
    assert "Restore the chunk" in warnings
    assert found.means.reason in found.tokens.reason
