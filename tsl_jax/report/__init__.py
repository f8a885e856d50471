"""One HTML page for a run: what was fitted, how well, and what follows from it."""

from .findings import Findings
from .writing import write_report

__all__ = ["Findings", "write_report"]
