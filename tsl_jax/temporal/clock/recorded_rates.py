"""Learning rates between recorded rows, and before them."""

import numpy as np

#: A change between two rows is a jump when the changes before and after it are this many times smaller.
_LONE = 8.0
#: Rates along a warm-up may be off a straight line by this fraction, or by one update's: counts begin at 0 or 1.
_OFF = 0.05


def with_warmup(step: np.ndarray, rate: np.ndarray, length: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows from step 0 on, between which the rate is linear: those that were recorded, and what a warm-up adds.

    Raises:
        ValueError: see `schedule_from_records`.
    """
    first = int(step[0])
    if length is None:
        if first == 1:  # one update, whose rate is next to nothing of any sum
            return np.r_[0, step], np.r_[rate[0], rate]
        if first > 0:
            raise ValueError(
                f"warmup_steps: the rows begin at step {first} and do not say what came before; give the length of the "
                "linear warm-up from 0, or 0 if the first row's rate held from the start"
            )
        return step, rate
    if not 0 <= length == int(length):
        raise ValueError(f"warmup_steps: got {length}, expected a whole number of steps, 0 or above")
    length = int(length)
    if length == 0:
        return (step, rate) if first == 0 else (np.r_[0, step], np.r_[rate[0], rate])
    inside = (step > 0) & (step <= length)
    if inside.any():
        slope = _slope(step[inside], rate[inside], length)
        later = (step > length) | inside
        peak = [length][: int(not np.any(step == length) and length < step[-1])]
        steps, rates = np.r_[0, step[later], peak], np.r_[0.0, rate[later], [slope * length for _ in peak]]
        order = np.argsort(steps)
        return steps[order].astype(step.dtype), rates[order]
    later = step > length
    held = rate[later][0] if later.any() else rate[-1]
    return np.r_[0, length, step[later]].astype(step.dtype), np.r_[0.0, held, rate[later]]


def _slope(step, rate, length) -> float:
    """Rate by step of the last row inside a warm-up; the rows before it must lie on the same line from 0."""
    slope = rate[-1] / step[-1]
    off = np.abs(rate - slope * step) > np.maximum(_OFF * slope * step, 1.01 * slope)
    if off.any() or not slope > 0:
        row = int(np.argmax(off))
        raise ValueError(
            f"warmup_steps: got {length}, but the rates do not rise from 0 along a line up to there: {rate[row]:g} at "
            f"step {step[row]}, {rate[-1]:g} at step {step[-1]}; give the length of the linear warm-up alone, "
            "or leave it out where the rows begin at step 0"
        )
    return float(slope)


def rates_between(count: np.ndarray, step: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Rates at counts between rows: linear, but held up to the later row over lone jumps."""
    if len(step) == 1:
        return np.full(len(count), rate[0])
    change = np.abs(np.diff(rate))
    beside = np.maximum(np.r_[0.0, change[:-1]], np.r_[change[1:], 0.0])
    # With one neighbour (the first and last interval) nothing tells a jump from a slope that starts or ends.
    inner = (np.arange(len(change)) > 0) & (np.arange(len(change)) < len(change) - 1)
    jump = inner & (change > _LONE * beside)
    row = np.clip(np.searchsorted(step, count, side="right") - 1, 0, len(step) - 2)
    held = jump[row] & (count < step[row + 1])
    return np.where(held, rate[row], np.interp(count, step, rate))
