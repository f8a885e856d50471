"""The numerical core as users have it: all of XLA's optimisations and its newer emitters, which tests do without."""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.fitting.tolerances import SOLVED_FRACTION

ROOT = Path(__file__).parents[2]
#: What `tests/conftest.py` sets.
SWITCHES = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS", "JAX_NUM_CPU_DEVICES")
PROGRAM = """
import json
from benchmarks.fitting import certified
from benchmarks.fitting.oracle import rss_of, solved
from benchmarks.fitting.peers import tsl_jax_xla_fit
from benchmarks.fitting.problems import quality_rows

good = number = 0
for row in quality_rows(["log"]):
    if row[0].checkpoints in (16, 64):
        problem = certified.problem_of(row)
        best = certified.best_of(row, problem)
        good += int(solved(problem, rss_of(problem, tsl_jax_xla_fit(problem)(problem.losses)), best).sum())
        number += len(problem)
print(json.dumps([good, number]))
"""


def test_sigmoids_are_solved_in_the_programs_of_users():
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    good, number = json.loads(done.stdout)
    assert good >= SOLVED_FRACTION * number
