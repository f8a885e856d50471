"""`tsl spectrum`: numbers, pictures, and what it refuses."""

import numpy as np
import pytest
from PIL import Image
from planted_store import planted_columns, write_fit_store

from tsl_jax.fitting import Category, Status
from tsl_jax.plots import style

TOKENS = 600


@pytest.fixture(scope="module")
def columns():
    return planted_columns(TOKENS)


@pytest.fixture(scope="module")
def folder(columns, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli_spectrum")
    number = np.arange(TOKENS)
    coordinates = {"sequence": (number // 10).astype("int32"), "domain": (number % 2).astype("int8")}
    write_fit_store(folder, columns, coordinates=coordinates, attributes={"domains": ["verse", "[prose]"]}, chunk=300)
    return folder


def test_the_whole_command(tsl, folder, columns):
    losses, out = folder / "losses.zarr", folder / "out"
    result = tsl("spectrum", folder / "fits.zarr", "--losses", losses, "--out", out, "--replicates", "20", "--json")
    assert result.code == 0, result.error
    said = result.json
    category = columns["category"]
    assert said["tokens"] == sum(said["tokens_by_kind"].values()) == TOKENS
    for name in ("LEARNED", "EARLY", "LATE", "UNLEARNED"):
        assert said["tokens_by_kind"][name] == np.sum(category == Category[name])
    rising = int(np.sum((category == Category.LEARNED) & (columns["loss_drop"] < 0)))
    assert (said["learned_falling"], said["learned_rising"]) == (said["tokens_by_kind"]["LEARNED"] - rising, rising)
    assert rising > 0
    assert f"  rising  {rising:>14,}" in result.err
    outside = np.isin(category, [Category.EARLY, Category.LATE]).mean()
    assert said["outside_fraction"]["tokens"] == pytest.approx(outside)
    assert said["comparison"]["r2"]["mean fit of mean loss"][0] > 0.999
    assert set(said["comparison"]["missing"]) == {"sigmoid", "shared pulse", "binning", "total"}
    assert said["broadening"]["error"] == [0.0] * 3  # the planted errors
    assert said["second_events"]["tokens"][0] == 0
    assert said["second_events"]["noise_between_runs"] == [None] * 3
    assert 0 < said["second_events"]["noise_between_sequences"] < 1
    assert set(said["tail"]["count"]["against"]) == {"lognormal", "exponential"}
    value, low, high = said["energy_fractions"]["all pulses"][0]
    assert 0.3 < low <= value <= high <= 1
    falls = (category == Category.LEARNED) & (columns["loss_drop"] > 0)
    for code, row in enumerate(said["groups"]["domain"]):
        assert row["group"] == ["verse", "[prose]"][code]
        mine = columns["learning_time"][falls & (np.arange(TOKENS) % 2 == code)]
        assert row["median"][0] == pytest.approx(np.median(mine), rel=0.05)
        assert row["median"][1] <= row["median"][0] <= row["median"][2]
    assert [path.rpartition("/")[2] for path in said["pictures"]] == [
        *("spectrum.png", "pulses.png", "modes.png", "groups_domain.png"),
    ]
    for path in said["pictures"]:
        with Image.open(path) as picture:
            assert picture.width > 1000
    for words in (
        "600 tokens, step 1 to 256 (log scale)",
        "Outside the window:",
        "Tail of the spectrum: p(step)",
        "Mean loss from there on: k·a^-α + E",
        "mean of the fits against the mean loss",
        "Errors of learning times: 0 in ln step",
        "What p * g misses of the derivative",
        "What sigmoids miss of the derivative",
        "Energy of the leading pulse modes",
        "Learning time (step) by domain:",
        "[prose]",
        "Written: ",
    ):
        assert words in result.err


def test_wide_errors_and_another_run_are_said(tsl, tmp_path, columns):
    wide = {"learning_time_stderr": (0.8 * columns["learning_time"]).astype("float32")}
    write_fit_store(tmp_path, columns | wide)
    losses = tmp_path / "losses.zarr"
    result = tsl(
        *("spectrum", tmp_path / "fits.zarr", "--losses", losses, "--other-run", losses),
        *("--replicates", "20", "--json"),
    )
    assert result.code == 0, result.error
    assert result.json["broadening"]["ratio"][0] > 1.1
    assert result.json["broadening"]["wider"][0] == pytest.approx(1)
    assert result.json["second_events"]["noise_between_runs"][0] == 0
    assert "100% of p has errors wider than its bins; they make p" in result.err
    assert "0.0% with another run" in result.err


def test_another_run_needs_losses(tsl, folder):
    result = tsl("spectrum", folder / "fits.zarr", "--other-run", folder / "losses.zarr")
    assert result.code == 2
    assert "--losses" in result.err


def test_a_store_without_events_is_an_answer_with_a_reason(tsl, tmp_path):
    write_fit_store(tmp_path, planted_columns(20, category=np.uint8(Category.UNLEARNED)))
    out = tmp_path / "out"
    result = tsl("spectrum", tmp_path / "fits.zarr", "--out", out, "--replicates", "20", "--json")
    assert result.code == 0, result.error
    assert result.json["reasons"] == ["No event inside the window (20 UNLEARNED): there is no spectrum and no pulse."]
    assert result.json["tail"]["count"]["exponent"] == [None] * 3
    assert result.json["pictures"] == []
    assert list(out.iterdir()) == []
    assert "No event inside the window" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "colour"], "by: got 'colour', expected a token coordinate"),
        (["--losses", "nothing.zarr"], "nothing.zarr"),
    ],
)
def test_what_cannot_be_done_is_one_paragraph(tsl, folder, arguments, words):
    result = tsl("spectrum", folder / "fits.zarr", *arguments, "--json")
    assert result.code == 1
    assert words in result.json["error"]["message"]
    assert result.err.startswith("error: ")


