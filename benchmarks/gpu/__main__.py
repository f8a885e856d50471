"""``python -m benchmarks.gpu``, as `python -m benchmarks gpu`."""

import sys

from ..__main__ import main

sys.exit(main(["gpu", *sys.argv[1:]]))
