"""Training on re-weighted text."""
