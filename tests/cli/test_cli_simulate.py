"""`tsl simulate`: what it writes is what the other commands read."""

import numpy as np
import pytest

from tsl_jax.jobs import planted_tokens
from tsl_jax.store import open_losses, read_loss_curve


def test_losses_are_a_store_with_known_truth(tsl, tmp_path):
    out = tmp_path / "losses.zarr"
    options = ("--tokens", 500, "--checkpoints", 12, "--steps", 1000, "--scale", "linear", "--missing", 0.1)
    made = tsl("simulate", "losses", out, *options, "--noise", "0:0", "--seed", 4, "--json")
    assert (made.code, made.json["tokens"], made.json["law"]["noise"]) == (0, 500, [0.0, 0.0])
    assert tsl("validate", out).code == 0
    store = open_losses(out)
    assert store.axis()[[0, -1]].tolist() == [1, 1000]
    truth = planted_tokens(store, slice(None))
    np.testing.assert_array_equal(store.read(), np.asarray(truth.losses).astype("float16"))
    assert 0.05 < np.isnan(store.read()).mean() < 0.15
    again = tsl("simulate", "losses", out, *options)
    assert again.code == 1
    assert "--overwrite" in again.err


def test_a_student_is_a_loss_curve_that_timescale_reads(tsl, tmp_path):
    out = tmp_path / "student.csv"
    made = tsl("simulate", "student", out, "--steps", 40, "--rate", 30, "--json")
    assert made.code == 0, made.err
    curve = read_loss_curve(out)
    assert (curve[0][0], curve[0][-1]) == (0, 40)
    assert curve[1][-1] == pytest.approx(made.json["loss"], rel=1e-6)
    fitted = tsl("timescale", out, "--json")
    assert fitted.code == 0, fitted.err
    assert tsl("simulate", "student", out, "--steps", 40).code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("losses", "x.zarr", "--noise", "much"), 2, "expected LOW:HIGH"),
        (("losses", "x.zarr", "--noise", "-1:1"), 1, "noise: got -1.0"),
        (("losses", "x.zarr", "--tokens", "0"), 1, "tokens: got 0"),
        (("losses", "x.zarr", "--checkpoints", "1"), 1, "time: got shape"),
        (("student", "x.csv", "--temperature", "0"), 1, "temperature: got 0"),
        (("student", "x.csv", "--rate", "-1"), 1, "learning_rate: got -1"),
        (("student", "/dev/null/x.csv", "--steps", "2"), 1, "/dev/null is no folder"),
        (("weather", "x.csv"), 2, "weather"),
    ],
)
def test_bad_input_says_what_is_expected(tsl, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    said = tsl("simulate", *arguments)
    assert said.code == code
    assert message in " ".join(said.err.split())
    assert not list(tmp_path.iterdir())
