"""Errors of a potential's member 0 and of a committee's mean tensors on snapshots that neither was trained on."""

import argparse
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from insilico_nmr.dataset import efg, labelled, read_dataset
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import read_json, write_json
from insilico_nmr.potential import calculator, elements_of, rmse, squared_errors, take_from_pressures
from insilico_nmr.tensor_model import load_committee


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("validation", type=Path, help="labelled snapshots, extended XYZ")
    parser.add_argument(
        "--dataset", type=Path, required=True, help="what the models were trained on: groups must differ"
    )
    parser.add_argument("--potential", type=Path, required=True, help="committee folder")
    parser.add_argument("--tensors", type=Path, required=True, help="committee folder of tensor models")
    parser.add_argument("--element", required=True, help="element whose tensors count")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    args = parser.parse_args()

    frames, trained = read_dataset(args.validation), read_dataset(args.dataset)
    shared = {atoms.info["group"] for atoms in frames} & {atoms.info["group"] for atoms in trained}
    if shared:
        raise InputError(f"{args.validation} and {args.dataset} share the group {sorted(shared)[0]}")
    take_from_pressures(frames, read_json(args.potential / "config.json").get("stress_offset_GPa", 0.0))
    calc = calculator(args.potential, set(elements_of(frames)))
    committee = load_committee(args.tensors, "efg")
    predicted, off, size = [], [], []
    for number, atoms in enumerate(frames):
        if atoms.calc is None or not {"energy", "forces"} <= set(atoms.calc.results):
            raise InputError(f"{args.validation}: frame {number} has no energy and forces to compare with")
        copy = atoms.copy()
        copy.calc = calc
        predicted.append((copy.get_potential_energy(), copy.get_forces(), copy.get_stress(voigt=False)))
        mobile = (atoms.numbers == atomic_numbers[args.element]) & labelled(efg(atoms))
        mean = np.mean([model.predict(atoms) for model in committee], axis=0)
        off.append((mean - efg(atoms))[mobile].ravel())
        size.append(efg(atoms)[mobile].ravel())
    if not sum(map(len, off)):
        raise InputError(f"{args.validation}: no {args.element} with a field gradient to compare with")
    errors = rmse([squared_errors(frames, predicted)])
    del errors["energy_rmse_eV_per_atom"]  # LAMMPS leaves out what UF3 has per atom: its energies have another zero
    errors["tensor_rmse_au"] = float(np.sqrt(np.mean(np.concatenate(off) ** 2)))
    errors["tensor_rms_au"] = float(np.sqrt(np.mean(np.concatenate(size) ** 2)))
    write_json(args.out, errors | {"n_training_frames": len(trained)})
    print(errors)


if __name__ == "__main__":
    run_script(main)
