"""Tables of final losses by size: names, units, operations instead of tokens, and what is refused."""

import numpy as np
import pytest

from tsl_jax.store.curve_files.size_table import read_sizes
from tsl_jax.store.errors import StoreError

ROWS = ((25e6, 2e9, 3.4), (1e8, 2e9, 3.1), (1e8, 1e10, 2.9))


@pytest.mark.parametrize(
    "text",
    [
        "N,D,loss\n25e6,2e9,3.4\n1e8,2e9,3.1\n1e8,1e10,2.9\n",
        "run;params;tokens;final_loss\na;25M;2B;3,4\nb;100M;2 B;3,1\nc;0.1B;10b;2,9\n",
        "Model Size,Training FLOP,loss\n25e6,3e17,3.4\n1e8,1.2e18,3.1\n1e8,6e18,2.9\n",
        "num_params\tval_loss\tcompute\n2.5e7\t3.4\t3e17\n1e8\t3.1\t1.2e18\n1e8\t2.9\t6e18\n",
        '[{"size": 2.5e7, "tokens": 2e9, "loss": 3.4}, {"size": 1e8, "tokens": 2e9, "loss": 3.1},'
        '{"size": 1e8, "tokens": 1e10, "loss": 2.9}, {"size": 1e8, "tokens": 1e10, "loss": NaN}]',
    ],
)
def test_tables_are_read(tmp_path, text):
    (tmp_path / "table").write_text(text)
    rows = read_sizes(tmp_path / "table")
    np.testing.assert_allclose(np.transpose(rows[:3]), ROWS, rtol=1e-12)
    assert any("operations / (6 * size)" in note for note in rows.notes) == (
        "tokens" not in text and "D" not in text[:3]
    )
    assert any("left out 1 row" in note for note in rows.notes) == ("NaN" in text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("N,loss\n1e8,3\n", "no column of training tokens or floating point operations"),
        ("D,loss\n1e8,3\n", "no column 'n' among .*--size-column NAME"),
        ("N,D\n1e8,3\n", "no column 'final_loss' among .*--loss-column NAME"),
        ("N,D,loss\n1e8,many,3\n", "line 2: tokens is 'many'"),
        ("N,D,loss\n1e8,0,3\n", "none of its 1 rows has a size, tokens and a loss above 0"),
    ],
)
def test_other_tables_are_refused(tmp_path, text, message):
    (tmp_path / "table").write_text(text)
    with pytest.raises(StoreError, match=message):
        read_sizes(tmp_path / "table")
    (tmp_path / "table").write_text("a,b,c\n1,2,3\n")
    assert read_sizes(tmp_path / "table", {"size": "a", "tokens": "b", "final_loss": "c"}).loss.tolist() == [3]
