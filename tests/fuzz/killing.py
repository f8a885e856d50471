"""Kills a job again and again, and compares what the next run makes of it; a program, as it forks.

``python killing.py FOLDER SEED NUMBER``: after NUMBER kills, and as many runs to the end, it prints how often each job
was killed. A fork is ready at once, and nothing has started threads before it.
"""

import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "store")]
sys.path.append(str(Path(__file__).parents[2]))  # last: the package may be installed
from jobs import JOBS, make_input  # noqa: E402

from tests.kills import tree  # noqa: E402

#: What Python tells of before it does it.
CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}


def in_a_fork(act) -> int:
    """The number of a process that does one thing and ends."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def end_of(child) -> int:
    """How it ended; minus the number of the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def changing(act, at=0) -> int:
    """Do something, in a process that is killed before its change of files of this number; returns their number."""
    count = 0

    def watch(event, arguments):
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in CHANGES:
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    act()
    return count


def undisturbed(job, folder, out) -> tuple[float, int]:
    """Run the job; its seconds and changes."""

    def act():
        begun = time.perf_counter()
        changes = changing(lambda: job(folder, out, lambda: None))
        (folder / "length").write_text(f"{time.perf_counter() - begun} {changes}")

    assert end_of(in_a_fork(act)) == 0
    seconds, changes = (folder / "length").read_text().split()
    return float(seconds), int(changes)


def killed_at_change(job, folder, out, at) -> bool:
    """Run the job in a process that is killed before a change of files; whether it came that far."""
    return end_of(in_a_fork(lambda: changing(lambda: job(folder, out, lambda: None), at))) == -signal.SIGKILL


def killed_after(job, folder, out, seconds) -> bool:
    """Run the job in a process that is killed after some seconds; whether it still ran."""
    child = in_a_fork(lambda: job(folder, out, lambda: None))
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return end_of(child) == -signal.SIGKILL


def main(folder: Path, seed: int, number: int) -> None:
    """Kill the jobs in turn."""
    os.fsync = lambda _: None  # what a killed process has written stays
    choice, kills, lengths, whole = random.Random(seed), Counter(), {}, {}
    assert end_of(in_a_fork(lambda: make_input(folder))) == 0
    tries = 0
    while kills.total() < number:
        name = list(JOBS)[tries % len(JOBS)]
        job, before = JOBS[name]
        tries += 1
        assert tries < 20 * number, f"only {kills} of the runs were killed"
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        if before:
            assert end_of(in_a_fork(lambda before=before, out=out: before(folder, out))) == 0
        if name not in whole:
            lengths[name], whole[name] = undisturbed(job, folder, out), tree(out)
            continue
        (seconds, changes), how = lengths[name], []
        for _ in range(choice.choice((1, 1, 2))):  # the run that goes on may be killed, too
            by_change = choice.random() < 0.7
            at = choice.randrange(1, changes + 1) if by_change else choice.uniform(0, seconds)
            how.append(at)
            kills[name] += (killed_at_change if by_change else killed_after)(job, folder, out, at)
        said = f"{name}, killed at {how} (whole numbers: changes, others: seconds)"
        assert end_of(in_a_fork(lambda job=job, out=out: job(folder, out, lambda: None))) == 0, said
        found = tree(out)
        other = sorted({file for file in {*found, *whole[name]} if found.get(file) != whole[name].get(file)})
        assert not other, f"{said}: {other} differ from those of an undisturbed run"
    print(f"{kills.total()} kills: {dict(kills)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
