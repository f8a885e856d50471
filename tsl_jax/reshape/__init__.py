"""From learning times to sampling weights: which sequences hold what is learned in a window of training."""

from .buckets import bucket_of, bucket_weights, effective_sample_size
from .scores import SequenceScores, check_window, event_probability, merge_scores, score_sequences

__all__ = [
    "SequenceScores",
    "bucket_of",
    "bucket_weights",
    "check_window",
    "effective_sample_size",
    "event_probability",
    "merge_scores",
    "score_sequences",
]
