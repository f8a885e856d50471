"""Fits as tables and data sets, in memory and as files."""
