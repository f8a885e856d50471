"""`tsl fit`: its options are the library's, it resumes, and it says in one paragraph what is wrong."""

import dataclasses
import json
import shutil
import socket

import numpy as np
import pytest

import tsl_jax.jobs
from tsl_jax.curves import FAMILIES, Sigmoid
from tsl_jax.fitting import Category, FitOptions
from tsl_jax.fitting.native import call
from tsl_jax.store import StoreNotFoundError, create_losses, open_fits


@pytest.fixture
def asked(monkeypatch):
    """What `tsl fit` asks of the library, which does nothing."""
    calls = []

    class Asked(Exception):
        pass

    def fit_store(losses, fits, family, **arguments):
        calls.append({"losses": losses, "fits": fits, "family": family, **arguments})
        raise Asked

    monkeypatch.setattr(tsl_jax.jobs, "fit_store", fit_store)
    return calls


def test_without_options_it_asks_for_the_defaults(tsl, asked):
    tsl("fit", "losses.zarr", "fits.zarr")
    (call,) = asked
    assert (call["losses"], call["fits"]) == ("losses.zarr", "fits.zarr")
    assert call["family"] == Sigmoid()
    assert call["options"] == FitOptions()
    assert (call["axis"], call["memory"], call["devices"]) == ("step", None, None)
    assert (call["on_bad_chunk"], call["overwrite"], call["noise"]) == ("stop", False, "estimate")


def test_every_field_of_the_options_can_be_given(tsl, asked):
    given = {
        "min_plateau": None,
        "max_plateau_ratio": 2.5,
        "noise": "independent",
        "event_test": "bic",
        "significance": 0.05,
        "huber_threshold": 1.345,
        "max_steps": 12,
        "starts": 2,
        "tolerance": 1e-5,
        "block_size": 64,
        "kernel": "xla",
    }
    assert set(given) == {field.name for field in dataclasses.fields(FitOptions)}
    arguments = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    tsl("fit", "a", "b", *["none" if word is None else word for word in arguments])
    assert asked[0]["options"] == FitOptions(**given)


