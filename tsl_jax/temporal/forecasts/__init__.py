"""The mean loss ahead of training, and the rank of runs."""
