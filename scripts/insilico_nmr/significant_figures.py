"""Numbers as text: how many digits a printed number holds, and numbers cut to as many."""

import re


def significant_digits(text: str) -> int:
    """Digits that a number as printed holds: 3 for "0.240" and "2.40e-4", 1 for "9e-14"."""
    digits = re.sub(r"[eE].*", "", text).replace(".", "").lstrip("+-").lstrip("0")
    return max(1, len(digits))


def last_digit(text: str) -> float:
    """Worth of one unit in the last digit of a number as printed: 0.01 for "0.24", 1e-14 for "9e-14"."""
    mantissa, _, exponent = text.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def shown(value: float, digits: int) -> str:
    """A number with `digits` significant digits, zeros at the end kept; powers of ten outside 0.001 to 9999."""
    if value == 0:
        return "0"
    text = f"{value:.{digits - 1}e}"
    exponent = int(text.partition("e")[2])
    if -4 < exponent < 4 and digits - 1 - exponent >= 0:
        return f"{float(text):.{digits - 1 - exponent}f}"
    mantissa, _, _ = text.partition("e")
    return f"{mantissa}e{exponent}"


def plain(ratio: float) -> str:
    """A ratio in two digits, without powers of ten from 0.001 to a million: "1.0", "420", "84000"."""
    return shown(ratio, 2) if ratio < 10 or ratio >= 1e6 else f"{float(f'{ratio:.1e}'):.0f}"
