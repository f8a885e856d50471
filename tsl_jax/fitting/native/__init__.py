"""The engine's kernel in C++, for CPUs and for NVIDIA's GPUs: installed or built for this machine, never required."""

from .loading import MEASURE, SOLVE, TARGETS, build_of, was_asked, why_missing
from .processor import instruction_level

__all__ = ["MEASURE", "SOLVE", "TARGETS", "build_of", "instruction_level", "was_asked", "why_missing"]
