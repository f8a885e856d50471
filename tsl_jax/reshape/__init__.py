"""From learning times to sampling weights: which sequences hold what is learned in a window of training."""

from .another_run import EventDensity, Repeats, another_run_probability
from .buckets import bucket_of, bucket_weights, effective_sample_size
from .curriculum import Curriculum, CurriculumPlan
from .next_window import next_window_probability
from .predicted import ScorePredictor
from .reliability import Reliability, reliability_of, shrunken, spearman_brown
from .sampling import Sampler, weighted_permutation
from .scores import (
    SequenceScores,
    check_window,
    event_probability,
    merge_scores,
    score_sequences,
)
from .text_features import TEXT_FEATURES, TextCounts

__all__ = [
    "TEXT_FEATURES",
    "Curriculum",
    "CurriculumPlan",
    "EventDensity",
    "Reliability",
    "Repeats",
    "Sampler",
    "ScorePredictor",
    "SequenceScores",
    "TextCounts",
    "another_run_probability",
    "bucket_of",
    "bucket_weights",
    "check_window",
    "effective_sample_size",
    "event_probability",
    "merge_scores",
    "next_window_probability",
    "reliability_of",
    "score_sequences",
    "shrunken",
    "spearman_brown",
    "weighted_permutation",
]
