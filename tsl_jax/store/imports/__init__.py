"""Losses as users have them: arrays, tables, files of checkpoints, and objects of other libraries."""
