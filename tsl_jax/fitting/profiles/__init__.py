"""Intervals by profiles: the curve fitted anew with one parameter held."""
