"""Is the interatomic potential sane? Its equation of state, errors, drift and distances beside those of DFT.

Equation of state: energies of isotropically strained cells with their atoms at rest in DFT (strain_cells.py, labelled
with --relax) and, from there, on every member of the committee.

Tables:
  eos                the points, source `dft` or `member <n>`; energies over the fitted minimum, or over the lowest
                     where a member has none; pressures are those of the stresses
  potential_metrics  a quantity a row: DFT, the member that knows all groups (0), standard deviation over the committee,
                     widened for so few.
                     "pressure of stresses less slope of energies" is not zero in DFT with plane waves up to a fixed
                     energy, as their number grows with the cell (Francis and Payne, J. Phys. Condens. Matter 2, 4395,
                     1990)
  distances          histograms of distances to the nearest neighbour, in MD by temperature and in labelled snapshots
  distance_means     their means and ranges, and those in the cell of lowest energy at rest, in DFT and on member 0: one
                     quantity twice. The snapshots are what the potential learnt from, and `beyond_labelled` is the part
                     of MD's distances that is outside their range
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from ase.optimize import LBFGS
from insilico_nmr.dataset import read_dataset
from insilico_nmr.distances import element_pairs, nearest_distances
from insilico_nmr.equation_of_state import GPA, EquationOfState, fit_equation_of_state
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.few_values import error_of_members
from insilico_nmr.files import atomic_path, read_json
from insilico_nmr.potential import calculator, load_members
from insilico_nmr.strained_cells import pressure_GPa, read_strained_cells
from insilico_nmr.trajectory import read_trajectory

RELAXED = 0.005  # eV/Å, to which a member relaxes a cell
STEPS = 500
FRAMES = 100  # of a run, at most
BIN_A = 0.04
ERRORS = {  # key in the potential's config.json: name, unit, factor
    "energy_rmse_eV_per_atom": ("energy error, groups never seen", "meV/atom", 1e3),
    "force_rmse_eV_per_A": ("force error, groups never seen", "eV/A", 1),
    "stress_rmse_eV_per_A3": ("stress error, groups never seen", "GPa", 1 / GPA),
}


def at_rest(atoms: Atoms, potential: Path, member: int) -> Atoms:
    """The same cell with its atoms at rest on one member; stderr says where they come to none."""
    copy = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    copy.calc = calculator(potential, set(copy.symbols), member)
    if not LBFGS(copy, logfile=None).run(fmax=RELAXED, steps=STEPS):
        print(f"member {member}: not at rest in a cell of {atoms.get_volume():.1f} Å³", file=sys.stderr)
    return copy


def points(cells: list[Atoms], source: str) -> tuple[pd.DataFrame, EquationOfState | None]:
    """Table of one source's cells and its fit; None, as stderr says, where there is none."""
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in cells])
    energies = np.array([atoms.get_potential_energy() / len(atoms) for atoms in cells])
    try:
        fit = fit_equation_of_state(volumes, energies, source)
    except InputError as error:
        print(error, file=sys.stderr)
        fit = None
    lowest = fit.energy_eV(fit.volume_A3) if fit else energies.min()
    table = pd.DataFrame(
        {
            "source": source,
            "volume_A3_per_atom": volumes,
            "energy_eV_per_atom": energies - lowest,
            "pressure_GPa": [pressure_GPa(atoms) for atoms in cells],
        }
    )
    return table, fit


def measures(table: pd.DataFrame, fit: EquationOfState | None) -> list[float]:
    """Volume and bulk modulus at the minimum, and mean pressure of the stresses less that of the energies."""
    if fit is None:
        return [np.nan] * 3
    offset = table["pressure_GPa"] - fit.pressure_GPa(table["volume_A3_per_atom"])
    return [fit.volume_A3, fit.bulk_modulus_GPa, offset.mean()]


