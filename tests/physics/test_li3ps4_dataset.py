"""The shipped snapshots of Li3PS4: whole, registered, and with field gradients that a spectrometer would believe."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from insilico_nmr.dataset import efg, leave_group_out_folds, read_dataset
from insilico_nmr.files import sha256
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.registry import check_registered, read_registry
from insilico_nmr.tensors import asymmetry, efg_principal

RESOURCES = Path(__file__).parents[2] / "resources"


@pytest.fixture(scope="module")
def frames():
    return read_dataset(RESOURCES / "dft" / "li3ps4.extxyz")


@pytest.fixture(scope="module")
def lithium(frames):
    return np.concatenate([efg(atoms)[atoms.symbols == "Li"] for atoms in frames])


def test_registered_files_have_their_checksums():
    for path in read_registry(RESOURCES / "registry.csv"):
        check_registered(path, RESOURCES / "registry.csv")


@pytest.mark.parametrize("name", ["li3ps4", "li3ps4_cold", "li3ps4_hot", "li3ps4_glass", "li3n"])
def test_each_card_is_of_the_shipped_file(name):
    card = (RESOURCES / "dft" / "cards" / f"{name}.md").read_text()
    dataset = RESOURCES / "dft" / f"{name}.extxyz"
    assert sha256(dataset) in card
    assert f"- {len(read_dataset(dataset))} frames of" in card


def test_the_counts_of_the_dataset(frames, lithium):
    assert len(frames) == 138
    assert len(lithium) == 1410
    assert {atoms.info["phase"] for atoms in frames} == {"beta", "betadis", "gamma"}
    assert len(leave_group_out_folds(frames)) == 18


def test_field_gradients_are_traceless_and_symmetric(frames):
    tensors = np.concatenate([efg(atoms) for atoms in frames])
    assert np.isfinite(tensors).all()
    assert np.abs(np.trace(tensors, axis1=1, axis2=2)).max() < 2e-8
    np.testing.assert_array_equal(tensors, tensors.transpose(0, 2, 1))


def test_the_mean_coupling_of_lithium(lithium):
    values = efg_principal(lithium)[0]
    coupling_kHz = np.abs(quadrupolar_nucleus("7Li").coupling_per_au * values[:, 2]) / 1e3
    assert 100 < coupling_kHz.mean() < 250
    eta = asymmetry(values)
    assert ((eta >= 0) & (eta <= 1)).all()


def test_forces_add_up_to_nothing_and_stress_is_that_of_a_solid(frames):
    for atoms in frames:
        assert np.abs(atoms.get_forces().sum(axis=0)).max() < 0.01
        assert np.abs(atoms.get_stress()).max() < 0.05  # eV/Å³, 8 GPa


def test_hotter_runs_have_higher_energies(frames):
    """Within a phase, the mean potential energy of a CHGNet run's snapshots rises with its temperature."""
    runs = defaultdict(list)
    for atoms in frames:
        if any(word in atoms.info["group"] for word in ("uf3", "neb", "strained")):
            continue  # drawn on another surface, which is colder at the same temperature
        runs[atoms.info["phase"], int(atoms.info["temperature"])].append(atoms.get_potential_energy() / len(atoms))
    for phase in ("beta", "betadis", "gamma"):
        means = [np.mean(runs[key]) for key in sorted(runs) if key[0] == phase]
        assert len(means) >= 3
        assert (np.diff(means) > 0).all()
