"""`tsl bench`: what was measured in words and as JSON; the measuring is tested in tests/jobs/test_speed.py."""

import pytest

import tsl_jax.jobs
from tsl_jax.jobs import Speed
from tsl_jax.stream import StageSeconds

FOUND = Speed(
    devices="1 x cpu",
    kernel_name="native",
    tokens=262_144,
    checkpoints=64,
    dtype="float16",
    block_tokens=16_384,
    compile_seconds=9.5,
    kernel=50_000.0,
    settled=0.999,
    copy_bytes=4e9,
    read=2e6,
    read_bytes=2.56e8,
    end_to_end=47_500.0,
    stages=StageSeconds(read=0.1, decode=0.2, fit=2.0, waited_for_fit=1.9),
)


@pytest.fixture
def asked(monkeypatch):
    calls = []
    monkeypatch.setattr(
        tsl_jax.jobs, "measure_speed", lambda *given, **options: calls.append((given, options)) or FOUND
    )
    return calls


def test_it_says_what_was_measured_and_what_set_the_rate(tsl, asked):
    found = tsl("bench", "--json")
    assert found.code == 0
    assert (found.json["kernel"], found.json["limited_by"], found.json["stages"]["decode"]) == (50_000.0, "fit", 0.2)
    for words in (
        "50,000",
        "native kernel",
        "99.9% settled",
        "95% of the slower",
        "0.26 GB/s",
        "Fitting set the rate",
        "decode 0.2",
    ):
        assert words in found.err
    ((given, options),) = asked
    assert given == (None,)
    assert options.pop("kernel") == "auto"
    assert options == {"axis": "step", "checkpoints": 64, "seconds": 2.0, "devices": None, "folder": None}


def test_options_go_to_the_library(tsl, asked, tmp_path):
    words = ["--axis", "lr_sum", "--seconds", "0.5", "--checkpoints", "128", "--devices", "1", "--folder", tmp_path]
    words += ["--kernel", "xla"]
    assert tsl("bench", "mine.zarr", *words).code == 0
    ((given, options),) = asked
    assert (given, len(options.pop("devices"))) == (("mine.zarr",), 1)
    assert options == {"axis": "lr_sum", "checkpoints": 128, "seconds": 0.5, "folder": tmp_path, "kernel": "xla"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["no/such.zarr"], 1, "no Zarr group"),
        (["--seconds", "0"], 1, "seconds: got 0"),
        (["--devices", "99"], 2, "got 99"),
    ],
)
def test_what_is_wrong_is_said(tsl, words, code, said):
    found = tsl("bench", *words)
    assert found.code == code
    assert said in " ".join(found.err.split())
