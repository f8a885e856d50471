"""Logs as frameworks, spreadsheets and people leave them, each read or refused."""

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from tests.needed import missing
from tsl_jax.store import LossCurveFile, StoreError
from tsl_jax.store.curve_files import raw_text

CASES = {
    "curves/begins_in_warmup.csv": (10, (20, 8.5), 3e-5, ""),
    "curves/cosine_to_tenth.csv": (81, (0, 11.0), 3e-7, ""),
    "curves/cosine_to_tenth_after_warmup.csv": (72, (2250, 3.6583), 0.000599743, ""),
    "curves/named.txt": (7, (20, 8.5), 3e-5, ""),
    "curves/not_determined.csv": (81, (0, 3.5373), 0.0006, ""),
    "curves/optstep.csv": (1, (38756, 3.4541), 2.5e-4, ""),
    "curves/semicolon.csv": (10, (20, 8.5), 3e-5, ""),
    "curves/sparse_loss.csv": (2, (0, 10.0), 1e-5, "left out 1 row without a finite loss"),
    "curves/tabs.csv": (10, (20, 8.5), 3e-5, ""),
    "curves/train_val.csv": (2, (1, 9.03), 1.5e-6, "the loss is column 'train_loss'"),
    "logs/log.jsonl": (101, (0, 8.358675), 1e-3, ""),
    "logs/messy.csv": (
        99,
        (0, 8.358675),
        None,
        "left out 2 rows without a finite loss; sorted the rows by step; 5",
    ),
    "logs/messy2.csv": (
        99,
        (0, 8.358675),
        None,
        "left out 1 row without a finite loss; sorted the rows by step; 5",
    ),
    "logs/semi.csv": (101, (0, 8.358675), None, ""),
    "logs/tb.csv": (101, (0, 8.358675), None, ""),
    "logs/trainer_state.json": (100, (1, 8.340445), 2.0833e-05, ""),
    "logs/wandb.csv": (101, (0, 8.358675), 1e-3, ""),
    "logs/wandb_ui.csv": (101, (0, 8.358675), None, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_read(name):
    path = Path(__file__).parents[3] / "shared" / "cases" / name
    if not path.exists():
        missing(f"the case is not at {path}")
    rows, first, rate, note = CASES[name]
    file = LossCurveFile(path)
    columns, notes = file.columns(("step", "loss"))
    assert len(columns["step"]) == rows
    assert (columns["step"][0], columns["loss"][0]) == pytest.approx(first, rel=1e-6)
    assert np.all(np.diff(columns["step"]) > 0)
    assert "; ".join(notes).startswith(note)
    assert bool(notes) == bool(note)
    assert file.has("learning_rate") == (rate is not None)
    if rate is not None:
        found, _ = file.columns(("step", "learning_rate"))
        assert found["learning_rate"][0] == pytest.approx(rate, rel=1e-4)


READ = {
    "utf-16 without its mark": "step,loss\n1000,5.5\n2000,4.5\n".encode("utf-16-le"),
    "gzip": gzip.compress(b"step,loss\n1000,5.5\n2000,4.5\n"),
    "bzip2 of json lines": bz2.compress(b'{"step":1000,"loss":5.5}\n{"step":2000,"loss":4.5}\n'),
    "xz": lzma.compress(b"step;loss\n1000;5,5\n2000;4,5\n"),
    "comments": b"# run 7, seed 3\nstep,loss\n1000,5.5\n# went on\n2000,4.5\n",
    "a header behind a comment sign": b"# run 7\n# step loss\n1000 5.5\n2000 4.5\n",
    "the separator said": b"sep=;\nstep;loss\n1000;5,5\n2000;4,5\n",
    "the separator said in quotes": b'"sep=,"\r\nstep,loss\r\n1000,5.5\r\n2000,4.5\r\n',
    "thousands in quotes": b'step,loss\n"1,000",5.5\n"2,000",4.5\n',
    "thousands with decimal commas": b"step;loss\n1.000;5,5\n2.000;4,5\n",
    "thousands with decimal points": b"step;loss\n1,000;5.5\n2,000;4.5\n",
    "thousands with spaces": "step;loss\n1\u202f000;5,5\n2 000;4,5\n".encode(),
    "steps as floats": b"step,loss\n1000.0,5.5\n2e3,4.5\n",
    "blank cells": b"step,loss\n1000,5.5\n,\n2000,4.5\n",
    "an index and a trailing comma": b",step,loss,\n0,1000,5.5,\n1,2000,4.5,\n",
    "separators that end rows": b"step,loss\n1000,5.5,\n2000,4.5,\n",
    "units": b"Step (updates),Loss [nat]\n1000,5.5\n2000,4.5\n",
    "a table of Markdown": b"| step | loss |\n|---:|---|\n| 1000 | 5.5 |\n| 2000 | 4.5 |\n",
    "tags of TensorBoard": b"tag,step,value\nloss,1000,5.5\nloss,2000,4.5\nlr,1000,0.1\nlr,2000,0.1\n",
    "json of TensorBoard": b"[[1.7e9, 1000, 5.5], [1.7e9, 2000, 4.5]]",
    "json under a name": b'{"args": {"lr": 1}, "history": [{"step": 1000, "loss": 5.5}, {"step": 2000, "loss": 4.5}]}',
    "not numbers of json": b'{"step":1000,"loss":5.5}\n{"step":1500,"loss":NaN}\n{"step":1700,"loss":Infinity}\n'
    b'{"step":2000,"loss":"4.5"}\n',
    "what llm.c prints": b"+---+\nstep 1000/9999 | loss 5.5 (+1.2z)| norm 1.0 | lr 1e-4 | 9 ms\n"
    b"step 2000/9999 | loss 4.5 (+nanz)| norm 1.0 | lr 1e-4 | 9 ms\n",
    "what nanoGPT prints": b"iter 1000: loss 5.5, time 9ms\nstep 1000: train loss 5.6, val loss 5.7\n"
    b"iter 2000: loss 4.5, time 9ms\n",
    "wandb with rows of evaluation": b"_step,train/loss,eval/loss\n1000,5.5,\n1001,,5.6\n2000,4.5,\n2001,,4.6\n",
}


@pytest.mark.parametrize("name", READ)
def test_what_stands_around_the_rows_is_taken_off(name, tmp_path):
    (tmp_path / "curve").write_bytes(READ[name])
    columns, _ = LossCurveFile(tmp_path / "curve").columns(("step", "loss"))
    assert (columns["step"].tolist(), columns["loss"].tolist()) == ([1000, 2000], [5.5, 4.5])


def test_a_header_that_comes_again_after_a_restart_is_said(tmp_path):
    (tmp_path / "a.csv").write_text("step,loss\n1,9\n2,8\n3,7\nstep,loss\n2,7.5\n3,6.5\n4,6\n")
    columns, notes = LossCurveFile(tmp_path / "a.csv").columns(("step", "loss"))
    assert columns["loss"].tolist() == [9, 7.5, 6.5, 6]
    assert notes == ("left out header lines that come again", "the run went back to step 2: 2 earlier rows left out")


@pytest.mark.parametrize(
    ("text", "run", "loss"),
    [
        ('"Step","a - train/loss","a - train/loss__MIN","b - x - train/loss"\n1,5,5,6\n', "b - x", 6),
        ('"Step","a - train/loss","b - train/loss","b - lr"\n1,5,6,0.1\n', "a", 5),
        ("Step,a,b\n1,5,6\n", "b", 6),
        ('{"a": [{"step": 1, "loss": 5}], "b": [{"step": 1, "loss": 6}]}', "b", 6),
        ("run,tag,step,value\na,loss,1,5\na,lr,1,0.1\nb,loss,1,6\n", "b", 6),
    ],
)
def test_of_several_runs_one_is_named_however_they_are_kept(tmp_path, text, run, loss):
    (tmp_path / "curve").write_text(text)
    with pytest.raises(StoreError, match="--run"):
        LossCurveFile(tmp_path / "curve").columns(("step", "loss"))
    columns, _ = LossCurveFile(tmp_path / "curve", {"run": run}).columns(("step", "loss"))
    assert columns["loss"].tolist() == [loss]


def test_runs_that_are_not_there_and_damaged_files_are_refused(tmp_path, monkeypatch):
    (tmp_path / "curve").write_text("Step,a - loss,b - loss\n1,5,6\n")
    with pytest.raises(StoreError, match=r"no run 'c' among its columns, \['a', 'b'\]"):
        LossCurveFile(tmp_path / "curve", {"run": "c"})
    for damaged in (gzip.compress(b"step,loss\n1,5\n")[:-9], b"\x1f\x8bstep", b"BZhloss", b"\xfd7zXZ\x00x"):
        (tmp_path / "curve").write_bytes(damaged)
        with pytest.raises(StoreError, match="is compressed, and damaged"):
            LossCurveFile(tmp_path / "curve")
    monkeypatch.setattr(raw_text, "_MOST_BYTES", 1000)
    (tmp_path / "curve").write_bytes(gzip.compress(b"step,loss\n1,5\n" + b"\n" * 1000))
    with pytest.raises(StoreError, match="has more than 1,000 bytes once unpacked; leave rows out, or unpack it"):
        LossCurveFile(tmp_path / "curve")


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_line_that_fills_the_memory_is_refused_before_it_does(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(raw_text, "_MOST_LINE", 1000)
    rows = "".join(f"{step},{5 - 0.01 * step},a note\n" for step in range(1, 200))
    (tmp_path / "curve").write_bytes(packed(f"step,loss,note\n{rows}".encode()))
    columns, _ = LossCurveFile(tmp_path / "curve").columns(("step", "loss"))
    assert len(columns["step"]) == 199
    taken = []
    monkeypatch.setattr(
        raw_text,
        "_check_line",
        lambda piece, at, real=raw_text._check_line: (taken.append(len(piece)), real(piece, at)),
    )
    (tmp_path / "curve").write_bytes(packed(b"step,loss,note\n1,5," + b"x" * 9999 + f"\n{rows}".encode()))
    with pytest.raises(StoreError, match=r"curve: has a line of more than 1,000 bytes; give a file with a row a line"):
        LossCurveFile(tmp_path / "curve")
    assert sum(taken) <= 2000 or packed is bytes


def test_runs_of_parquet_may_be_categories(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"step": [1, 2, 1], "loss": [5.0, 4.0, 6.0], "run": pandas.Categorical(["a", "a", "b"])})
    frame.to_parquet(tmp_path / "curve.parquet")
    with pytest.raises(StoreError, match="holds 2 runs"):
        LossCurveFile(tmp_path / "curve.parquet")
    columns, _ = LossCurveFile(tmp_path / "curve.parquet", {"run": "b"}).columns(("step", "loss"))
    assert columns["loss"].tolist() == [6.0]
    frame[["step", "loss"]].iloc[:2].set_index("step").to_parquet(tmp_path / "curve.parquet")  # a range, not a column
    columns, _ = LossCurveFile(tmp_path / "curve.parquet").columns(("step", "loss"))
    assert (columns["step"].tolist(), columns["loss"].tolist()) == ([1, 2], [5, 4])
