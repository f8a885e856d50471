"""The engine's kernel for CPUs in C++: built once for this machine's processor, found automatically, never required."""

from .building import MEASURE, SOLVE, why_missing

__all__ = ["MEASURE", "SOLVE", "why_missing"]
