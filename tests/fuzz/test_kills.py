"""Killed at any moment by SIGKILL and run again, every job leaves just the files of an undisturbed run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.fuzz, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


def test_every_file_is_that_of_an_undisturbed_run(tmp_path, seed, cases):
    number = cases // 3
    command = [sys.executable, "-W", "ignore", str(Path(__file__).parent / "killing.py"), str(tmp_path)]
    ran = subprocess.run([*command, str(seed), str(number)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(re.match(r"(\d+) kills", ran.stdout)[1]) >= number, ran.stdout
    print(ran.stdout)
