"""Take labelled snapshots into a dataset, and refuse what cannot be trusted.

    ingest.py FILE… --out DATASET [--registry resources/registry.csv --require-checksum]
              [--material NAME --phase NAME --group NAME --source TEXT --level-of-theory TEXT]
              [--structure PW_OUTPUT] [--allow-mixed-levels]

Reads extended XYZ (see insilico_nmr.dataset for units and columns; our GPAW labelling writes it too), .magres files
of CASTEP and QE-GIPAW, VASP OUTCAR, and the text output of ABINIT and of gipaw.x: field gradients, shieldings, and
energy, forces and stress where they stand there. What a file is, its content tells. Code outputs bring their level
of theory (code, functional, cut-off, pseudopotentials, k points) and the checksum of the file; frames of two levels
of theory do not go into one dataset unless allowed. Writes one extended XYZ file, whole or not at all.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from insilico_nmr.dataset import (
    TENSORS,
    UNITS,
    check_frames,
    check_one_level,
    check_units,
    efg,
    label_names,
    labelled,
    near_copies,
    structure_key,
    tensors_of,
    write_dataset,
)
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.readers.detect import read_output
from insilico_nmr.registry import check_registered, read_registry

NEAR_COPY_A = 0.05  # rms; at 100 K two snapshots of one crystal are three times as far apart
UNLIKELY_RATIO = 20  # of field gradients of one element, between groups of snapshots


def registered_units(text: str) -> dict[str, str]:
    """Quantities and units of a registry's units column, "energy eV; efg au"."""
    return {part.split()[0]: " ".join(part.split()[1:]) for part in text.split(";") if part.strip()}


def fill_info(frames: list[Atoms], stated: dict[str, str | None], origin: str | Path) -> None:
    """Set what the frames do not say themselves; InputError where a frame says otherwise."""
    for number, atoms in enumerate(frames):
        for key, value in stated.items():
            if value is None:
                continue
            if str(atoms.info.get(key, value)) != value:
                raise InputError(f"{origin}, frame {number}: {key} is {atoms.info[key]!r}, but {value!r} was given")
            atoms.info[key] = value


def joined(frames: list[Atoms], names: list[str]) -> list[Atoms]:
    """Frames with the labels of one structure put together, such as field gradients and shieldings of two outputs.

    Raises InputError naming both where a structure has a label twice.
    """
    first: dict[tuple, int] = {}
    kept = []
    for number, atoms in enumerate(frames):
        structure = structure_key(atoms)
        if structure not in first:
            first[structure] = number
            kept.append(atoms)
            continue
        other, name_of_other = frames[first[structure]], names[first[structure]]
        tensors = [name for name in label_names(atoms) if name in TENSORS]
        both = sorted(set(tensors) & set(label_names(other)))
        if both or not tensors:
            what = ", ".join(both) or "no other tensor"
            raise InputError(f"{names[number]}: a duplicate of {name_of_other} (same atoms and cell, {what})")
        for key in ("material", "phase", "group", "charge"):
            if atoms.info.get(key) != other.info.get(key):
                raise InputError(
                    f"{names[number]}: {key} is {atoms.info.get(key)}, but {name_of_other}, the same structure, "
                    f"has {other.info.get(key)}"
                )
        for name in tensors:
            other.arrays[name] = atoms.arrays[name]
        other.calc = other.calc or atoms.calc
        hashes = [str(a.info["output_sha256"]) for a in (other, atoms) if "output_sha256" in a.info]
        if hashes:
            other.info["output_sha256"] = " ".join(hashes)
        print(f"{names[number]}: its {', '.join(tensors)} joined to {name_of_other}", file=sys.stderr)
    return kept


