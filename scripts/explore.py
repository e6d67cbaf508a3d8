"""Short molecular dynamics of one structure, to draw candidates for labelling: sound frames up to where a run breaks.

Unlike run_md.py this does not end with an error where the potential blows up or host units break: a potential that is
still learning does so, and the frames before are what it should learn from.
"""

import argparse
import shutil
import sys
from pathlib import Path

import ase.io
from insilico_nmr.dataset import CLOSEST_DISTANCE
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import keep_state_of, sha256
from insilico_nmr.md import Run, relax, run_md
from insilico_nmr.md_checks import HostUnit, host_unit_of, units_whole
from insilico_nmr.potential import member_file
from insilico_nmr.trajectory import Trajectory, write_trajectory
from matscipy.neighbours import neighbour_list


def sound_frames(trajectory: Trajectory, unit: HostUnit | None) -> int:
    """Number of frames before the first with atoms closer than CLOSEST_DISTANCE, or a broken host unit."""
    for number in range(len(trajectory.positions)):
        atoms = trajectory.frame(number)
        if len(neighbour_list("i", atoms, CLOSEST_DISTANCE)):
            return number
        if unit is not None and not units_whole(atoms, unit):
            return number
    return len(trajectory.positions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structure", type=Path, help="starting structure")
    parser.add_argument("--potential", type=Path, required=True, help="folder of the potential")
    parser.add_argument("--temperature", type=float, required=True, help="K")
    parser.add_argument("--length-ps", type=float, required=True)
    parser.add_argument("--interval-fs", type=float, required=True, help="between candidates")
    parser.add_argument("--timestep-fs", type=float, required=True)
    parser.add_argument("--damping-ps", type=float, required=True, help="of the Langevin thermostat")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--host-unit", nargs=4, metavar=("CENTRE", "LIGAND", "NUMBER", "CUTOFF_A"))
    parser.add_argument("--resume", type=Path, required=True, help="folder with the state for going on")
    parser.add_argument("--out", type=Path, required=True, help="trajectory, HDF5")
    args = parser.parse_args()

    run = Run(args.temperature, 0.0, args.length_ps, args.timestep_fs, args.interval_fs, args.damping_ps, args.seed)
    structure = ase.io.read(args.structure)
    unit = host_unit_of(args.host_unit, structure, args.structure)
    keep_state_of(args.resume, __file__, run, sha256(args.structure), sha256(member_file(args.potential)))
    start = relax(structure, args.potential)
    trajectory = run_md(start, args.potential, run, args.resume, chunk_ps=5 * args.interval_fs * 1e-3, partial=True)
    whole = len(trajectory.positions)
    sound = sound_frames(trajectory, unit)
    if sound == 0:
        raise InputError(f"{args.structure}: not one sound frame at {args.temperature:g} K")
    print(f"{sound} of {round(args.length_ps * 1e3 / args.interval_fs)} frames are sound ({whole} were run)",
          file=sys.stderr)  # fmt: skip
    write_trajectory(args.out, trajectory.part(slice(sound)))
    shutil.rmtree(args.resume, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)
