"""Make a potential of trained PaiNN members: write the config.json beside their folders member_0, member_1, …

The errors in it come from the groups that members left out, pooled: every frame counts once for each member that never
saw it. `held_out_groups` says which groups that covers; a full cross-validation would need a member for every fold. A
committee of member 0 alone has no errors (null).
"""

import argparse
from pathlib import Path

from insilico_nmr import __version__
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import read_json, write_json
from insilico_nmr.potential import rmse

SHARED = ("elements", "architecture", "weights", "stress_offset_GPa", "n_frames", "data_sha256", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("members", type=Path, nargs="+", help="config.json of each member, from 0 on")
    parser.add_argument("--out", type=Path, required=True, help="config.json of the potential, in the folder above")
    args = parser.parse_args()
    expected = [args.out.parent / f"member_{n}" / "config.json" for n in range(len(args.members))]
    if args.members != expected:
        raise InputError(f"members must be {', '.join(map(str, expected))}")
    members = [read_json(path) for path in args.members]
    for path, member in zip(args.members, members, strict=True):
        for key in SHARED:
            if member[key] != members[0][key]:
                raise InputError(f"{path}: {key} differs from that of member 0; train the committee anew")
    squares = [member["held_out_squared_errors"] for member in members if member["held_out_squared_errors"]]
    write_json(
        args.out,
        {
            "kind": "painn",
            **{key: members[0][key] for key in SHARED},
            "members": len(members),
            "training": [member["training"] for member in members],
            "errors": rmse(squares) if squares else None,
            "held_out_groups": sorted({group for member in members for group in member["held_out_groups"]}),
            "units": "eV, Angstrom",
            "version": __version__,
        },
    )


if __name__ == "__main__":
    run_script(main)