def test_what_is_not_an_option_of_the_engine(tsl, asked):
    words = "--family sigmoid --scale linear --axis lr_sum --memory 1.5GiB --devices 1 --overwrite"
    tsl("fit", "a", "b", *words.split(), "--on-bad-chunk", "skip")
    (call,) = asked
    assert call["family"] == Sigmoid(scale="linear")
    assert (call["axis"], call["memory"]) == ("lr_sum", 3 * 2**29)
    assert (call["on_bad_chunk"], call["overwrite"], len(call["devices"])) == ("skip", True, 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_its_name(tsl, asked, name):
    tsl("fit", "a", "b", "--family", name)
    assert asked[0]["family"] == FAMILIES[name]()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--family gompertz", ["--family", "gompertz", "sigmoid", "hyperbola", "power_law"]),
        ("--familly sigmoid", ["No such option", "--familly"]),
        ("--family power_law --scale linear", ["--scale", "'linear'", "expected 'log'", "leave it out"]),
        ("--max-steps 0", ["--max-steps", "got 0", "at least 1"]),
        ("--significance 1.5", ["--significance", "got 1.5", "between 0 and 1"]),
        ("--min-plateau low", ["--min-plateau", "'low'", "a number or none"]),
        ("--memory 3XB", ["--memory", "'3XB'", "such as 512MiB"]),
        ("--memory 0", ["--memory", "'0'"]),
        ("--devices 99", ["--devices", "got 99", "expected 1 to"]),
        ("--devices 0", ["--devices", "got 0", "expected 1 to"]),
        ("third", ["unexpected extra argument", "third"]),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_expected(tsl, asked, words, said):
    result = tsl("fit", "a", "b", *words.split(), "--json")
    assert (result.code, result.out, asked) == (2, "", [])
    text = " ".join(result.err.replace("│", " ").split())
    for each in said:
        assert each in text


def test_it_says_why_xla_did_the_fits_and_what_to_install(tsl, losses, quick, tmp_path, monkeypatch):
    cause = "no C++ compiler was found; install g++ or clang++"
    monkeypatch.setattr(call.native, "why_missing", lambda backend: cause)
    slow = tsl("fit", losses, tmp_path / "fits.zarr", *quick)
    assert "XLA did the fits, in some ten times the processor time of the kernel in C++, and compiled" in slow.err
    assert cause in slow.err
    asked = tsl("fit", losses, tmp_path / "asked.zarr", *quick, "--kernel", "xla")
    assert "XLA did the fits" not in asked.err


def test_a_fit_is_a_store_a_json_object_and_words(tsl, losses, quick, tmp_path):
    result = tsl("fit", losses, tmp_path / "fits.zarr", *quick, "--json")
    assert result.code == 0
    fits = open_fits(tmp_path / "fits.zarr")
    assert fits.complete
    assert result.json["tokens"] == sum(result.json["status_counts"].values()) == fits.num_tokens == 150
    categories = fits.read().category
    for category in Category:
        assert result.json["category_counts"][category.name] == np.sum(categories == category)
    assert result.json["left_out_checkpoints"] == [0]
    assert (result.json["family"], result.json["scale"], result.json["axis"]) == ("sigmoid", "log", "step")
    assert "Left out: checkpoint 0" in result.err
    assert "150 of 150 tokens (100%)" in result.err
    assert "An event between the first and the last checkpoint." in result.err
    words = " ".join(result.err.split())
    assert f"falling {result.json['learned_falling']} The loss falls: learned." in words
    assert f"rising {result.json['learned_rising']} The loss rises: forgotten." in words
    assert "Noise: each token's own residuals alone; too few tokens of the sample have residuals" in result.err
    assert f"Effective points: {result.json['median_effective_points']:.3g} of 12 checkpoints" in result.err
    assert "Noise not estimated: 150 tokens with fewer than 3 points a parameter" in result.err

    again = tsl("fit", losses, tmp_path / "fits.zarr", *quick)
    assert again.code == 0
    assert "Nothing to do: all 150 tokens are fitted." in again.out


def test_a_bad_chunk_stops_is_skipped_and_after_a_repair_the_run_goes_on(tsl, losses, quick, tmp_path):
    fits, shard = tmp_path / "fits.zarr", losses / "losses/c/2/0"
    assert tsl("fit", losses, tmp_path / "whole.zarr", *quick).code == 0
    shutil.copy(shard, tmp_path / "good")
    data = bytearray(shard.read_bytes())
    data[40] ^= 0xFF
    shard.write_bytes(bytes(data))

    stopped = tsl("fit", losses, fits, *quick, "--json")
    assert stopped.code == 1
    assert stopped.json["error"]["kind"] == "ChunkError"
    for text in (stopped.err, stopped.json["error"]["message"]):
        assert "chunk losses/c/2/0, tokens 64 to 79" in text
        assert "give --on-bad-chunk skip" in text
    assert "Traceback" not in stopped.err

    skipped = tsl("fit", losses, fits, *quick, "--on-bad-chunk", "skip", "--json")
    assert skipped.code == 3
    assert not skipped.json["complete"]
    assert [(bad["start"], bad["stop"]) for bad in skipped.json["bad_chunks"]] == [(64, 80)]
    assert skipped.json["status_counts"]["UNREADABLE"] == 16
    assert "skipped: array 'losses', chunk losses/c/2/0" in skipped.err

    shutil.copy(tmp_path / "good", shard)
    resumed = tsl("fit", losses, fits, *quick, "--json")
    assert (resumed.code, resumed.json["blocks_run"]) == (0, 1)
    got, whole = open_fits(fits), open_fits(tmp_path / "whole.zarr")
    for name in whole.array_names:
        np.testing.assert_array_equal(got.arrays[name][:], whole.arrays[name][:], err_msg=name)


def test_the_noise_of_other_fits_is_taken(tsl, losses, quick, tmp_path):
    hyperbola = (*quick, "--family", "hyperbola", "--json")
    first = tsl("fit", losses, tmp_path / "first.zarr", *hyperbola)
    assert (first.code, first.json["noise_source"]) == (0, "estimated")
    assert f"Noise: correlation {first.json['noise_correlation']:.2f} between neighbouring checkpoints" in first.err
    second = tsl("fit", losses, tmp_path / "second.zarr", *hyperbola, "--noise", tmp_path / "first.zarr")
    assert (second.code, second.json["noise_source"]) == (0, "given")
    got, whole = open_fits(tmp_path / "second.zarr"), open_fits(tmp_path / "first.zarr")
    assert got.noise == whole.noise
    for name in whole.array_names:
        np.testing.assert_array_equal(got.arrays[name][:], whole.arrays[name][:], err_msg=name)

    for name in ("alone", "independent"):
        alone = tsl("fit", losses, tmp_path / f"{name}.zarr", *hyperbola, "--noise", name)
        assert (alone.code, alone.json["noise_source"]) == (0, name)
        refused = tsl("fit", losses, tmp_path / "other.zarr", *hyperbola, "--noise", tmp_path / f"{name}.zarr")
        assert refused.code == 1
        assert f"{name}.zarr: records no noise model (its noise: {name})" in " ".join(refused.err.split())
    changed = tsl("fit", losses, tmp_path / "first.zarr", *hyperbola, "--noise", "alone")
    assert changed.code == 1
    assert "noise: was a model that was estimated" in changed.err

    create_losses(tmp_path / "others.zarr", np.ones((40, 12), "float16"), checkpoints={"step": np.arange(12) + 5})
    refused = tsl(
        "fit", tmp_path / "others.zarr", tmp_path / "other.zarr", *hyperbola, "--noise", tmp_path / "first.zarr"
    )
    assert refused.code == 1
    assert "first.zarr: the model is for 12 other checkpoints than the 12 that are fitted" in refused.err
    assert not (tmp_path / "other.zarr").exists()
    nowhere = tsl("fit", losses, tmp_path / "other.zarr", "--noise", "estimated")
    assert nowhere.code == 1
    assert "--noise: got 'estimated', expected estimate, alone, independent or other fits" in nowhere.err


def test_other_options_are_refused_until_overwrite(tsl, losses, quick, tmp_path):
    assert tsl("fit", losses, tmp_path / "fits.zarr", *quick).code == 0
    other = ("fit", losses, tmp_path / "fits.zarr", *quick, "--starts", "3")
    refused = tsl(*other)
    assert refused.code == 1
    assert "options.starts: was 2, now 3" in refused.err
    assert "give --overwrite" in refused.err
    again = tsl("fit", losses, tmp_path / "fits.zarr", *quick, "--overwrite", "--json")
    assert (again.code, again.json["blocks_run"]) == (0, again.json["blocks"])


def test_bad_input_is_one_paragraph(tsl, losses, tmp_path):
    result = tsl("fit", tmp_path / "nothing.zarr", tmp_path / "fits.zarr", "--json")
    assert result.code == 1
    assert result.err.startswith("error: ")
    assert "nothing.zarr: no Zarr group here" in result.err
    assert "Check the path" in result.err
    assert result.json["error"]["kind"] == "StoreNotFoundError"
    axis = tsl("fit", losses, tmp_path / "fits.zarr", "--axis", "epoch")
    assert axis.code == 1
    assert "axis: got 'epoch', expected one of 'step', 'tokens_seen'" in axis.err
    assert not (tmp_path / "fits.zarr").exists()


def test_an_axis_below_zero_is_named_with_the_way_out(tsl, tmp_path):
    create_losses(tmp_path / "a.zarr", np.ones((4, 8), "float16"), checkpoints={"step": np.arange(8) - 3})
    result = tsl("fit", tmp_path / "a.zarr", tmp_path / "fits.zarr")
    assert result.code == 1
    assert "axis 'step': got -3 at index 0" in result.err
    assert "use --scale linear or another axis" in result.err


@pytest.mark.parametrize("inside", ["fits.zarr", "deep/fits.zarr"])
def test_an_output_that_cannot_be_written_is_one_paragraph(tsl, losses, tmp_path, inside):
    (tmp_path / "file").write_text("")
    result = tsl("fit", losses, tmp_path / "file" / inside, "--json")
    assert result.code == 1
    assert result.json["error"]["kind"] == "WriteError"
    assert "Move the file that is in the way" in result.err
    demo = tsl("demo", "--out", tmp_path / "file", "--json")
    assert (demo.code, demo.json["error"]["kind"]) == (1, "WriteError")


def test_debug_shows_the_traceback(tsl, tmp_path):
    result = tsl("fit", tmp_path / "nothing.zarr", tmp_path / "fits.zarr", "--debug")
    assert isinstance(result.error, StoreNotFoundError)


def test_an_error_that_is_no_message_keeps_its_traceback(tsl, monkeypatch):
    def broken(*_, **__):
        np.zeros(3) + np.zeros(4)

    monkeypatch.setattr(tsl_jax.jobs, "fit_store", broken)
    result = tsl("fit", "a", "b")
    assert isinstance(result.error, ValueError)
    assert "broadcast" in str(result.error)
    assert "please report it" in result.error.__notes__[0]


def test_ctrl_c_says_how_to_go_on(tsl, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tsl_jax.jobs, "fit_store", interrupted)
    result = tsl("fit", "a", "b")
    assert result.code == 130
    assert "run the same command again to go on" in result.err


@pytest.mark.parametrize("place", ["port", "file", "words"])
def test_a_scheduler_that_does_not_answer_is_named_with_the_cure(tsl, tmp_path, place):
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    create_losses(tmp_path / "losses.zarr", np.ones((2, 4)), checkpoints={"step": np.arange(1, 5)})
    with socket.socket() as taken:  # a port where nothing listens
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        file = tmp_path / "scheduler.json"
        file.write_text(json.dumps({"address": address}))
        scheduler = {"port": address, "file": str(file), "words": "no such thing"}[place]
        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
            ran = tsl("fit", tmp_path / "losses.zarr", tmp_path / "fits.zarr", "--scheduler", scheduler)
    assert ran.code == 1
    assert f"--scheduler {scheduler}: no scheduler answers there" in ran.err
    assert "Start it" in ran.err
    assert not (tmp_path / "fits.zarr").exists()
