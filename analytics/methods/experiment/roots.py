"""Where a function of one number crosses zero."""

from collections.abc import Callable

TOLERANCE = 1e-13


def root(f: Callable[[float], float], a: float, b: float) -> float:
    """A zero of `f` between `a` and `b`, by halving to thirteen digits.

    The signs at the ends must differ (a zero at an end is returned).
    """
    fa, fb = f(a), f(b)
    if fa == 0 or fb == 0:
        return a if fa == 0 else b
    if (fa > 0) == (fb > 0):
        raise ValueError(f"no sign change between {a} and {b}")
    middle = (a + b) / 2
    while abs(b - a) > TOLERANCE * max(1e-3, abs(middle)):
        if (f(middle) > 0) == (fa > 0):
            a = middle
        else:
            b = middle
        middle = (a + b) / 2
    return middle