def test_losses_are_no_fits(tsl, folder):
    result = tsl("spectrum", folder / "losses.zarr")
    assert result.code == 1
    assert "not a valid store of fits" in result.err


@pytest.mark.parametrize(
    "arguments", [["--weighting", "mass"], ["--outside", "nowhere"], ["--level", "2"], ["--bins", "1"]]
)
def test_wrong_usage_names_the_option(tsl, folder, arguments):
    result = tsl("spectrum", folder / "fits.zarr", *arguments)
    assert result.code == 2
    assert arguments[0] in result.err


BAD = {
    "empty": (0, {}, "The store has no tokens."),
    "one token": (1, {"category": np.uint8(Category.LEARNED)}, "No bands: they need tokens in at least 8 of 64 groups"),
    "all unlearned": (30, {"category": np.uint8(Category.UNLEARNED)}, "No event inside the window (30 UNLEARNED)"),
    "all at a bound": (
        30,
        {"category": np.uint8(Category.EARLY), "status": np.uint8(Status.AT_BOUND), "learning_time": 0.25},
        "No event inside the window (30 EARLY)",
    ),
    "infinite sharpness": (
        30,
        {"category": np.uint8(Category.LEARNED), "status": np.uint8(Status.AT_BOUND), "sharpness": np.inf},
        "No tail",
    ),
    "nothing finite": (
        30,
        {"category": np.uint8(Category.LEARNED), "learning_time": np.nan},
        "30 tokens are left out as UNUSABLE",
    ),
}


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_bad_input_is_an_empty_or_partial_result_with_its_reason(tsl, tmp_path, monkeypatch, scale):
    monkeypatch.setattr(style, "DPI", 40)  # nobody looks at these pictures
    more = {} if scale == "log" else {"scale": scale, "family_fields": {"scale": scale}, "left_out_checkpoints": ()}
    # Most of them differ from one scale to the other in nothing.
    names = BAD if scale == "log" else ("one token", "all at a bound", "infinite sharpness")
    for name in names:
        tokens, replaced, reason = BAD[name]
        folder = tmp_path / name
        folder.mkdir()
        if scale == "linear" and replaced.get("learning_time") == 0.25:
            replaced = replaced | {"learning_time": -20.0}
        columns = planted_columns(tokens, **replaced)
        losses = np.full((tokens, 10), 3.0)  # no fall to explain
        write_fit_store(folder, columns, losses=losses, coordinates={"sequence": np.arange(tokens)}, **more)
        out = folder / "out"
        result = tsl(
            "spectrum", folder / "fits.zarr", "--losses", folder / "losses.zarr", "--out", out, "--replicates", "20",
            "--json",
        )  # fmt: skip
        assert result.code == 0, (name, result.err)
        said = result.json
        assert reason in " ".join(said["reasons"]), name
        assert said["tokens"] == tokens
        assert "nan" not in result.err.lower(), name
        assert len(said["pictures"]) == (3 if said["tokens_by_kind"]["LEARNED"] else 0), name
        assert len(list(out.iterdir())) == len(said["pictures"])
