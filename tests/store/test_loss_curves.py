"""Reading loss curves as they come."""

import json

import numpy as np
import pytest

from tsl_jax.store import LossCurveFile, LossCurveWarning, StoreError, read_columns, read_loss_curve


@pytest.fixture
def file(tmp_path):
    def write(text, name="curve.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


def columns_of(path, names=None):
    """Step and loss as lists, and the notes."""
    found, notes = LossCurveFile(path, names).columns(("step", "loss"))
    return found["step"].tolist(), found["loss"].tolist(), notes


@pytest.mark.parametrize(
    "text",
    [
        "step,lr,loss\n100,0.001,5.5\n200,5e-4,4.25\n",
        "loss, Step ,extra,learning_rate\n5.5,100,x,0.001\n4.25,200,,5e-4\n",
        "\ufeffstep,lr,loss\r\n100,0.001,5.5\r\n\r\n200.0,5e-4,4.25",
        "\n\nstep,lr,loss\n100,0.001,5.5\n\n200,5e-4,4.25\n\n",
        "step,lr,loss\r100,0.001,5.5\r200,5e-4,4.25\r",
        "step;lr;loss\n100;0,001;5,5\n200;5e-4;4,25\n",
        "step\tlr\tloss\n100\t1E-3\t5.5\n200\t5e-4\t4.25\n",
        "step|lr|loss\n100|1e-3|5.5\n200|.5e-3|4.25\n",
        "step lr loss\n100  0.001 5.5\n200  5e-4  4.25\n",
        '"step","lr, of the optimiser","lr","loss"\n"100","1","0.001","5.5"\n"200","1","5e-4","4.25"\n',
        "global_step,train/loss,train/learning_rate\n100,5.5,0.001\n200,4.25,5e-4\n",
        "micro_step,opt_step,loss_avg,lr\n800,100,5.5,0.001\n1600,200,4.25,5e-4\n",
        "_step,train.loss,optim/learning_rate\n100,5.5,0.001\n200,4.25,5e-4\n",
        '{"step": 100, "lr": 0.001, "loss": 5.5}\n\n{"step": 200, "lr": 5e-4, "loss": 4.25, "text": null}\n',
        '[{"step": 100, "train": {"lr": 0.001, "loss": 5.5}}, {"step": 200, "train": {"lr": 5e-4, "loss": 4.25}}]',
        '{"step": [100, 200], "lr": ["0.001", "5e-4"], "loss": [5.5, 4.25]}',
        '{"log_history": [{"step": 100, "learning_rate": 0.001, "loss": 5.5}, {"step": 100, "eval_loss": 9},'
        '{"step": 200, "learning_rate": 5e-4, "loss": 4.25}, {"step": 200, "train_loss": 4.9}], "epoch": 1.0}',
        "s:100 tel:9.0\ns:100 trl:5.5 lr:0.001 norm:1.5\ns:200 tel:9.0\ns:200 trl:4.25 lr:5e-4 norm:1.5\n",
    ],
)
def test_formats_and_names_of_columns(file, text):
    columns, _ = LossCurveFile(file(text, "curve.txt")).columns(("step", "loss"), ("learning_rate",))
    expected = {"step": [100, 200], "loss": [5.5, 4.25], "learning_rate": [0.001, 5e-4]}
    assert {name: values.tolist() for name, values in columns.items()} == expected


def test_text_in_utf_16_as_spreadsheets_write_it(file):
    assert columns_of(file("step\tloss\n1\t5.5\n", encoding="utf-16")) == ([1], [5.5], ())


def test_parquet(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"step": [1, 2, 3], "train_loss": [5.5, None, 4.5], "tags": [["a"], [], []]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "curve.parquet")
    step, loss, notes = columns_of(tmp_path / "curve.parquet")
    assert (step, loss) == ([1, 3], [5.5, 4.5])
    assert notes == ("left out 1 row without a finite loss",)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "curve.parquet").read_bytes()[:200])
    with pytest.raises(StoreError, match=r"cut\.parquet: cannot be read as Parquet"):
        read_loss_curve(tmp_path / "cut.parquet")


def test_logs_of_modded_nanogpt_lie_behind_their_own_source(file):
    log = (
        "import os\nfrom torch import nn\nstep = 3\nprint('loss:1')\n{'a': 1}\n====\n"
        "step:0/3242 val_loss:10.8258 train_time:0ms step_avg:nanms\n"
        "step:125/3242 val_loss:5.5 train_time:9ms step_avg:3.2ms\n"
    )
    assert columns_of(file(log, "log.txt")) == ([0, 125], [10.8258, 5.5], ())


def test_exports_of_tensorboard(file):
    assert columns_of(file("Wall time,Step,Value\n1.7e9,10,5.5\n1.7e9,20,4.5\n"))[:2] == ([10, 20], [5.5, 4.5])
    with pytest.raises(StoreError, match="no column 'loss'"):
        columns_of(file("Step,Value\n10,5.5\n"))


