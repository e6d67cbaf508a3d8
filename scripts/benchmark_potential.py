"""Speed of the potentials: features of UF3 (beside the package uf3, where it is installed), and MD steps of both kinds.

UF3 has the sizes of the default study and is fitted to the snapshots; PaiNN has the sizes that are the defaults of the
configuration and untrained weights, so few steps. Atoms are as fast as at 600 K. The package is no dependency of the
study; `pip install --no-deps uf3==0.4.0 ndsplines scikit-learn tables plotly` gets it for comparison. Each core runs a
replica of its own, as the study's runs do; their speeds, by the clock, add up.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from ase import Atoms
from insilico_nmr.dataset import read_dataset
from insilico_nmr.engines import AseEngine, Engine, LammpsEngine
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import write_json
from insilico_nmr.networks import Architecture
from insilico_nmr.painn import PaiNNCalculator, PaiNNPotential
from insilico_nmr.uf3 import Basis, LeastSquares, Weights, features, write_lammps

SUPERCELLS = ((1, 2, 2), (2, 4, 4), (5, 8, 8))  # 128, 1024 and 10240 atoms, of a cell of 32


def seconds_of_package(atoms, basis: Basis) -> float | None:
    """CPU seconds that the package uf3 needs for the same features (without stress); None where it is absent."""
    try:
        import pandas as pd
        from uf3.data.composition import ChemicalSystem
        from uf3.representation.bspline import BSplineBasis
        from uf3.representation.process import BasisFeaturizer
    except ImportError:
        return None
    system = ChemicalSystem(list(basis.elements), degree=3)
    low, high = basis.trio_min, basis.trio_cutoff
    settings = BSplineBasis(
        system,
        r_min_map={p: basis.pair_min for p in system.interactions_map[2]}
        | {t: [low, low, low] for t in system.interactions_map[3]},
        r_max_map={p: basis.pair_cutoff for p in system.interactions_map[2]}
        | {t: [high, high, 2 * high] for t in system.interactions_map[3]},
        resolution_map={p: basis.pair_intervals for p in system.interactions_map[2]}
        | {t: [basis.leg_intervals, basis.leg_intervals, basis.side_intervals] for t in system.interactions_map[3]},
    )
    forces = atoms.get_forces().T
    row = {"geometry": atoms, "energy": atoms.get_potential_energy(), "fx": forces[0], "fy": forces[1], "fz": forces[2]}
    table = pd.DataFrame([row], index=["snapshot"])
    featuriser = BasisFeaturizer(settings)
    start = time.process_time()
    featuriser.evaluate(table, progress=None)
    return time.process_time() - start


def seconds_per_step(kind: str, atoms: Atoms, work: Path, steps: int) -> float:
    """Seconds by the clock of an MD step of one replica: `uf3` from the potential in `work`, or `painn`."""
    if kind == "uf3":
        engine: Engine = LammpsEngine(atoms, work, 1.0)
    else:
        engine = AseEngine(atoms, PaiNNCalculator(PaiNNPotential(Architecture(5.0, 32, 2, 16))), 1.0)
    with engine:
        engine.draw_velocities(600.0, 1)
        engine.run(1)
        start = time.perf_counter()
        engine.run(steps)
        return (time.perf_counter() - start) / steps


def report_speed(kind: str, atoms: Atoms, work: Path, steps: int, cores: int) -> None:
    """Print the time of an MD step, and what as many replicas as cores do in a day."""
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        runs = [pool.submit(seconds_per_step, kind, atoms, work, steps) for _ in range(cores)]
        times = np.array([run.result() for run in runs])
    per_day = 86400 / times * 2e-6  # ns, at 2 fs a step
    print(f"MD, {kind}, {len(atoms)} atoms: {times.mean() * 1e3:.2f} ms a step, {per_day.mean():.3g} ns a day, "
          f"{per_day.sum():.3g} on {cores} cores", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="labelled snapshots, for example resources/dft/li3ps4.extxyz")
    parser.add_argument("--work", type=Path, required=True, help="folder for the potential file of the MD timing")
    parser.add_argument("--cores", type=int, default=2, help="replicas of MD at once (default: %(default)s)")
    args = parser.parse_args()
    frames = read_dataset(args.dataset)
    atoms = max(frames, key=len)
    if atoms.calc is None:
        raise InputError(f"{args.dataset}: the largest frame has no forces")
    elements = tuple(sorted({symbol for frame in frames for symbol in frame.symbols}))
    basis = Basis(elements, 0.5, 8.0, 30, 1.2, 6.0, 6, 12)
    features(atoms, basis)  # compiles
    start = time.process_time()
    for _ in range(5):
        features(atoms, basis)
    own = (time.process_time() - start) / 5
    print(f"features with stress, {len(atoms)} atoms: {own:.3f} s")
    package = seconds_of_package(atoms, basis)
    if package is None:
        print("package uf3: not installed")
    else:
        print(f"package uf3, without stress: {package:.1f} s, ratio {package / own:.0f}")

    weights = Weights(energy=0.003, force=0.1, stress=0.002, ridge=0.5, curvature=0.5, wall=300.0, coverage=1.0)
    equations = LeastSquares(frames, basis, weights)
    write_lammps(args.work / "member_0.uf3", basis, equations.solve(equations.groups))
    write_json(args.work / "config.json", {"kind": "uf3", "elements": list(elements)})
    cell = atoms.copy()
    cell.set_cell(np.diag(cell.cell.lengths()), scale_atoms=True)
    for repeat in SUPERCELLS:
        large = cell.repeat(repeat)
        steps = 256000 // len(large)
        report_speed("uf3", large, args.work, steps, args.cores)
        report_speed("painn", large, args.work, steps // 20, args.cores)


if __name__ == "__main__":
    run_script(main)
