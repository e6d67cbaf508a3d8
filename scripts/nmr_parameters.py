"""What NMR reads from the tensors of a dataset, measured or predicted: one row per frame, atom and isotope.

    nmr_parameters.py DATASET --out CSV [--isotopes 7Li 31P …] [--reference PPM …]

Field gradients: C_Q = eQV_zz/h (signed), V_zz, η = (V_xx − V_yy)/V_zz with |V_zz| ≥ |V_yy| ≥ |V_xx|.
Shieldings: σ_iso, anisotropy σ_zz − (σ_xx + σ_yy)/2 in Haeberlen order, span = largest − smallest.
Euler angles: R_z(α)R_y(β)R_z(γ), active, principal axes as columns, in the frame of the stored cell.
A cell is empty where an atom has no such label; atoms without any label have no row. Frames count from 0.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from insilico_nmr.dataset import check_tensors, efg, labelled, ms, read_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path
from insilico_nmr.nuclei import TABLE, Nucleus, nucleus, quadrupolar_nucleus
from insilico_nmr.tensors import (
    anisotropy_and_span,
    asymmetry,
    efg_principal,
    euler_angles,
    shielding_principal,
    shift_ppm,
)


def efg_columns(tensors: np.ndarray, isotope: Nucleus) -> dict[str, np.ndarray]:
    """Scalars of field gradients, shape (n, 3, 3) in a.u., as columns of length n."""
    values, axes = efg_principal(tensors)
    angles = euler_angles(axes)
    return {
        "C_Q_kHz": isotope.coupling_per_au * values[:, 2] / 1e3,
        "eta": asymmetry(values),
        "V_zz_au": values[:, 2],
        "efg_alpha_deg": angles[:, 0],
        "efg_beta_deg": angles[:, 1],
        "efg_gamma_deg": angles[:, 2],
    }


def ms_columns(tensors: np.ndarray, reference_ppm: float | None) -> dict[str, np.ndarray]:
    """Scalars of shieldings, shape (n, 3, 3) in ppm, as columns of length n; a shift only with a reference."""
    iso, values, axes = shielding_principal(tensors)
    angles = euler_angles(axes)
    anisotropy, span = anisotropy_and_span(values)
    columns = {
        "sigma_iso_ppm": iso,
        "sigma_anisotropy_ppm": anisotropy,
        "sigma_span_ppm": span,
        "ms_alpha_deg": angles[:, 0],
        "ms_beta_deg": angles[:, 1],
        "ms_gamma_deg": angles[:, 2],
    }
    if reference_ppm is not None:
        columns["delta_iso_ppm"] = shift_ppm(iso, reference_ppm)
    return columns


def isotope_table(frames: list[Atoms], isotope: Nucleus, reference_ppm: float | None, origin: Path) -> pd.DataFrame:
    """Rows of one isotope. Raises InputError where its element is absent, or has no label that it could feel."""
    element = isotope.element
    rows = [(f, a) for f, atoms in enumerate(frames) for a in np.flatnonzero(atoms.symbols == element)]
    if not rows:
        raise InputError(f"{origin}: has no {element}, so nothing for {isotope.isotope}")
    index = np.array(rows)
    gradients = np.concatenate([efg(atoms)[atoms.symbols == element] for atoms in frames])
    shieldings = np.concatenate([ms(atoms)[atoms.symbols == element] for atoms in frames])
    with_efg, with_ms = labelled(gradients), labelled(shieldings)
    if not (with_efg.any() or with_ms.any()):
        raise InputError(f"{origin}: {element} has neither field gradients nor shieldings")
    if not with_ms.any():
        quadrupolar_nucleus(isotope.isotope)  # only field gradients: refuses an isotope that does not feel them
        if reference_ppm is not None:
            raise InputError(f"{origin}: a reference for {isotope.isotope}, but {element} has no shieldings")

    feels_efg = isotope.spin >= 1 and isotope.quadrupole_moment != 0
    table = pd.DataFrame({"frame": index[:, 0], "atom": index[:, 1], "element": element, "isotope": isotope.isotope})
    for key in ("material", "phase", "group"):
        table[key] = [frames[f].info.get(key, "") for f in index[:, 0]]
    kept = np.zeros(len(table), dtype=bool)
    for mask, columns in (
        (with_efg & feels_efg, lambda mask: efg_columns(gradients[mask], isotope)),
        (with_ms, lambda mask: ms_columns(shieldings[mask], reference_ppm)),
    ):
        if mask.any():
            table = table.join(pd.DataFrame(columns(mask), index=np.flatnonzero(mask)))
            kept |= mask
    return table[kept]


def felt_isotopes(frames: list[Atoms]) -> list[str]:
    """Isotopes of the nuclear table whose element has a label in these frames that the isotope feels."""
    found = []
    for name in pd.read_csv(TABLE)["isotope"]:
        isotope = nucleus(name)
        quadrupolar = isotope.spin >= 1
        for atoms in frames:
            chosen = atoms.symbols == isotope.element
            if labelled(ms(atoms)[chosen]).any() or (quadrupolar and labelled(efg(atoms)[chosen]).any()):
                found.append(name)
                break
    return found


def main() -> None:
    """Read the dataset, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="extended XYZ with efg and/or ms")
    parser.add_argument("--out", required=True, type=Path, help="table to write (CSV)")
    parser.add_argument(
        "--isotopes", nargs="+", metavar="ISOTOPE", help="such as 7Li 31P; default: all that feel a label there"
    )
    parser.add_argument(
        "--reference",
        nargs="+",
        type=float,
        metavar="PPM",
        help="shielding of the reference compound, one for each of --isotopes; prints delta_iso",
    )
    args = parser.parse_args()
    if args.reference and len(args.reference) != len(args.isotopes or []):
        raise InputError("--reference needs one shielding for each of --isotopes")

    frames = read_frames(args.dataset)
    check_tensors(frames, args.dataset)
    names = args.isotopes or felt_isotopes(frames)
    if not names:
        raise InputError(
            f"{args.dataset}: no atom has a field gradient or shielding that an isotope in {TABLE.name} feels"
        )
    references = args.reference or [None] * len(names)
    table = pd.concat(
        [
            isotope_table(frames, nucleus(name), reference, args.dataset)
            for name, reference in zip(names, references, strict=True)
        ]
    )
    with atomic_path(args.out) as temporary:
        table.sort_values(["frame", "atom"], kind="stable").to_csv(temporary, index=False, float_format="%.8g")
    print(f"{len(table)} rows ({', '.join(names)}) written to {args.out}", file=sys.stderr)


if __name__ == "__main__":
    run_script(main)
