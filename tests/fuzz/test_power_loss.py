"""The power fails at any moment: nothing that was done is lost, and the next run ends with the same bytes."""

from pathlib import Path

import pytest
from jobs import JOBS, make_input
from power import Disk

pytestmark = [
    pytest.mark.fuzz,
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name open files"),
]


@pytest.mark.parametrize("name", JOBS)
def test_power_loss_takes_nothing_that_was_done(name, tmp_path, monkeypatch, choice, cases, tree):
    job, before = JOBS[name]
    make_input(tmp_path)

    def watched(place):
        (tmp_path / place).mkdir()
        if before:
            before(tmp_path, tmp_path / place / "out")
        return Disk(tmp_path / place, monkeypatch, choice)

    disk = watched("whole")
    job(tmp_path, disk.root / "out", disk.done)
    whole, changes, parts = tree(disk.root / "out"), disk.changes, disk.told
    disk = watched("failing")
    number = min(changes, max(3, cases // 2))
    disk.fail_at(choice.sample(range(1, changes + 1), number), tmp_path / "left")
    job(tmp_path, disk.root / "out", disk.done)
    assert tree(disk.root / "out") == whole
    assert len(disk.states) >= number / 2, "threads change the number of changes a little"
    for at, left in disk.states.items():
        told = int(left.suffix[1:])
        again = []
        job(tmp_path, left / "out", lambda again=again: again.append(None))
        assert tree(left / "out") == whole, f"change {at} of {changes}"
        assert len(again) <= parts - told, f"change {at} of {changes}: of {parts} parts {told} were done"
