"""Say what is in a dataset: a card in Markdown and a tidy table of histograms.

    dataset_card.py DATASET --out-card CARD.md --out-table CSV --mobile Li --neighbour S [O …]
                    [--level-of-theory TEXT] [--drawn TEXT]

Histograms (columns quantity, bin_left, bin_right, count): |V_zz| of the mobile element (abs_V_zz_au), force
components of all atoms (force_component_eV_per_A), and the distance of each mobile atom to the nearest atom of
each neighbour element (nearest_Li_S_A and so on).
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from insilico_nmr.dataset import efg, labelled, ms, read_dataset
from insilico_nmr.distances import nearest_distances
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path, sha256
from insilico_nmr.tensors import efg_principal

BINS = 40


def quantities(frames: list[Atoms], mobile: str, neighbours: list[str]) -> dict[str, np.ndarray]:
    """Samples of each quantity that the dataset has, by name."""
    samples = {}
    gradients = np.concatenate([efg(atoms)[atoms.symbols == mobile] for atoms in frames])
    gradients = gradients[labelled(gradients)]
    if len(gradients) > 0:
        samples["abs_V_zz_au"] = np.abs(efg_principal(gradients)[0][:, 2])
    forces = [atoms.calc.results["forces"].ravel() for atoms in frames if _has(atoms, "forces")]
    if forces:
        samples["force_component_eV_per_A"] = np.concatenate(forces)
    for neighbour in neighbours:
        found = np.concatenate([nearest_distances(atoms, mobile, neighbour) for atoms in frames])
        if len(found) == 0:
            raise InputError(f"no frame has both {mobile} and {neighbour}")
        samples[f"nearest_{mobile}_{neighbour}_A"] = found
    return samples


def _has(atoms: Atoms, name: str) -> bool:
    return atoms.calc is not None and name in atoms.calc.results


def histograms(samples: dict[str, np.ndarray]) -> pd.DataFrame:
    """Tidy histograms; every sample is in a bin."""
    parts = []
    for quantity, values in samples.items():
        counts, edges = np.histogram(values, bins=BINS)
        parts.append(
            pd.DataFrame({"quantity": quantity, "bin_left": edges[:-1], "bin_right": edges[1:], "count": counts})
        )
    return pd.concat(parts, ignore_index=True)


def counts_table(frames: list[Atoms], mobile: str) -> list[str]:
    """Markdown rows: frames and labels per material, phase, group and temperature."""
    rows: dict[tuple, Counter] = {}
    for atoms in frames:
        temperature = atoms.info.get("temperature", "")
        shown = f"{temperature:g}" if isinstance(temperature, (int, float, np.number)) else str(temperature)
        key = (*(str(atoms.info.get(name, "")) for name in ("material", "phase", "group")), shown)
        chosen = atoms.symbols == mobile
        rows.setdefault(key, Counter()).update(
            {
                "frames": 1,
                "energy": int(_has(atoms, "energy")),
                "forces": int(_has(atoms, "forces")),
                "efg": int(labelled(efg(atoms)[chosen]).sum()),
                "ms": int(labelled(ms(atoms)[chosen]).sum()),
            }
        )
    total = sum(rows.values(), Counter())
    names = ("frames", "energy", "forces", "efg", "ms")
    lines = [
        f"| material | phase | group | temperature (K) | frames | energies | force sets | {mobile} efg | {mobile} ms |",
        "|---|---|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [f"| {' | '.join(key)} | {' | '.join(str(rows[key][name]) for name in names)} |" for key in sorted(rows)]
    return [*lines, f"| all | | | | {' | '.join(str(total[name]) for name in names)} |"]


def stated(frames: list[Atoms], key: str) -> str:
    """What the frames say under a key of info, each distinct text once; empty where none says anything."""
    return "; ".join(sorted({str(atoms.info[key]) for atoms in frames if key in atoms.info}))


def card(args: argparse.Namespace, frames: list[Atoms], samples: dict[str, np.ndarray]) -> str:
    """The card in Markdown."""
    sizes = sorted({len(atoms) for atoms in frames})
    lines = [
        f"# Dataset {args.dataset.name}",
        "",
        f"- sha256: `{sha256(args.dataset)}`",
        f"- level of theory: {args.level_of_theory or stated(frames, 'level_of_theory') or 'not stated'}",
        f"- source: {stated(frames, 'source')}",
        f"- how drawn: {args.drawn or stated(frames, 'drawn') or 'not stated'}",
        f"- {len(frames)} frames of {', '.join(map(str, sizes))} atoms, "
        f"{len({str(atoms.info['group']) for atoms in frames})} groups (splits are by group)",
        "",
        *counts_table(frames, args.mobile),
        "",
        "| quantity | samples | mean | standard deviation | smallest | largest |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for quantity, values in samples.items():
        lines.append(
            f"| {quantity} | {len(values)} | {values.mean():.4g} | {values.std():.4g} "
            f"| {values.min():.4g} | {values.max():.4g} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the dataset, write card and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="labelled snapshots (extended XYZ)")
    parser.add_argument("--out-card", required=True, type=Path, help="card to write (Markdown)")
    parser.add_argument("--out-table", required=True, type=Path, help="histograms to write (CSV)")
    parser.add_argument("--mobile", required=True, metavar="ELEMENT", help="element whose tensors matter")
    parser.add_argument(
        "--neighbour", nargs="+", required=True, metavar="ELEMENT", help="elements whose nearest distance is shown"
    )
    parser.add_argument("--level-of-theory", help="text for the card; default: what the frames say")
    parser.add_argument("--drawn", help="how the snapshots were drawn; default: what the frames say")
    args = parser.parse_args()

    frames = read_dataset(args.dataset)
    samples = quantities(frames, args.mobile, args.neighbour)
    with atomic_path(args.out_card) as temporary_card, atomic_path(args.out_table) as temporary_table:
        temporary_card.write_text(card(args, frames, samples))
        histograms(samples).to_csv(temporary_table, index=False, float_format="%.8g")


if __name__ == "__main__":
    run_script(main)
