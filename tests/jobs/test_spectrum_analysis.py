"""The analysis of a spectrum: bands, the law of the mean loss, and reasons where there is nothing to analyse."""

import dataclasses

import jax
import numpy as np
import pytest
from planted_store import planted_columns, planted_losses, write_fit_store
from scipy.optimize import curve_fit

from tsl_jax.fitting import Category, Status
from tsl_jax.jobs import AnalysisOptions, analyse, read_spectrum
from tsl_jax.jobs.spectrum.curves import shown_bins
from tsl_jax.jobs.spectrum.mean_loss_law import implied_curves, power_laws
from tsl_jax.plots import spectrum_parts_data
from tsl_jax.spectrum import SpectrumGrid, decompose, implied_loss

GRID = SpectrumGrid(1.0, 256.0, "log", time_bins=64, sharpness_bins=12, resamples=16)
OPTIONS = AnalysisOptions(replicates=20, pulse_groups=5)


def analysis_of(folder, columns, *, losses=True, losses_given=None, **given):
    number = np.arange(len(columns["status"]))
    coordinates = {"sequence": (number // 5).astype("int32"), "domain": (number % 3).astype("int8")}
    store = write_fit_store(folder, columns, coordinates=coordinates, losses=losses_given, **given)
    source = folder / "losses.zarr" if losses else None
    return analyse(read_spectrum(store, source, by=["domain"], grid=GRID), OPTIONS)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    return analysis_of(tmp_path_factory.mktemp("analysis"), planted_columns(400))


def test_the_value_is_that_of_all_tokens_and_lies_in_its_band(analysis):
    expected = decompose(analysis.read.spectrum)
    value = analysis.curves.value
    np.testing.assert_allclose(value.parts.implied, expected.implied, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value.parts.convolved, expected.convolved, rtol=1e-4, atol=1e-5)
    low, high = (ends.parts.implied for ends in (analysis.curves.low, analysis.curves.high))
    inside = np.mean((low <= value.parts.implied) & (value.parts.implied <= high))
    assert inside > 0.9
    assert np.mean(high - low) > 0
    assert analysis.reasons == ()


def test_bands_are_those_of_whole_sequences(analysis, tmp_path):
    """Sequences of five equal tokens make bands √5 as wide as five times as many different ones."""
    columns = {name: np.repeat(values[::5], 5) for name, values in planted_columns(400).items()}
    alike = analysis_of(tmp_path, columns, losses=False)

    def width(one):
        return float(np.mean(one.curves.high.implied_loss - one.curves.low.implied_loss))

    assert 1.5 < width(alike) / width(analysis) < 3.3


def test_the_law_of_the_mean_loss_is_that_of_scipy():
    axis = np.geomspace(10, 1000, 25)
    rng = np.random.default_rng(0)
    losses = 8 * axis ** -np.array([[0.2], [0.5], [1.5]]) + np.array([[1.0], [2.0], [0.3]])
    losses += rng.normal(0, 0.005, losses.shape)
    found = power_laws(axis, losses)
    for index, curve in enumerate(losses):
        best, _ = curve_fit(lambda a, k, alpha, floor: k * a**-alpha + floor, axis, curve, p0=(8, 0.4, 1), maxfev=5000)
        mine = [found[name][index] for name in ("coefficient", "exponent", "floor")]
        np.testing.assert_allclose(mine, best, rtol=1e-3)


def test_the_law_of_the_mean_loss_keeps_its_floor_and_says_where_there_is_none():
    axis = np.geomspace(10, 1000, 25)
    straight = 8 - 0.9 * np.log(axis)  # best with a negative floor
    rising, missing = np.log(axis), np.full(25, np.nan)
    found = power_laws(axis, np.stack([straight, rising, missing]))
    assert found["floor"][0] == 0
    assert np.isfinite(found["exponent"][0])
    assert np.isnan(found["exponent"][1:]).all()


def test_curves_of_replicates_are_those_that_each_one_implies(analysis):
    spectrum = analysis.read.spectrum
    weights = np.random.default_rng(0).poisson(1.0, (3, spectrum.grid.resamples))
    axis = np.array([1.0, 5.3, 40.0, 256.0])
    found = implied_curves(spectrum, weights, axis)
    for weight, curve in zip(weights, found, strict=True):
        moments = jax.tree.map(lambda cells, w=weight: np.tensordot(w, cells, 1), spectrum.moments_by_resample())
        np.testing.assert_allclose(curve, implied_loss(moments, axis), rtol=1e-5)
    assert np.isnan(implied_curves(spectrum, 0 * weights, axis)).all()


def test_without_losses_the_law_is_that_of_the_fits(analysis, tmp_path):
    bare = analysis_of(tmp_path, planted_columns(400), losses=False)
    assert bare.curves.value.comparison is None
    law = bare.mean_loss_law
    assert law.value["exponent"] == pytest.approx(analysis.mean_loss_law.value["exponent"], rel=0.1)
    assert law.low["exponent"] < law.value["exponent"] < law.high["exponent"]


def test_errors_and_second_events_have_bands(tmp_path):
    columns = planted_columns(400)
    second = np.where(np.arange(400) < 40, 254, 0).astype("uint8")
    columns |= {"second_event": second, "learning_time_stderr": (0.2 * columns["learning_time"]).astype("float32")}
    losses = planted_losses(columns)
    losses[:40] += np.tanh(np.arange(losses.shape[1]) - 5)  # all that is missing, but for noise
    found = analysis_of(tmp_path, columns, losses_given=losses).curves
    broad = found.value.broadening
    assert float(broad.error) == pytest.approx(0.2, rel=1e-3)
    assert broad.bin == pytest.approx(GRID.unit / found.value.density.shape[-1])
    assert 1 < float(found.low.broadening.ratio) <= float(broad.ratio) <= float(found.high.broadening.ratio)
    part = found.value.second
    assert float(part.tokens) == pytest.approx(0.1)
    assert float(part.fraction) == pytest.approx(1, abs=0.1)
    assert float(found.low.second.fraction) < float(part.fraction) < float(found.high.second.fraction)
    assert np.isnan(part.between_runs)


NOTHING = {
    "all unlearned": ({"category": np.uint8(Category.UNLEARNED)}, "No event inside the window (40 UNLEARNED)"),
    "flat": (
        {"category": np.uint8(Category.NONE), "status": np.uint8(Status.FLAT), "learning_time": np.nan},
        "No event inside the window (40 CONSTANT)",
    ),
    "no data": (
        {"category": np.uint8(Category.NONE), "status": np.uint8(Status.NON_FINITE), "constant": np.nan},
        "No token has a curve or a constant; most are NO_DATA",
    ),
    "all early": ({"category": np.uint8(Category.EARLY), "learning_time": 0.3}, "(40 EARLY)"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_to_analyse_is_an_empty_result_with_a_reason(name, tmp_path):
    replaced, reason = NOTHING[name]
    columns = planted_columns(40, **replaced)
    analysis = analysis_of(tmp_path, columns, losses=False)
    assert reason in " ".join(analysis.reasons)
    value = analysis.curves.value
    assert float(np.abs(value.parts.spectrum).max()) == 0
    assert np.isfinite(value.parts.convolved).all()
    assert np.isnan(value.tails["count"].exponent)
    with pytest.raises(ValueError, match=r"^No "):
        spectrum_parts_data(analysis)


def test_one_token_has_a_pulse_and_no_bands(tmp_path):
    columns = planted_columns(
        1, category=np.uint8(Category.LEARNED), learning_time=20.0, sharpness=np.inf, loss_drop=4.0
    )
    analysis = analysis_of(tmp_path, columns, losses=False)
    reasons = " ".join(analysis.reasons)
    assert "No bands: they need tokens in at least 8 of 16 groups of sequences, these are in 1." in reasons
    assert "No tail" in reasons
    assert float(analysis.curves.value.parts.pulse.sum() * GRID.width) == pytest.approx(4, rel=1e-4)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(analysis.curves.low))


def test_pending_tokens_are_told(tmp_path):
    analysis = analysis_of(tmp_path, planted_columns(400), losses=False, finished=False)
    assert "300 tokens are not fitted yet and count nowhere" in " ".join(analysis.reasons)


def test_too_few_checkpoints_with_losses_leave_the_comparison_out(tmp_path):
    columns = planted_columns(400)
    losses = planted_losses(columns)
    losses[:, 4:] = np.nan
    store = write_fit_store(tmp_path, columns, losses=losses)
    analysis = analyse(read_spectrum(store, tmp_path / "losses.zarr", grid=GRID), OPTIONS)
    assert analysis.curves.value.comparison is None
    assert "3 checkpoints have one, expected at least 5" in " ".join(analysis.reasons)


@pytest.mark.parametrize(
    ("option", "value"),
    [("weighting", "mass"), ("outside", "drop"), ("replicates", 3), ("pulse_groups", 1), ("level", 1.0)],
)
def test_options_outside_their_range_are_refused(option, value):
    with pytest.raises(ValueError, match=rf"AnalysisOptions\.{option}: got "):
        dataclasses.replace(OPTIONS, **{option: value})


@pytest.mark.parametrize(
    ("time_bins", "checkpoints", "events", "bins"),
    [
        (512, 100, 10**6, 64),
        (512, 30, 10**6, 16),
        (512, 100, 1000, 16),
        (512, 100, 3, 8),
        (4, 100, 10**6, 4),
        (500, 100, 10**6, 50),
    ],
)
def test_bins_shown_divide_the_grid_and_are_filled(time_bins, checkpoints, events, bins):
    assert shown_bins(time_bins, checkpoints, events) == bins
