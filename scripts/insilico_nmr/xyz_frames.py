"""Frames of an extended XYZ file, counted without reading them. Standard library only: planning a study does it."""

from pathlib import Path

from insilico_nmr.errors import InputError


def count_frames(path: str | Path) -> int:
    """Number of frames, 0 of an empty file. Raises InputError for a file that ends inside a frame: ASE would drop or
    misread its last lines without a word."""
    try:
        lines = Path(path).read_text().split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file, expected extended XYZ") from None
    if not any(line.strip() for line in lines):
        return 0
    if lines.pop() != "":
        raise InputError(f"{path}: truncated, the last line has no end")
    while lines and not lines[-1].strip():
        lines.pop()
    position, frame = 0, 0
    while position < len(lines):
        count = lines[position].strip()
        if not count.isdigit() or int(count) == 0:
            raise InputError(
                f"{path}, line {position + 1}: expected the number of atoms of frame {frame}, found {count!r}"
            )
        position += 2 + int(count)
        if position > len(lines):
            raise InputError(f"{path}: truncated, frame {frame} should have {count} atoms")
        frame += 1
    return frame
