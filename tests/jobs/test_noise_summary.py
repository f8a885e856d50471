"""What a summary says of tokens whose noise cannot be known, and what to do about it."""

import numpy as np
import pytest

from tests.planted_store import planted_columns, write_fit_store
from tsl_jax.cli.summary import noise_words
from tsl_jax.fitting import Status, degrees_of_freedom
from tsl_jax.jobs import describe_tokens
from tsl_jax.jobs.fit import samples


def columns_of(correlation, points, tokens=100):
    number = np.full(tokens, points, "int32")
    return planted_columns(tokens) | {
        "noise_correlation": np.full(tokens, correlation, "float16"),
        "effective_points": np.full(tokens, 2, "float16"),
        "num_points": number,
        "rss": np.ones(tokens, "float32"),
    }


@pytest.mark.parametrize(
    ("correlation", "points", "few"), [(0.9, 32, True), (0.9, 64, False), (0.0, 16, False), (0.7, 12, True)]
)
def test_tokens_that_cannot_tell_their_noise_are_counted(tmp_path, correlation, points, few):
    columns = columns_of(correlation, points)
    columns["status"][:7] = Status.FLAT
    fits = write_fit_store(tmp_path, columns)
    assert (float(degrees_of_freedom(np.float32(correlation), points)) <= 1) == few
    said = describe_tokens(fits)
    assert said["few_effective_points"] == (93 if few else 0)
    words = " ".join(noise_words(said))
    assert ("Few effective points: 93 tokens" in words) == few
    assert ("--noise FITS" in words) == few


def test_of_a_large_store_a_sample_is_scaled_up(tmp_path, monkeypatch):
    columns = columns_of(0.1, 40, 1000)
    columns["noise_correlation"][::2] = 0.95
    fits = write_fit_store(tmp_path, columns)
    monkeypatch.setattr(samples, "_SAMPLED_TOKENS", 640)
    monkeypatch.setattr(samples, "_RUN_TOKENS", 10)
    assert describe_tokens(fits)["few_effective_points"] == pytest.approx(500, abs=20)


def test_stores_without_tokens_have_none(tmp_path):
    said = describe_tokens(write_fit_store(tmp_path, planted_columns(0)))
    assert (said["few_effective_points"], said["median_effective_points"]) == (0, None)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("estimated", "their errors take that of all tokens as it is."),
        ("given", "their errors take that of all tokens as it is."),
        ("alone", "their errors take independent noise, which may be too small. Measure more checkpoints, or"),
        ("too few curves", "their errors take independent noise"),
        ("combined", "their errors take that of the runs."),
    ],
)
def test_what_tokens_without_an_estimate_take_is_said(source, words):
    said = {"noise_source": source, "noise_correlation": 0.3, "median_effective_points": 3.0, "checkpoints": 9}
    said |= {"noise_not_estimated": 5, "few_effective_points": 0, "second_events": 0}
    assert any(line.startswith("Noise not estimated: 5 tokens") and words in line for line in noise_words(said))
