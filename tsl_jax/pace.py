"""Rate of a job and time that is left, in words."""


class Pace:
    """Rate and time left, from how much was done when.

    The first report comes before compilation and the second after the first block, so the rate counts from
    the second on, and there is none before the third.
    """

    def __init__(self) -> None:
        self._start: list[tuple[float, int]] = []
        self._last = (0.0, 0)

    def add(self, now: float, done: int) -> None:
        """Note that ``done`` tokens were done at ``now`` (seconds)."""
        self._start = [*self._start, (now, done)][:2]
        self._last = (now, done)

    @property
    def started(self) -> bool:
        """Whether compilation is over: a block is done."""
        return len(self._start) > 1

    @property
    def rate(self) -> float | None:
        """Tokens per second, None before anything can be said."""
        if not self.started:
            return None
        (start, first), (now, done) = self._start[1], self._last
        return (done - first) / (now - start) if now > start and done > first else None

    def words(self, total: int) -> str:
        """``"15,360 of 25,600 tokens (60%), 9,968 fits/s, 1 s left"``, or that it still compiles."""
        done = self._last[1]
        fraction = 100 * done // total if total else 100
        words = f"{done:,} of {total:,} tokens ({fraction}%)"
        if self.rate and done < total:
            words += f", {self.rate:,.0f} fits/s, {duration((total - done) / self.rate)} left"
        return words if self.started or done >= total else f"{words}, compiling"


def duration(seconds: float) -> str:
    """``"42 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
