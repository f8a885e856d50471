"""Processes that tests start have the package that the tests have: of this checkout, or installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tsl_jax
from tsl_jax.fitting.native.loading import build_of

CHECKOUT = Path(__file__).parents[1]
TOLD = """
import json, tests, tsl_jax
from tsl_jax.fitting.native.loading import build_of
print(json.dumps([tsl_jax.__file__, tests.__path__[0], tsl_jax.load_kernel(), build_of("cpu")]))
"""


def test_the_package_is_that_of_this_checkout_or_what_is_installed():
    package = Path(tsl_jax.__file__).parents[1]
    assert (package == CHECKOUT) is not sys.flags.safe_path, "PYTHONSAFEPATH=1 is for what `make install` installs"
    assert package == CHECKOUT or not (package / "CMakeLists.txt").exists()


@pytest.mark.parametrize("as_file", [False, True], ids=["code", "file"])
@pytest.mark.parametrize("here", [False, True], ids=["elsewhere", "here"])
def test_processes_have_the_same_package_and_kernel(tmp_path, as_file, here):
    (tmp_path / "program.py").write_text(TOLD)
    program = [str(tmp_path / "program.py")] if as_file else ["-c", TOLD]
    done = subprocess.run(
        [sys.executable, "-W", "error", *program],
        cwd=CHECKOUT if here else tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    why = tsl_jax.load_kernel()
    assert json.loads(done.stdout) == [tsl_jax.__file__, str(CHECKOUT / "tests"), why, build_of("cpu")]