def metrics(
    dft: tuple[pd.DataFrame, EquationOfState], members: list[tuple], errors: dict[str, float], checks: list[Path]
) -> pd.DataFrame:
    """The table potential_metrics; `dft` and `members` are what `points` gives."""
    found = np.array([measures(*each) for each in members])
    spread = np.broadcast_to(error_of_members(found), 3)
    names = [("volume at the minimum", "A^3/atom"), ("bulk modulus at the minimum", "GPa")]
    names.append(("pressure of stresses less slope of energies", "GPa"))
    rows = [[*name, *values] for name, *values in zip(names, measures(*dft), found[0], spread, strict=True)]
    # Energies of the two have different zeros.
    misses = [(table["energy_eV_per_atom"] - dft[0]["energy_eV_per_atom"]).std(ddof=0) for table, _ in members]
    rows.append(["energy error over the cells, up to a constant", "meV/atom", np.nan, 1e3 * misses[0], np.nan])
    for key, (name, unit, factor) in ERRORS.items():
        if key in errors:
            rows.append([name, unit, np.nan, factor * errors[key], np.nan])
    drifts = [read_json(path)["nve_drift_meV_per_atom_ps"] for path in checks]
    rows.append(["largest drift of the energy without thermostat", "meV/atom/ps", np.nan, max(drifts, key=abs), np.nan])
    return pd.DataFrame(rows, columns=["quantity", "unit", "dft", "potential", "members_sd"])


def distance_tables(
    samples: dict[tuple[str, float], list[Atoms]], pairs: list[tuple[str, str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Histograms and means of the frames of each source and temperature; histograms of a pair share their bins."""
    histograms, means = [], []
    for centre, neighbour in pairs:
        found = {
            key: np.concatenate([nearest_distances(atoms, centre, neighbour) for atoms in frames])
            for key, frames in samples.items()
        }
        learnt = found["labelled", 0.0]
        edges = BIN_A * np.arange(
            np.floor(min(values.min() for values in found.values()) / BIN_A),
            np.ceil(max(values.max() for values in found.values()) / BIN_A) + 1.5,
        )
        for (source, temperature), values in found.items():
            row = {"centre": centre, "neighbour": neighbour, "source": source}
            row["temperature_K"] = temperature if source == "md" else np.nan
            outside = np.mean((values < learnt.min()) | (values > learnt.max())) if source == "md" else np.nan
            means.append(
                row
                | {"mean_A": values.mean(), "shortest_A": values.min(), "longest_A": values.max()}
                | {"beyond_labelled": outside}
            )
            if source in ("md", "labelled"):
                density = np.histogram(values, edges, density=True)[0]
                bins = {"bin_left_A": edges[:-1], "bin_right_A": edges[1:], "density_per_A": density}
                histograms.append(pd.DataFrame(row | bins))
    return pd.concat(histograms), pd.DataFrame(means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potential", type=Path, help="folder of the potential")
    parser.add_argument("--eos", type=Path, required=True, help="labelled strained cells, extended XYZ")
    parser.add_argument("--dataset", type=Path, required=True, help="snapshots that it learnt from, extended XYZ")
    parser.add_argument("--mobile", required=True, help="element of the mobile ions")
    parser.add_argument(
        "--trajectories", type=Path, nargs="+", required=True, help="MD runs on members of the potential, HDF5"
    )
    parser.add_argument("--checks", type=Path, nargs="+", required=True, help="their checks by run_md.py, JSON")
    for name in ("eos", "metrics", "distances", "means"):
        parser.add_argument(f"--out-{name}", type=Path, required=True, help="CSV")
    args = parser.parse_args()

    cells = read_strained_cells(args.eos)
    rest = [[at_rest(a, args.potential, member) for a in cells] for member in range(load_members(args.potential))]
    dft = points(cells, "dft")
    if dft[1] is None:
        raise InputError(f"{args.eos}: no equation of state of DFT to compare with")
    members = [points(found, f"member {number}") for number, found in enumerate(rest)]
    errors = read_json(args.potential / "config.json")["errors"] or {}

    lowest = int(np.argmin([atoms.get_potential_energy() for atoms in cells]))
    samples = {("labelled", 0.0): read_dataset(args.dataset), ("dft_at_rest", 0.0): [cells[lowest]]}
    samples["potential_at_rest", 0.0] = [rest[0][lowest]]
    for path in args.trajectories:
        run = read_trajectory(path)
        every = -(-len(run.time_ps) // FRAMES)
        frames = [run.frame(index) for index in range(0, len(run.time_ps), every)]
        samples.setdefault(("md", run.target_temperature_K), []).extend(frames)
    histograms, means = distance_tables(samples, element_pairs(cells[0].symbols, args.mobile))

    tables = {
        args.out_eos: pd.concat([table for table, _ in (dft, *members)]),
        args.out_metrics: metrics(dft, members, errors, args.checks),
        args.out_distances: histograms,
        args.out_means: means,
    }
    for path, table in tables.items():
        with atomic_path(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
