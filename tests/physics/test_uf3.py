"""UF3: features against finite differences, LAMMPS against the features, and what the walls promise."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.calculators.lammpslib import LAMMPSlib
from ase.calculators.singlepoint import SinglePointCalculator
from insilico_nmr.errors import InputError
from insilico_nmr.files import write_json
from insilico_nmr.potential import calculator, preload_mpi
from insilico_nmr.uf3 import Basis, LeastSquares, Weights, features, predict, write_lammps

BASIS = Basis(("Li", "S"), 0.5, 6.0, 10, 1.2, 3.5, 4, 8)


def synthetic_structure(seed: int = 0) -> Atoms:
    """Twelve atoms in a skewed cell, no two closer than 2 Å."""
    rng = np.random.default_rng(seed)
    grid = np.array([[x, y, z] for x in range(3) for y in range(2) for z in range(2)]) / [3, 2, 2]
    cell = [[8.0, 0, 0], [0.7, 5.6, 0], [-0.4, 0.3, 5.8]]
    atoms = Atoms("LiS" * 6, scaled_positions=grid, cell=cell, pbc=True)
    atoms.positions += rng.uniform(-0.3, 0.3, atoms.positions.shape)
    return atoms


@pytest.fixture(scope="module")
def coefficients() -> np.ndarray:
    return np.random.default_rng(1).normal(size=BASIS.size)


def test_forces_and_stress_are_derivatives_of_the_energy(coefficients):
    atoms, step = synthetic_structure(), 1e-5
    _, forces, stress = predict(atoms, BASIS, coefficients)
    for atom, axis in [(0, 0), (5, 1), (11, 2)]:
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(predict(moved, BASIS, coefficients)[0])
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), rel=1e-5, abs=1e-6)
    for i, j in [(0, 0), (0, 1), (2, 1)]:
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell[:] @ strain, scale_atoms=True)
            energies.append(predict(strained, BASIS, coefficients)[0])
        expected = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        assert stress[i, j] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_energy_is_extensive_and_invariant(coefficients):
    atoms = synthetic_structure()
    energy, forces, _ = predict(atoms, BASIS, coefficients)
    double = atoms.repeat((1, 1, 2))
    assert predict(double, BASIS, coefficients)[0] == pytest.approx(2 * energy, rel=1e-10)
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    assert predict(turned, BASIS, coefficients)[0] == pytest.approx(energy, rel=1e-10)
    assert np.abs(forces.sum(axis=0)).max() < 1e-9


def test_lammps_gives_the_same_energy_forces_and_stress(tmp_path, coefficients):
    free = BASIS.size - len(BASIS.elements)
    fitted = LeastSquares([labelled(synthetic_structure())], BASIS, WEIGHTS)
    values = np.zeros(BASIS.size)
    values[fitted.columns] = coefficients[fitted.columns]
    assert np.count_nonzero(values) < free  # free ends stay zero, as the file format demands
    write_lammps(tmp_path / "member_0.uf3", BASIS, values)
    preload_mpi()
    atoms = synthetic_structure()
    energy, forces, stress = predict(atoms, BASIS, values)
    atoms.calc = LAMMPSlib(
        lmpcmds=["pair_style uf3 3", f"pair_coeff * * {tmp_path / 'member_0.uf3'} Li S"],
        atom_types={"Li": 1, "S": 2},
        lammps_header=["units metal", "atom_style atomic", "atom_modify map array sort 0 0"],
    )
    alone = 6 * values[:2].sum()
    assert atoms.get_potential_energy() == pytest.approx(energy - alone, rel=1e-9)
    assert np.allclose(atoms.get_forces(), forces, atol=1e-8)
    assert np.allclose(atoms.get_stress(voigt=False), stress, atol=1e-8)


WEIGHTS = Weights(energy=0.01, force=0.1, stress=0.01, ridge=1e-6, curvature=1e-6, wall=40.0, coverage=0.0)


def labelled(atoms: Atoms, group: str = "synthetic") -> Atoms:
    """Labels of a Lennard-Jones-like pair potential that UF3 can represent."""
    from ase.calculators.lj import LennardJones

    atoms = atoms.copy()
    atoms.calc = LennardJones(sigma=2.2, epsilon=0.2, rc=5.0, smooth=True)
    labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    atoms.info["group"] = group
    return atoms


def test_a_fit_recovers_forces_of_a_pair_potential():
    frames = [labelled(synthetic_structure(seed), f"group {seed}") for seed in range(24)]
    equations = LeastSquares(frames, Basis(("Li", "S"), 0.5, 6.0, 24, 1.2, 2.0, 4, 8), WEIGHTS)
    coefficients = equations.solve({f"group {seed}" for seed in range(20)})
    error, size = [], []
    for atoms in frames[20:]:
        error.append(predict(atoms, equations.basis, coefficients)[1] - atoms.get_forces())
        size.append(atoms.get_forces())
    assert np.std(error) < 0.05 * np.std(size)


def test_separations_never_seen_cost_energy():
    frames = [labelled(synthetic_structure(seed), seed) for seed in range(4)]  # ASE reads such a group as a number
    equations = LeastSquares(frames, BASIS, WEIGHTS)
    coefficients = equations.solve(equations.groups)
    shortest = min((distances := atoms.get_all_distances(mic=True))[distances > 0].min() for atoms in frames)

    def pair_energy(distance):
        pair = Atoms("LiS", [[0, 0, 0], [distance, 0, 0]], cell=[30, 30, 30], pbc=True)
        return predict(pair, BASIS, coefficients)[0]

    assert pair_energy(shortest - 1.0) > pair_energy(shortest) + 5.0


def test_an_error_on_unseen_groups_knows_nothing_of_their_separations():
    """Walls of a fit without a group that alone has short bonds: shared with the committee none, of its own one."""
    frames = [labelled(synthetic_structure(seed), f"group {seed}") for seed in range(4)]
    close = frames[0].copy()
    close.set_cell(0.8 * close.cell, scale_atoms=True)
    equations = LeastSquares([*frames, labelled(close, "close")], BASIS, WEIGHTS)
    groups = {f"group {seed}" for seed in range(4)}

    def pair_energy(coefficients):
        distances = close.get_all_distances(mic=True)
        pair = Atoms("LiS", [[0, 0, 0], [distances[distances > 0].min(), 0, 0]], cell=[30, 30, 30], pbc=True)
        return predict(pair, BASIS, coefficients)[0]

    alone = LeastSquares(frames, BASIS, WEIGHTS)
    own = equations.solve(groups, known=groups)
    np.testing.assert_allclose(own, alone.solve(groups), atol=1e-8)
    assert pair_energy(own) > pair_energy(equations.solve(groups)) + 0.5


def test_positions_that_are_no_numbers_are_said_and_do_no_harm_to_what_follows(tmp_path, coefficients):
    fitted = LeastSquares([labelled(synthetic_structure())], BASIS, WEIGHTS)
    values = np.zeros(BASIS.size)
    values[fitted.columns] = coefficients[fitted.columns]
    write_lammps(tmp_path / "member_0.uf3", BASIS, values)
    write_json(tmp_path / "config.json", {"kind": "uf3", "elements": ["Li", "S"], "members": 1})
    atoms = synthetic_structure()
    atoms.calc = calculator(tmp_path, {"Li", "S"})
    energy = atoms.get_potential_energy()
    broken = atoms.copy()
    broken.calc, broken.positions[3, 1] = atoms.calc, np.nan
    with pytest.raises(CalculationFailed, match="positions are not finite"):
        broken.get_forces()
    again = synthetic_structure()
    again.calc = broken.calc
    assert again.get_potential_energy() == pytest.approx(energy, rel=1e-9)


def test_unknown_elements_are_named(tmp_path):
    with pytest.raises(InputError, match="Na"):
        features(Atoms("Na", cell=[4, 4, 4], pbc=True), BASIS)
    write_json(tmp_path / "config.json", {"kind": "uf3", "elements": ["Li", "S"]})
    with pytest.raises(InputError, match="not Na"):
        calculator(tmp_path, {"Li", "Na"})
