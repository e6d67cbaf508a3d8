"""Errors that a user can act on, and the one place where a script turns them into a message."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """An input that cannot be trusted. The message names the file, key or atom and says what was expected."""


@contextmanager
def naming(subject: object) -> Iterator[None]:
    """Let an InputError begin with what it is about, such as one file of many."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{subject}: {error}") from None


def run_script(main: Callable[[], None]) -> None:
    """Run the `main` of a command-line program; an InputError, or a file that the system refuses (missing, a folder,
    no permission, no room), becomes one line on stderr and exit code 2."""
    try:
        main()
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
