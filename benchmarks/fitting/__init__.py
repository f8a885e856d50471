"""Fits: rates, quality, coverage; the problems, the oracle and the peers."""
