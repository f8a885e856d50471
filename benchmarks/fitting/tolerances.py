"""The one table of tolerances, shared by tests and benchmarks."""

#: A curve is solved when its rss is at most this multiple of the best known (plus the rounding floor).
SOLVED_RATIO = 1.01

#: Fraction of curves that must be solved over all noise levels, checkpoint counts and spacings.
SOLVED_FRACTION = 0.999

#: Units of rounding (eps of the input's precision) by which a loss or a checkpoint's coordinate may be off.
ROUNDING_UNITS = 4

#: Two oracles that find the same minimum agree on its rss to this fraction.
ORACLE_AGREEMENT = 1e-4

#: Least p value of a test of a true hypothesis with a fixed seed (a wrong one gives far less).
P_VALUE = 1e-3