def test_exports_of_wandb_with_one_run_and_with_several(file):
    one = '"Step","a - b - train/loss","a - b - train/loss__MIN","a - b - train/loss__MAX"\n"10","5.5","5","6"\n'
    assert columns_of(file(one)) == ([10], [5.5], ())
    two = '"Step","a - train/loss","a - train/loss__MIN","b - train/loss","b - train/loss__MAX"\n1,5.5,5,6.5,7\n'
    message = r"columns \['a - train/loss', 'b - train/loss'\] all could be the loss; .*--loss-column 'a - train/loss'"
    with pytest.raises(StoreError, match=message):
        columns_of(file(two))
    assert columns_of(file(two), {"loss": "b - train/loss"}) == ([1], [6.5], ())
    with pytest.raises(StoreError, match=r"holds 2 runs by its column 'Run', \['x', 'y'\], .*write a file a run"):
        columns_of(file("Run,step,loss\nx,1,5\ny,1,4\n"))


@pytest.mark.parametrize("column", ["Run", "seed", "run id", "experiment"])
def test_of_several_runs_in_a_file_one_is_named(file, column):
    text = f"{column},step,loss\nx,1,5\n 7 ,1,4\nx,2,4.5\n7,2,3\n"
    with pytest.raises(StoreError, match=rf"holds 2 runs by its column '{column}'.*--run 'x'"):
        columns_of(file(text))
    assert columns_of(file(text), {"run": "7"}) == ([1, 2], [4, 3], ())
    with pytest.raises(StoreError, match=r"no run 'z' in its column .*--run takes one of these"):
        columns_of(file(text), {"run": "z"})
    assert columns_of(file("step,loss\n1,5\n"), {"run": "z"}) == ([1], [5], ())  # of other files there is only one
    records = '[{"run": 3, "step": 1, "loss": 5.0}, {"run": 4, "step": 1, "loss": 4.0}]'
    assert columns_of(file(records), {"run": "4"}) == ([1], [4], ())


def test_the_loss_of_training_comes_first_and_that_is_said(file):
    text = "step,train_loss,validation_loss\n1,9.03,9.04\n250,4.22,4.23\n"
    note = ("the loss is column 'train_loss' (--loss-column names another)",)
    assert columns_of(file(text)) == ([1, 250], [9.03, 4.22], note)
    assert columns_of(file(text), {"loss": "validation_loss"}) == ([1, 250], [9.04, 4.23], ())
    assert columns_of(file("step,val_loss\n1,9.0\n")) == ([1], [9.0], ())


def test_columns_that_are_named(file):
    path = file("t,nats,loss,eta\n1,5.5,0,0.1\n2,4.5,0,0.2\n")
    rows = read_loss_curve(path, {"step": "t", "loss": "nats", "learning_rate": "eta"})
    assert [values.tolist() for values in rows] == [[1, 2], [5.5, 4.5], [0.1, 0.2]]
    with pytest.raises(StoreError, match=r"no column 'x' among \['t', 'nats'.*--step-column takes a name of these"):
        read_loss_curve(path, {"step": "x"})
    with pytest.raises(StoreError, match="2 columns 'loss' among"):
        columns_of(file("step,loss,loss\n1,2,3\n"), {"loss": "loss"})


def test_the_learning_rate_may_be_missing(file):
    rows = read_loss_curve(file("step,loss\n0,8.0\n1,7.9\n"))
    assert rows.learning_rate is None
    assert rows.step.dtype == np.int64
    for text, there in (("step,lr,loss\n0,,8.0\n1,,7.9\n", False), ("step,lr,loss\n0,,8\n1,0,7\n", True)):
        assert LossCurveFile(file(text)).has("learning_rate") == there


