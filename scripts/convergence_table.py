"""How the labels of one snapshot depend on cut-off and k points: differences from the tightest level of each series.

The files are one frame each, named <cut-off>eV_<k length>A.extxyz: a series of cut-offs at the k length --k-length, and
one of k lengths at the cut-off --cutoff-ev, which are those of the study.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from insilico_nmr.dataset import efg, read_dataset
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path


def level(path: Path) -> tuple[float, float]:
    """Cut-off (eV) and k length (Å) in a file's name."""
    cutoff, _, length = path.stem.partition("eV_")
    try:
        return float(cutoff), float(length.removesuffix("A"))
    except ValueError:
        raise InputError(f"{path}: expected a name such as 400eV_10A.extxyz") from None


def differences(atoms: Atoms, tightest: Atoms) -> dict[str, float]:
    """Energy per atom, root mean square over force components, and over the tensors of each element, relative to their
    own size."""
    row = {
        "energy_meV_per_atom": 1e3 * (atoms.get_potential_energy() - tightest.get_potential_energy()) / len(atoms),
        "force_rms_eV_per_A": float(np.sqrt(np.mean((atoms.get_forces() - tightest.get_forces()) ** 2))),
    }
    for element in sorted(set(atoms.symbols)):
        mine = atoms.symbols == element
        off = np.sqrt(np.mean((efg(atoms)[mine] - efg(tightest)[mine]) ** 2))
        row[f"efg_{element}_percent"] = float(100 * off / np.sqrt(np.mean(efg(tightest)[mine] ** 2)))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, nargs="+", help="one snapshot at several levels of theory, extended XYZ")
    parser.add_argument("--cutoff-ev", type=float, required=True, help="eV, at which k lengths are compared")
    parser.add_argument("--k-length", type=float, required=True, help="Å, at which cut-offs are compared")
    parser.add_argument("--out", type=Path, required=True, help="CSV")
    args = parser.parse_args()

    labelled = {level(path): read_dataset(path)[0] for path in args.frames}
    rows = []
    for series, chosen in (
        ("cut-off", [key for key in labelled if key[1] == args.k_length]),
        ("k points", [key for key in labelled if key[0] == args.cutoff_ev]),
    ):
        if len(chosen) < 2:
            raise InputError(f"{series}: {len(chosen)} levels; differences need two or more")
        for cutoff, length in sorted(chosen):
            found = differences(labelled[cutoff, length], labelled[max(chosen)])
            rows.append({"series": series, "cutoff_eV": cutoff, "k_length_A": length, **found})
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="%.4g"))
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.4g")


if __name__ == "__main__":
    run_script(main)
