"""Run molecular dynamics of one structure at one temperature on the trained potential, and judge its soundness.

The start is relaxed at fixed cell first. A killed run goes on from the chunks in the --resume folder. After the least
time given for equilibration, sampling begins where the potential energy no longer remembers the start, which the run
itself says (`equilibration.py`). The checks (time left out, mean temperature and energy with errors, drift without
thermostat, whole host units) land in a JSON file; a run that breaks host units ends with an error.
"""

import argparse
import shutil
import sys
from pathlib import Path

import ase.io
from insilico_nmr.errors import run_script
from insilico_nmr.files import keep_state_of, sha256, write_json
from insilico_nmr.md import Run, nve_drift, relax, run_md
from insilico_nmr.md_checks import check_run, host_unit_of, in_equilibrium
from insilico_nmr.potential import member_file
from insilico_nmr.trajectory import write_trajectory

ASTRAY = 0.005  # of the ligands; fewer are bonds stretched for a moment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structure", type=Path, help="starting structure")
    parser.add_argument("--potential", type=Path, required=True, help="folder of the potential")
    parser.add_argument("--temperature", type=float, required=True, help="K")
    parser.add_argument("--equilibration-ps", type=float, required=True, help="least time before sampling")
    parser.add_argument(
        "--production-ps", type=float, required=True, help="run after that, and sampled from where it is in equilibrium"
    )
    parser.add_argument("--timestep-fs", type=float, required=True)
    parser.add_argument("--interval-fs", type=float, required=True, help="between stored frames")
    parser.add_argument("--damping-ps", type=float, required=True, help="of the Langevin thermostat")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--member", type=int, default=0, help="of the potential's committee (default: 0)")
    parser.add_argument(
        "--host-unit",
        nargs=4,
        metavar=("CENTRE", "LIGAND", "NUMBER", "CUTOFF_A"),
        help="every CENTRE must keep NUMBER LIGANDs within CUTOFF_A, for example P S 4 2.8",
    )
    parser.add_argument("--resume", type=Path, required=True, help="folder with the state for going on")
    parser.add_argument("--out", type=Path, required=True, help="trajectory, HDF5")
    parser.add_argument("--out-checks", type=Path, required=True, help="JSON")
    args = parser.parse_args()

    run = Run(
        args.temperature,
        args.equilibration_ps,
        args.production_ps,
        args.timestep_fs,
        args.interval_fs,
        args.damping_ps,
        args.seed,
        args.member,
    )
    structure = ase.io.read(args.structure)
    unit = host_unit_of(args.host_unit, structure, args.structure)
    keep_state_of(args.resume, __file__, run, sha256(args.structure), sha256(member_file(args.potential, args.member)))
    start = relax(structure, args.potential, member=args.member)
    trajectory, left_out = in_equilibrium(run_md(start, args.potential, run, args.resume))
    if left_out["left_out_fraction"] > 0.45:  # starts are looked for in the first half
        print(
            f"warning: of {run.production_ps:g} ps the first {left_out['left_out_ps']:.1f} ps were not in equilibrium: "
            "a longer run is needed",
            file=sys.stderr,
        )
    drift = nve_drift(trajectory.frame(-1), args.potential, run, length_ps=2.0)
    checks = check_run(trajectory, drift, unit, run.damping_ps)
    if checks.get("ligands_astray", 0) > ASTRAY:
        print(
            f"warning: {100 * checks['ligands_astray']:.1f} % of the ligands are shared by two host units or belong to "
            "none: the host is coming apart",
            file=sys.stderr,
        )
    write_trajectory(args.out, trajectory)
    write_json(args.out_checks, checks | left_out)
    print(" ".join(f"{key}={value:.4g}" for key, value in (checks | left_out).items()))
    shutil.rmtree(args.resume, ignore_errors=True)


if __name__ == "__main__":
    run_script(main)