@pytest.mark.parametrize(
    ("rows", "step", "loss", "notes"),
    [
        ("1,5\n2,\n3,nan\n4,Inf\n5,4\n", [1, 5], [5, 4], ["left out 3 rows without a finite loss"]),
        ("1,5\n,9\n5,4\n", [1, 5], [5, 4], ["left out 1 row without a finite step"]),
        ("1,5\n2,1e39\n5,4\n", [1, 5], [5, 4], ["left out 1 row without a finite loss"]),
        ("1,5\n1,4\n2,3\n2,2\n", [1, 2], [4, 2], ["2 rows repeat a step: the last one counts"]),
        ("2,4\n1,5\n3,3\n", [1, 2, 3], [5, 4, 3], ["sorted the rows by step"]),
        ("1,5\n2,4\n3", [1, 2], [5, 4], ["left out the last line, which is not whole"]),
        (
            "10,9\n20,8\n30,7\n35,6\n22,7.5\n32,6.5\n42,5.5\n",
            [10, 20, 22, 32, 42],
            [9, 8, 7.5, 6.5, 5.5],
            ["the run went back to step 22: 2 earlier rows left out"],
        ),
        (
            "10,9\n20,8\n30,7\n10,6\n20,5\n30,4\n20,3\n30,2\n40,1\n",
            [10, 20, 30, 40],
            [6, 3, 2, 1],
            ["the run went back to step 10, 20: 5 earlier rows left out"],
        ),
    ],
)
def test_gaps_repeats_and_restarts_are_told_in_one_warning(file, rows, step, loss, notes):
    path = file("step,loss\n" + rows)
    assert columns_of(path) == (step, loss, tuple(notes))
    with pytest.warns(LossCurveWarning, match=r"curve\.csv: ") as told:
        assert read_loss_curve(path).loss.tolist() == loss
    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty, expected a header line"),
        (" \n\n ", "is empty, expected a header line"),
        (";", "holds no cell with text"),
        ('""\n', "holds no cell with text"),
        ("step,lr,loss\n", "no rows"),
        ("lr,loss\n1,2\n", "no column 'step' among"),
        ("step,lr\n1,2\n", "no column 'loss' among .*--loss-column NAME"),
        ("step,loss,lr,learning_rate\n1,2,3,4\n", "columns .*'lr', 'learning_rate'.*keep one of them"),
        ("step,step,loss\n1,1,2\n", "columns .*'step', 'step'.* all could be the step"),
        ("step,loss\n1,nan\n2,\n", "none of its 2 rows has a finite step and loss"),
        ("step,loss\n1,5.0\n2,five\n", "line 3: loss is 'five', expected a finite number"),
        ("step,loss\n1,5.0\n\n2,1_0\n", "line 4: loss is '1_0'"),
        ("step,loss\n1,0x10\n", "line 2: loss is '0x10'"),
        ("step,loss\n١,5\n", "line 2: step is '١'"),
        ('step,loss\n1,"5,0"\n', "line 2: loss is '5,0'"),  # five, or fifty?
        ('step;loss\n"1,000";5,0\n', "line 2: step is '1,000'"),
        ("step,loss,lr\n1,5.0,-1\n", "line 2: learning_rate is '-1', expected a rate of 0 or above"),
        ("step,lr,loss\n1,0,5.0\n2\n3,0,4.0\n", "line 3: has fewer cells than the header, expected 3"),
        ("step,loss\n1,5.0\n1,2,3\n", "is no table .*Expected 2 fields in line 3, saw 3"),
        ('step,loss\n1,"5.0\n2,4.0\n', "is no table .*EOF inside string"),
        ("step,loss\n1,5.0\0\n", "line 2: holds a NUL"),
        ("step,loss\n1.5,5.0\n", "line 2: step is '1.5', expected a whole number from 0"),
        ("step,loss\n-1,5.0\n", "line 2: step is '-1'"),
        ("step,loss\n9223372036854775808,5.0\n", "line 2: step is '9223372036854775808'"),
        ("step,loss\n" + "9" * 400_000 + ",5.0\n", r"line 2: step is '9{40}\.\.\.'"),
        ('{"step": 1, "loss": true}', "record 1: loss is 'True'"),
        ('{"step": 1, "loss": [1]}\n{"step": 2, "loss": 5}', r"line 1: loss is '\[1\]'"),
        ('{"step": 1}\n{"step": x}\n{"step": 3}\n', "line 2: is no JSON"),
        ('{"step": 1}\n[2]\n', "line 2: is no record"),
        ("[1, 2]", "holds JSON, but no records"),
        ("[" * 100_000, "line 1: is no JSON"),
        ('{"step": ' + "9" * 5_000 + "}", "is no JSON"),
        ('{"step": ' + "9" * 400 + ', "loss": 5}', "step is '9"),
    ],
)
def test_bad_files_name_the_line_and_the_cure(file, text, message):
    with pytest.raises(StoreError, match=rf"(?s)curve\.csv.*{message}"):
        read_loss_curve(file(text))


def test_a_line_of_json_that_was_not_written_to_its_end_is_left_out(file):
    lines = [json.dumps({"step": step, "loss": 5.0}) for step in (1, 2, 3)]
    step, _, notes = columns_of(file("\n".join(lines)[:-5], "log.jsonl"))
    assert (step, notes) == ([1, 2], ("left out the last line, which is not whole",))


def test_files_that_are_none_or_no_text(file, tmp_path):
    with pytest.raises(StoreError, match="cannot be read"):
        read_loss_curve(tmp_path / "absent.csv")
    with pytest.raises(StoreError, match="is no file"):
        read_loss_curve(tmp_path)
    with pytest.raises(StoreError, match="is no path"):
        read_loss_curve("a\0b.csv")
    with pytest.raises(StoreError, match="is not text"):
        read_loss_curve(file("step,loss,é\n1,5.0,2\n", encoding="latin-1"))


def test_a_checkpoint_of_hugging_face(tmp_path):
    (tmp_path / "trainer_state.json").write_text('{"log_history": [{"step": 5, "loss": 2.5}]}')
    assert columns_of(tmp_path) == ([5], [2.5], ())


def test_a_schedule_is_read_by_the_same_reader(file):
    columns = read_columns(file("lr,step\n0.1,0\n0.2,50\n"), ["step", "learning_rate"])
    np.testing.assert_array_equal(columns["learning_rate"], [0.1, 0.2])
    np.testing.assert_array_equal(columns["step"], [0, 50])
    with pytest.raises(StoreError, match=r"no column 'lr' among .*'step,lr'"):
        read_columns(file("step,loss\n1,2\n"), ["step", "learning_rate"])
