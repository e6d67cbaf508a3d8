"""A small glass for labelling: pack and melt a structure's atoms at the glass's density, quench them, draw frames.

Atoms start at random places of a cubic cell, host units whole and turned at random, and run hot for a while, so that
no crystal is remembered without the heat that would break units of a potential that never saw them broken.
The quench goes down in steps of constant temperature. Frames come from runs at each of the --draw temperatures, after
the quench, rising; host units must be whole there. Small and quenched at 1e13 K/s or more, such a cell is a
sample of disordered environments, not a model of the glass's structure.
"""

import argparse
import shutil
import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from insilico_nmr.dataset import write_frames
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import keep_state_of, sha256
from insilico_nmr.md import Run, relax, run_md
from insilico_nmr.md_checks import HostUnit, units_whole
from insilico_nmr.potential import member_file
from matscipy.neighbours import neighbour_list
from scipy.spatial.transform import Rotation

# Atoms of host units from those of others, single atoms from all: above the shortest contacts of the crystals that
# melts start from, so that the first steps of MD do not blow up. The melt forgets it.
APART_A = {True: 3.0, False: 2.0}
TRIALS, ATTEMPTS = 2000, 500
INTERVAL_FS = 100.0  # between looks at the run, which tell a potential that blows up
GRAM_PER_CM3 = 1e24 * units._amu * 1e3  # of one atomic mass unit per Å³


def packed(atoms: Atoms, unit: HostUnit | None, side_A: float, seed: int) -> Atoms:
    """The same atoms at random in a cubic cell: whole host units first, APART_A from one another, then single atoms.

    Raises InputError where they find no room in ATTEMPTS packings.
    """
    rng = np.random.default_rng(seed)
    groups = host_units(atoms, unit) if unit is not None else []
    inside = {index for group in groups for index in group}
    groups += [[index] for index in range(len(atoms)) if index not in inside]
    for _ in range(ATTEMPTS):
        places = np.full((len(atoms), 3), np.nan)
        for group in groups:
            shape = atoms.get_distances(group[0], group, mic=True, vector=True)
            room = APART_A[len(group) > 1]
            turns = Rotation.random(TRIALS, random_state=rng.integers(2**31)).as_matrix()
            trials = shape @ turns.transpose(0, 2, 1) + rng.uniform(0, side_A, (TRIALS, 1, 3))
            apart = trials[:, :, None] - places[~np.isnan(places[:, 0])]
            apart -= side_A * np.round(apart / side_A)
            fits = ((apart**2).sum(axis=-1) > room**2).all(axis=(1, 2))
            if not fits.any():
                break
            places[group] = trials[fits.argmax()]
        if np.isfinite(places).all():
            return Atoms(atoms.symbols, places, cell=[side_A] * 3, pbc=True)
    raise InputError(f"{len(atoms)} atoms find no room in a cube of {side_A:.2f} Å: lower the density")


def host_units(atoms: Atoms, unit: HostUnit) -> list[list[int]]:
    """Indices of each unit, the centre first. Raises InputError where one is not whole."""
    if not units_whole(atoms, unit):
        raise InputError(f"the starting structure has {unit.centre} without {unit.number} {unit.ligand}")
    first, second = neighbour_list("ij", atoms, unit.cutoff)
    bonded = atoms.symbols[second] == unit.ligand
    return [
        [int(centre), *map(int, second[(first == centre) & bonded])]
        for centre in np.flatnonzero(atoms.symbols == unit.centre)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structure", type=Path, help="the atoms, host units whole")
    parser.add_argument("--potential", type=Path, required=True, help="folder of the potential")
    parser.add_argument("--density", type=float, required=True, help="g/cm³")
    parser.add_argument("--melt", type=float, nargs=2, required=True, metavar=("T", "PS"), help="K, and how long")
    parser.add_argument(
        "--step", type=float, nargs=2, required=True, metavar=("T", "PS"), help="of the quench, K and ps"
    )
    parser.add_argument("--draw", type=float, nargs="+", required=True, metavar="T", help="K, where frames are drawn")
    parser.add_argument("--frames", type=int, required=True, help="frames at each of these temperatures")
    parser.add_argument("--spacing-ps", type=float, required=True, help="between frames, and before the first")
    parser.add_argument("--timestep-fs", type=float, default=2.0, help="(default: %(default)s)")
    parser.add_argument("--damping-ps", type=float, default=0.3, help="of the thermostat (default: %(default)s)")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--host-unit", nargs=4, metavar=("CENTRE", "LIGAND", "NUMBER", "CUTOFF_A"))
    parser.add_argument("--material", required=True)
    parser.add_argument("--group", required=True, help="one glass is one group")
    parser.add_argument("--resume", type=Path, required=True, help="folder with the state for going on")
    parser.add_argument("--out", type=Path, required=True, help="frames to label, extended XYZ")
    args = parser.parse_args()

    keep_state_of(args.resume, __file__, vars(args), sha256(args.structure), sha256(member_file(args.potential)))
    unit = HostUnit.parse(args.host_unit) if args.host_unit else None
    crystal = ase.io.read(args.structure)
    side_A = (crystal.get_masses().sum() * GRAM_PER_CM3 / args.density) ** (1 / 3)
    start = packed(crystal, unit, side_A, args.seed)
    coldest = min(args.draw)
    ladder = np.arange(args.melt[0] - args.step[0], coldest, -args.step[0])
    stages = [(args.melt[0], args.melt[1]), *((float(temperature), args.step[1]) for temperature in ladder)]
    stages += [(temperature, args.frames * args.spacing_ps) for temperature in sorted(args.draw)]

    atoms, frames = relax(start, args.potential), []
    for number, (temperature, length_ps) in enumerate(stages):
        drawing = number >= len(stages) - len(args.draw)
        run = Run(temperature, 0.0, length_ps, args.timestep_fs, INTERVAL_FS, args.damping_ps, args.seed + number)
        trajectory = run_md(atoms, args.potential, run, args.resume / f"stage_{number:03d}")
        atoms = trajectory.frame(-1)
        if drawing and unit is not None and not units_whole(atoms, unit):
            raise InputError(f"{args.structure}: the run at {temperature:g} K broke a {unit.centre}{unit.ligand} unit")
        stride = round(args.spacing_ps * 1e3 / INTERVAL_FS)
        for index in range(stride - 1, len(trajectory.positions), stride) if drawing else ():
            frame = trajectory.frame(index)
            frame.wrap()
            frame.info.update(material=args.material, phase="glass", group=args.group, temperature=temperature)
            frame.info.update(frame=len(frames), source="melt and quench, not labelled")
            frames.append(frame)
    write_frames(args.out, frames)
    print(f"{len(frames)} frames of {len(atoms)} atoms at {args.density:g} g/cm³", file=sys.stderr)
    shutil.rmtree(args.resume, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)
