"""Exports of site tensors read back to those that went in: by ASE, by our own reader, by mrsimulator, from CSV."""

import ase.io
import mrsimulator
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from insilico_nmr import spin_systems
from insilico_nmr.dataset import efg, ms
from insilico_nmr.files import read_json, write_json
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.readers.magres import read
from insilico_nmr.spectra import powder_pattern
from insilico_nmr.tensors import traceless_symmetric
from mrsimulator.method import Method, SpectralDimension
from programs import run
from scipy.spatial.transform import Rotation
from student import widening

LITHIUM = quadrupolar_nucleus("7Li")
CELL = [[5.0, 0.0, 0.0], [1.0, 6.0, 0.0], [0.0, 0.5, 7.0]]
PLACES = [[0.1, 0.2, 0.3], [0.9, 0.8, 0.7], [0.5, 0.5, 0.0]]
ORBITS = ["A", "A", "B"]
SHARES = np.array([0.4, 0.4, 0.2])
TURN = np.diag([-1.0, -1.0, 1.0])  # from site 0 to site 1


def tensors() -> np.ndarray:
    """Field gradients of three sites in a.u., the second the first turned."""
    first, second = (traceless_symmetric(np.random.default_rng(seed).normal(size=(3, 3))) for seed in (1, 2))
    return 0.01 * np.array([first, TURN @ first @ TURN.T, second])


def shieldings() -> np.ndarray:
    """Shieldings in ppm with antisymmetric parts, turned alike."""
    first, second = (90 * np.eye(3) + 8 * np.random.default_rng(seed).normal(size=(3, 3)) for seed in (3, 4))
    return np.array([first, TURN @ first @ TURN.T, second])


@pytest.fixture
def study(tmp_path):
    """sites.json, T.json (with shieldings) and P.nc of three sites."""
    sites = [{"index": i, "orbit": o, "position": p} for i, (o, p) in enumerate(zip(ORBITS, PLACES, strict=True))]
    write_json(
        tmp_path / "sites.json", {"cell": CELL, "mobile": "Li", "concentration": 0.75, "sites": sites, "jumps": []}
    )
    states = [
        {"index": i, "orbit": o, "tensor": v.tolist(), "shielding": s.tolist()}
        | {"members": [(0.9 * v).tolist(), (1.1 * v).tolist()], "samples": [v.tolist(), (1.2 * v).tolist()]}
        | {"shielding_members": [(s - np.eye(3)).tolist(), (s + np.eye(3)).tolist()]}
        for i, (o, v, s) in enumerate(zip(ORBITS, tensors(), shieldings(), strict=True))
    ]
    write_json(tmp_path / "T.json", {"temperature_K": 300.0, "isotope": "7Li", "method": "by hand", "states": states})
    time_s = np.array([0.0, 1.0])
    joint = np.stack([np.diag(SHARES), np.outer(SHARES, SHARES)], axis=-1)
    nothing = {name: ("lag", 0 * time_s) for name in ("msd", "msd_se", "msd_collective", "msd_collective_se")}
    nothing |= {f"{name}_replica": (("replica", "lag"), np.zeros((2, 2))) for name in ("msd", "msd_collective")}
    states_of = ("state_a", "state_b")
    xr.Dataset(
        {
            "P": ((*states_of, "time"), joint),
            "P_se": ((*states_of, "time"), 1e-4 * joint),
            "P_replica": (("replica", *states_of, "time"), np.array([joint, joint])),
            "p": (("state",), SHARES),
            "P_infinity": (states_of, np.outer(SHARES, SHARES)),
            "flux": (states_of, np.zeros((3, 3))),
            "observations": ("time", np.ones(len(time_s))),
            **nothing,
        },
        coords={"time": time_s, "lag": time_s},
        attrs={"temperature_K": 300.0, "mean_residence_time_s": 1.0, "complete": 1},
    ).to_netcdf(tmp_path / "P.nc")
    return tmp_path


