"""Frames of a molecular-dynamics run, each brought downhill to its minimum of the energy at fixed cell: ions at rest.

What the run sampled of arrangements stays, its vibrations go. Tensors averaged over these structures are those of a
still crystal; beside the run's own they show what motion about the sites does.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from insilico_nmr.errors import run_script
from insilico_nmr.md import relax
from insilico_nmr.trajectory import read_trajectory, write_trajectory

AT_REST = 0.05  # eV/Å


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectory", type=Path, help="run, HDF5")
    parser.add_argument("--potential", type=Path, required=True, help="folder of the potential that it ran on")
    parser.add_argument("--frames", type=int, required=True, help="frames taken, evenly spaced")
    parser.add_argument(
        "--out", type=Path, required=True, help="the minima, HDF5, as a trajectory of 0 K in its record"
    )
    args = parser.parse_args()

    run = read_trajectory(args.trajectory)
    frames = run.evenly_spaced(args.frames)
    minima = [relax(run.frame(frame), args.potential, member=run.member) for frame in frames]
    left = np.array([minimum.info["largest_force"] for minimum in minima])
    if (left > AT_REST).any():
        print(f"warning: {(left > AT_REST).sum()} of {len(left)} frames are not at rest, frame {frames[left.argmax()]} "
              f"of {args.trajectory} has a force of {left.max():.2g} eV/Å left", file=sys.stderr)  # fmt: skip
    moved = np.array([minimum.positions for minimum in minima]) - run.positions[frames]
    print(f"{len(minima)} minima, {np.sqrt((moved**2).sum(axis=-1).mean()):.3f} Å (root mean square) from the run")
    still = replace(
        run.part(slice(len(minima))),
        positions=np.array([minimum.positions for minimum in minima]),
        time_ps=run.time_ps[frames],
        temperature_K=np.zeros(len(minima)),
        potential_energy_eV=np.array([minimum.info["energy"] for minimum in minima]),
    )
    write_trajectory(args.out, still)


if __name__ == "__main__":
    run_script(main)