def warn_of_units(frames: list[Atoms], origins: list[Path]) -> None:
    """Say where one element's field gradients are so much larger in one group than in another that a unit may be wrong.

    1 a.u. is 97 V/Å²; environments of one element seldom differ by UNLIKELY_RATIO.
    """
    sizes: dict[str, dict[str, list[float]]] = {}
    for atoms, origin in zip(frames, origins, strict=True):
        place = f"group {atoms.info['group']} of {origin}"
        for symbol, tensor in zip(atoms.symbols, efg(atoms), strict=True):
            if np.isfinite(tensor).all():
                sizes.setdefault(symbol, {}).setdefault(place, []).append(np.linalg.norm(tensor))
    for element, of_element in sizes.items():
        means = {place: np.mean(values) for place, values in of_element.items()}
        small, large = min(means, key=means.get), max(means, key=means.get)
        if means[large] > UNLIKELY_RATIO * means[small] > 0:
            print(
                f"warning: field gradients of {element} are {means[large] / means[small]:.0f} times larger in {large} "
                f"than in {small}; are both in {UNITS['efg']}?",
                file=sys.stderr,
            )


def warn_of_near_copies(frames: list[Atoms], names: list[str]) -> None:
    """Say where frames of two groups are all but the same, so that one held out is known from the other."""
    for distance, *pair in near_copies(frames, NEAR_COPY_A).values():
        first, second = (f"{names[number]} (group {frames[number].info['group']})" for number in pair)
        print(
            f"warning: {first} and {second} are {distance:.2g} Å (rms) apart; where one group is held out, the other "
            "tells of it: put them in one",
            file=sys.stderr,
        )


def summary(frames: list[Atoms]) -> str:
    """How many atoms of each element have each tensor."""
    parts = []
    for name in TENSORS:
        counts = []
        for element in sorted({symbol for atoms in frames for symbol in atoms.symbols}):
            known = np.concatenate([labelled(tensors_of(atoms, name))[atoms.symbols == element] for atoms in frames])
            counts.append(f"{known.sum()} of {len(known)} {element}")
        parts.append(f"{name} of {', '.join(counts)}")
    return "; ".join(parts)


def main() -> None:
    """Read, check and join the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="extended XYZ, or a code's output")
    parser.add_argument("--out", required=True, type=Path, help="dataset to write (extended XYZ)")
    parser.add_argument("--registry", type=Path, help="registry with checksums; files that it lists are checked")
    parser.add_argument("--require-checksum", action="store_true", help="refuse a file that the registry does not list")
    parser.add_argument("--material", help="material of frames that do not say theirs")
    parser.add_argument("--phase", help="phase of frames that do not say theirs")
    parser.add_argument("--group", help="group of frames that do not say theirs: one trajectory or parent structure")
    parser.add_argument("--source", help="source of frames that do not say theirs")
    parser.add_argument("--level-of-theory", help="level of theory of frames that do not say theirs")
    parser.add_argument(
        "--structure",
        type=Path,
        metavar="PW_OUTPUT",
        help="pw.x output beneath a gipaw.x text output, which has no cell",
    )
    parser.add_argument("--allow-mixed-levels", action="store_true", help="join frames of different levels of theory")
    args = parser.parse_args()
    if args.require_checksum and args.registry is None:
        raise InputError("--require-checksum needs --registry")

    listed = read_registry(args.registry) if args.registry else {}
    stated = {key: getattr(args, key) for key in ("material", "phase", "group", "source", "level_of_theory")}
    frames, names, origins = [], [], []
    for path in args.files:
        if args.require_checksum or path.resolve() in listed:
            row = check_registered(path, args.registry)
            check_units(registered_units(row["units"]), f"{args.registry}, {row['path']}")
        found = read_output(path, args.structure)
        fill_info(found, stated, path)
        check_frames(found, path)  # so that a message names the file and its own frame
        frames += found
        names += [f"{path}, frame {number}" for number in range(len(found))]
        origins += [path] * len(found)
    if not args.allow_mixed_levels:
        check_one_level(frames, "all files" if len(args.files) > 1 else args.files[0], names)
    warn_of_units(frames, origins)
    warn_of_near_copies(frames, names)
    frames = joined(frames, names)
    write_dataset(args.out, frames)
    print(
        f"{len(frames)} frames, {sum(map(len, frames))} atoms written to {args.out}: {summary(frames)}", file=sys.stderr
    )


if __name__ == "__main__":
    run_script(main)
