"""The benchmark of modular arithmetic: what it says of answers whose learning is planted, and what it plans."""

import numpy as np
import pytest

from benchmarks.laws import mano


def test_what_is_learned_is_told_by_length():
    """Of length 1 all at step 100, of length 2 half at 1000, of length 3 none."""
    length = np.repeat([1, 2, 3], 100)
    time = np.where(length == 1, 100.0, 1000.0) * np.tile([0.9, 1.1], 150)
    learned = (length == 1) | ((length == 2) & (np.arange(300) % 4 < 2))
    found = mano.by_length(length, time, learned, length < 3, length - 1.0)
    rows = {row["length"]: row for row in found["lengths"]}
    assert [row["answers"] for row in rows.values()] == [100, 100, 100]
    assert [row["learned"] for row in rows.values()] == [1.0, 0.5, 0.0]
    assert rows[1]["quartiles"] == pytest.approx([90, 100, 110])
    assert rows[2]["quartiles"] == pytest.approx([900, 1000, 1100])
    assert rows[3]["quartiles"] is None
    assert [row["right"] for row in rows.values()] == [1.0, 1.0, 0.0]
    assert [row["loss"] for row in rows.values()] == [0.0, 1.0, 2.0]
    assert found["order"] > 0.8
    energy = {"single pulses": 0.8431, "means of 40 groups": 0.9}
    shown = mano.table({"runs": {"inverse_square": found | {"energy": energy}}})
    assert (
        "| as L^-2 | 1          | 100     | 100%    | 100 (90 to 110)         | 100%             | 0.000      |"
        in shown
    )
    assert "84.3%" in shown


def test_the_preset_for_a_gpu_is_the_papers_setting():
    said = mano.planned(mano.PRESETS["gpu"], 2)
    assert "2 runs of 100,000 steps, 25,204,224 parameters, 65,536 answers at 200 checkpoints" in said
