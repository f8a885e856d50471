"""Reading loss curves as they come."""

import numpy as np
import pytest

from tsl_jax.store import StoreError, read_columns, read_loss_curve


@pytest.fixture
def csv(tmp_path):
    def write(text, name="curve.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_columns_are_found_by_name(csv):
    for text in (
        "step,lr,loss\n100,0.001,5.5\n200,5e-4,4.25\n",
        "loss, Step ,extra,learning_rate\n5.5,100,x,0.001\n4.25,200,,5e-4\n",
        "\ufeffstep,lr,loss\r\n100,0.001,5.5\r\n\r\n200.0,5e-4,4.25",
    ):
        rows = read_loss_curve(csv(text))
        np.testing.assert_array_equal(rows.step, [100, 200])
        assert rows.step.dtype == np.int64
        np.testing.assert_array_equal(rows.loss, [5.5, 4.25])
        np.testing.assert_array_equal(rows.learning_rate, [0.001, 5e-4])


def test_the_learning_rate_may_be_missing(csv):
    assert read_loss_curve(csv("step,loss\n0,8.0\n1,7.9\n")).learning_rate is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty, expected a header line"),
        ("step,lr,loss\n", "no rows"),
        ("lr,loss\n1,2\n", "no column 'step' among"),
        ("step,lr\n1,2\n", "no column 'loss' among"),
        ("step,loss,lr,learning_rate\n1,2,3,4\n", "keep one of them"),
        ("step,loss\n1,5.0\n2,nan\n", "line 3: loss is 'nan'"),
        ("step,loss\n1,5.0\n\n2,inf\n", "line 4: loss is 'inf'"),
        ("step,loss\n1,5.0\n2,five\n", "line 3: loss is 'five'"),
        ("step,loss\n1,5.0\n2\n", "line 3: loss is 'missing'"),
        ("step,loss\n1,5.0\n1,4.0\n", "line 3: step 1 comes twice, .* keep one row"),
        ("step,loss\n2,5.0\n\n1,4.0\n", "line 4: step 1 comes after 2, .* sort the rows"),
        ("step,loss\n1.5,5.0\n", "line 2: step is 1.5"),
        ("step,loss\n-1,5.0\n", "line 2: step is -1"),
    ],
)
def test_bad_files_name_the_line_and_the_cure(csv, text, message):
    with pytest.raises(StoreError, match=rf"curve\.csv.*{message}"):
        read_loss_curve(csv(text))


def test_files_that_are_none_or_no_text(csv, tmp_path):
    with pytest.raises(StoreError, match="cannot be read"):
        read_loss_curve(tmp_path / "absent.csv")
    with pytest.raises(StoreError, match="is not text"):
        read_loss_curve(csv("step,loss\n1,5.0\n", encoding="utf-16"))


def test_a_schedule_is_read_by_the_same_reader(csv):
    columns = read_columns(csv("lr,step\n0.1,0\n0.2,50\n"), ["step", "learning_rate"])
    np.testing.assert_array_equal(columns["learning_rate"], [0.1, 0.2])
    np.testing.assert_array_equal(columns["step"], [0, 50])
    with pytest.raises(StoreError, match=r"no column 'lr' among .*'step,lr'"):
        read_columns(csv("step,loss\n1,2\n"), ["step", "learning_rate"])