def export(folder, *flags: object, isotope: str = "7Li", out: tuple = ("magres", "mrsim", "csv")) -> tuple[int, str]:
    outputs = [word for name in out for word in (f"--out-{name}", folder / f"x.{name}")]
    sites = ("--sites", folder / "sites.json", "--isotope", isotope)
    return run("export_spins", folder / "T.json", *sites, *outputs, *flags)


def change(path, edit) -> None:
    content = read_json(path)
    edit(content)
    write_json(path, content)


def test_magres_is_read_back_by_ase_and_by_our_reader(study):
    assert export(study, "--propagator", study / "P.nc") == (0, "")
    theirs, ours = ase.io.read(study / "x.magres", format="magres"), read(study / "x.magres")
    assert theirs.info["magres_units"] == {"efg": "au", "ms": "ppm"}
    for atoms in (theirs, ours):
        assert str(atoms.symbols) == "Li3"
        np.testing.assert_allclose(atoms.cell.array, CELL)
        np.testing.assert_allclose(atoms.get_scaled_positions(), PLACES, atol=1e-12)
        np.testing.assert_allclose(efg(atoms), tensors(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(ms(ours), shieldings(), rtol=1e-12)  # first index the induced field, as it went in
    np.testing.assert_allclose(ms(theirs), shieldings().transpose(0, 2, 1), rtol=1e-12)  # ASE reads row by row
    text = (study / "x.magres").read_text()
    assert "# Li 3, 2, B, 0.4500\n" in text  # 0.2·3·0.75 ions on the site
    assert "by hand" in text


def test_mrsimulator_loads_the_spins_and_they_rebuild_the_tensors(study):
    assert export(study, "--propagator", study / "P.nc", "--reference-ppm", 95) == (0, "")
    simulator, _, _ = mrsimulator.load(str(study / "x.mrsim"))
    assert simulator.config.integration_volume == "hemisphere"
    np.testing.assert_allclose([system.abundance for system in simulator.spin_systems], 100 * SHARES)
    sites = [system.sites[0] for system in simulator.spin_systems]
    assert {site.isotope.symbol for site in sites} == {"7Li"}
    assert [site.label for site in sites] == ORBITS
    for parts, size, expected in (
        ([site.quadrupolar for site in sites], "Cq", LITHIUM.coupling_per_au * tensors()),
        ([site.shielding_symmetric for site in sites], "zeta", traceless_symmetric(shieldings())),
    ):
        angles = np.array([[part.alpha, part.beta, part.gamma] for part in parts])
        sizes = np.array([getattr(part, size) for part in parts])
        found = spin_systems.rebuilt(sizes, np.array([part.eta for part in parts]), angles)
        np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())
        # Equivalent sites: one size and asymmetry, other angles.
        assert sizes[0] == pytest.approx(sizes[1], rel=1e-9)
        assert parts[0].eta == pytest.approx(parts[1].eta, abs=1e-9)
        assert np.abs(angles[0] - angles[1]).max() > 0.1
    iso = np.trace(shieldings(), axis1=1, axis2=2) / 3
    shifts = [site.isotropic_chemical_shift for site in sites]
    np.testing.assert_allclose(shifts, (95 - iso) / (1 - 95e-6), rtol=1e-8)


def test_the_exported_spins_have_the_spectrum_of_the_tensors(study):
    """As a user would run them, with the file's own average over directions."""
    assert export(study, "--propagator", study / "P.nc") == (0, "")
    simulator, _, _ = mrsimulator.load(str(study / "x.mrsim"))
    for system in simulator.spin_systems:
        system.sites[0].shielding_symmetric = None
    widest = 0.6 * LITHIUM.coupling_per_au * np.abs(np.linalg.eigvalsh(tensors())).max()
    event = {"freq_contrib": ["Quad1_2"], "transition_queries": [{"ch1": {"P": [-1], "D": [-2]}}]}
    dimension = SpectralDimension(count=400, spectral_width=2 * abs(widest), events=[event])
    method = Method(channels=["7Li"], magnetic_flux_density=9.4, rotor_frequency=0.0, spectral_dimensions=[dimension])
    simulator.methods = [method]
    simulator.run(pack_as_csdm=False)
    found = np.asarray(simulator.methods[0].simulation).real.reshape(-1)
    axis_Hz = (np.arange(400) - 200) * abs(widest) / 200
    one = {"multipliers": np.array([-1.0]), "intensities": np.ones(1)}
    own = sum(
        share * powder_pattern(np.linalg.eigvalsh(tensor), axis_Hz, LITHIUM, **one)
        for share, tensor in zip(SHARES, tensors(), strict=True)
    )
    assert np.abs(found / found.sum() - own / own.sum()).sum() < 0.01


def test_the_table_rebuilds_the_tensors_and_holds_both_errors(study):
    assert export(study, "--propagator", study / "P.nc") == (0, "")
    table = pd.read_csv(study / "x.csv")
    assert list(table["orbit"]) == ORBITS
    np.testing.assert_allclose(table[["x_A", "y_A", "z_A"]], np.array(PLACES) @ np.array(CELL), atol=1e-6)
    np.testing.assert_allclose(table["occupancy"], SHARES * 3 * 0.75, rtol=1e-6)
    coupling, eta = table["C_Q_kHz"], table["eta"]
    values = np.stack([-(1 - eta) / 2, -(1 + eta) / 2, np.ones(3)], axis=-1) * coupling.to_numpy()[:, None]
    turns = Rotation.from_euler("ZYZ", table[["efg_alpha_deg", "efg_beta_deg", "efg_gamma_deg"]], degrees=True)
    found = np.einsum("nik,nk,njk->nij", turns.as_matrix(), values, turns.as_matrix())
    expected = LITHIUM.coupling_per_au / 1e3 * tensors()
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    half = 1.96 * widening(2) * 0.2 / np.sqrt(2) * np.abs(coupling)
    np.testing.assert_allclose(table["C_Q_sd_model_kHz"], half / 1.96, rtol=1e-6)
    np.testing.assert_allclose(table["C_Q_se_sampling_kHz"], half / 1.96, rtol=1e-6)
    np.testing.assert_allclose(table["C_Q_ci_high_kHz"] - coupling, np.sqrt(2) * half, rtol=1e-6)
    np.testing.assert_allclose(table[["same_sign"]], 1)
    np.testing.assert_allclose(table[["eta_sd_model", "z_axis_se_sampling_deg"]], 0, atol=1e-4)
    isotropic = np.trace(shieldings(), axis1=1, axis2=2) / 3
    np.testing.assert_allclose(table["sigma_iso_ppm"], isotropic, rtol=1e-6)
    np.testing.assert_allclose(table["sigma_iso_sd_model_ppm"], widening(2) * np.sqrt(2), rtol=1e-6)  # 1 ppm each side
    assert table["sigma_iso_se_sampling_ppm"].isna().all()
    np.testing.assert_allclose(table["sigma_iso_ci_high_ppm"] - isotropic, 1.96 * widening(2) * np.sqrt(2), rtol=1e-6)


def test_a_sign_that_members_disagree_on_is_said(study):
    """η near 1: members lie on either side, with V_zz of either sign, but its size hardly moves."""

    def near_one(content):
        for state in content["states"]:
            state["tensor"] = (0.01 * np.diag([-1.0, 0.02, 0.98])).tolist()
            state["members"] = [(0.01 * np.diag([-1.0, x, 1.0 - x])).tolist() for x in (0.04, 0.02, -0.02, -0.04)]
            state["samples"] = state["shielding_members"] = []

    change(study / "T.json", near_one)
    assert export(study, out=("csv",)) == (0, "")
    table = pd.read_csv(study / "x.csv")
    np.testing.assert_allclose(table["same_sign"], 0.5)
    assert (table["C_Q_sd_model_kHz"] < 0.05 * table["C_Q_kHz"].abs()).all()
    assert table["C_Q_se_sampling_kHz"].isna().all()


def test_without_a_propagator_shares_are_equal_and_without_reference_there_is_no_shift(study):
    assert export(study) == (0, "")
    simulator, _, _ = mrsimulator.load(str(study / "x.mrsim"))
    np.testing.assert_allclose([system.abundance for system in simulator.spin_systems], 100 / 3)
    assert {system.sites[0].isotropic_chemical_shift for system in simulator.spin_systems} == {0}


@pytest.mark.parametrize("seed", range(3))
def test_angles_and_rebuilding_are_inverse(seed):
    """Also for the special tensors: along the axes, axial, of η = 1, zero."""
    rng = np.random.default_rng(seed)
    special = [np.diag([-1.0, -1, 2]), np.diag([2.0, -1, -1]), np.diag([1.0, -1, 0]), np.zeros((3, 3)), -np.eye(3)]
    some = traceless_symmetric(np.concatenate([rng.normal(size=(20, 3, 3)), special]))
    efg_parts = spin_systems.quadrupolar(some, LITHIUM)
    _, csa_parts = spin_systems.shielding(some)
    for parts, size, scale in ((efg_parts, "Cq", LITHIUM.coupling_per_au), (csa_parts, "zeta", 1.0)):
        angles = np.stack([parts[name] for name in ("alpha", "beta", "gamma")], axis=-1)
        assert (angles >= 0).all()
        assert (angles <= [np.pi, np.pi / 2, 2 * np.pi]).all()
        np.testing.assert_allclose(spin_systems.rebuilt(parts[size], parts["eta"], angles) / scale, some, atol=1e-12)


def no_tensor(content):
    del content["states"][2]


def other_orbit(content):
    content["states"][2]["orbit"] = "C"


def too_many(content):
    content["states"].append(content["states"][0] | {"index": 3})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (no_tensor, "no tensor for state 2"),
        (other_orbit, "state 2 is of orbit C, site 2 of B"),
        (too_many, "state 3 is no site; sites.json has 3 sites"),
        (lambda content: content.update(isotope="6Li"), "is of 6Li, --isotope is 7Li"),
        (lambda content: content["states"][0].pop("shielding"), "no shielding for state 0, but others have one"),
        (lambda content: content["states"][1].update(shielding=[1, 2]), "shieldings must be finite and 3×3"),
        (
            lambda content: content["states"][1]["shielding_members"].pop(),
            "states have 1, 2 shielding_members; expected 2, as many as of field gradients",
        ),
        (
            lambda content: content["states"][1].update(shielding_members=2 * [[[1, 2], [3, 4]]]),
            "shieldings must be finite and 3×3",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(study, edit, message):
    change(study / "T.json", edit)
    code, said = export(study)
    assert (code, said.count("\n")) == (2, 1)
    assert message in said
    assert not list(study.glob("x.*"))


def test_other_bad_input_is_refused(study):
    for flags, isotope, out, message in (
        ((), "7Li", (), "nothing to write"),
        ((), "23Na", ("csv",), "--isotope is 23Na, which is no isotope of what moves, Li"),
        (("--propagator", study / "none.nc"), "7Li", ("csv",), "none.nc"),
    ):
        code, said = export(study, *flags, isotope=isotope, out=out)
        assert (code, said.count("\n")) == (2, 1)
        assert message in said
    for state in (content := read_json(study / "T.json"))["states"]:
        del state["shielding"]
    write_json(study / "T.json", content)
    code, said = export(study, "--reference-ppm", 90)
    assert (code, said) == (2, f"error: {study / 'T.json'}: --reference-ppm is given, but no state has a shielding\n")
    fourth = {"index": 3, "position": [0.9, 0.9, 0.9]}
    change(study / "sites.json", lambda content: content["sites"].append(content["sites"][0] | fourth))
    code, said = export(study, out=("csv",))
    assert (code, said) == (2, f"error: {study / 'T.json'}: no tensor for state 3\n")
