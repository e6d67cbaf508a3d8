"""Types of command-line arguments whose errors name the flag."""

import argparse
import math


def positive(text: str) -> float:
    """A finite number above 0."""
    return _number(text, above=True)


def not_negative(text: str) -> float:
    """A finite number of 0 or above."""
    return _number(text, above=False)


def _number(text: str, above: bool) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and (value > 0 if above else value >= 0)):
        least = "above 0" if above else "of 0 or above"
        raise argparse.ArgumentTypeError(f"{text!r}; expected a finite number {least}")
    return value
