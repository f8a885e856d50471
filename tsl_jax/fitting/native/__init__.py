"""The engine's kernel in C++, for CPUs and for NVIDIA's GPUs: built once for this machine's device, never required."""

from .building import MEASURE, SOLVE, TARGETS, build_of, was_asked, why_missing

__all__ = ["MEASURE", "SOLVE", "TARGETS", "build_of", "was_asked", "why_missing"]
