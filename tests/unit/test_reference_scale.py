"""The reference scale: lines that recover what was put in, and sites that are refused. Couplings here are synthetic."""

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from insilico_nmr import reference_scale
from insilico_nmr.errors import InputError
from insilico_nmr.nuclei import quadrupolar_nucleus


def synthetic_couplings(count, slope, scatter, seed):
    """Couplings from 30 kHz to 10 MHz, measured to 1 %, that scatter about a line through the origin."""
    rng = np.random.default_rng(seed)
    dft = np.exp(rng.uniform(np.log(30), np.log(1e4), count))
    true = slope * dft * (1 + scatter * rng.normal(size=count))
    return dft, true * (1 + 0.01 * rng.normal(size=count)), 0.01 * true


@pytest.mark.parametrize(("count", "scatter"), [(15, 0.06), (7, 0.2)])
def test_slope_scatter_and_intervals_are_recovered(count, scatter):
    inside, another, slopes, scatters = 0, 0, [], []
    for seed in range(300):
        scale = reference_scale.fit_scale(*synthetic_couplings(count, 0.95, scatter, seed))
        inside += scale.ci_low < 0.95 < scale.ci_high
        # The interval for a site that is not in the fit must hold it as often as it says.
        (dft,), (measured,), _ = synthetic_couplings(1, 0.95, scatter, 1000 + seed)
        another += abs(measured / (scale.slope * dft) - 1) < scale.half_width()
        slopes.append(scale.slope)
        scatters.append(scale.scatter)
    assert 0.91 <= inside / 300 <= 0.98
    assert 0.91 <= another / 300 <= 0.99
    # Not biased to low slopes by couplings that came out low.
    assert abs(np.mean(slopes) - 0.95) < 3 * np.std(slopes) / np.sqrt(300)
    assert np.mean(scatters) == pytest.approx(scatter, rel=0.15)


def table_of(dft, measured, uncertainty, used):
    columns = {"C_Q_dft_kHz": dft, "C_Q_measured_kHz": measured, "C_Q_uncertainty_kHz": uncertainty, "used": used}
    return pd.DataFrame(columns)


def test_one_wrong_site_is_named_though_it_widens_the_scatter():
    dft, measured, uncertainty = synthetic_couplings(8, 0.95, 0.05, 3)
    measured[2] *= 0.1
    found = reference_scale.deviations(table_of(dft, measured, uncertainty, [1] * 8))
    assert found["outlier"].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    # Sites that only scatter are named as rarely as the level says.
    wrongly = [
        reference_scale.deviations(table_of(*synthetic_couplings(8, 0.95, 0.05, seed), [1] * 8))["outlier"].mean()
        for seed in range(100)
    ]
    assert np.mean(wrongly) < 2 * reference_scale.OUTLIER
    # A site outside the fit is judged by the fit, and does not move it.
    beside = table_of(dft, measured, uncertainty, [1, 1, 0, 1, 1, 1, 1, 1])
    assert reference_scale.deviations(beside)["outlier"].iloc[2] == 1
    assert reference_scale.scale_of(beside).slope == pytest.approx(0.95, abs=0.1)


def test_couplings_that_differ_by_their_uncertainty_only_have_no_scatter():
    dft = np.array([50.0, 200.0, 1000.0, 5000.0])
    scale = reference_scale.fit_scale(dft, 1.02 * dft, 0.02 * dft)
    assert scale.scatter == 0
    assert scale.slope == pytest.approx(1.02)
    assert scale.slope_se == pytest.approx(1.02 * 0.02 / 1.02 / 2)
    assert scale.rmse_kHz == pytest.approx(0, abs=1e-9)
    assert scale.intercept_kHz == pytest.approx(0, abs=1e-9)


def test_scatter_does_not_let_the_large_couplings_decide():
    """Relative errors are alike, so a site of 9 MHz that is off by 30 % moves the slope by less than it would alone."""
    dft = np.array([40.0, 90.0, 300.0, 800.0, 2000.0, 9000.0])
    measured = dft * np.array([1.0, 0.99, 1.01, 1.0, 1.0, 1.3])
    scale = reference_scale.fit_scale(dft, measured, 0.005 * measured)
    assert 1.0 < scale.slope < 1.1
    assert scale.scatter > 0.05


def test_too_few_sites_and_impossible_couplings():
    with pytest.raises(InputError, match="three or more"):
        reference_scale.fit_scale([1, 2], [1, 2], [0.1, 0.1])
    with pytest.raises(InputError, match="positive"):
        reference_scale.fit_scale([1, 2, 0], [1, 2, 3], [0.1, 0.1, 0.1])


def crystal(tensors):
    """Two atoms of the site Li1, one of N1, with given field gradients."""
    atoms = Atoms("Li2N", positions=[[0, 0, 0], [0, 0, 3], [0, 2, 0]], cell=[5, 5, 6], pbc=True)
    atoms.arrays["site"] = np.array(["Li1", "Li1", "N1"])
    atoms.arrays["efg"] = np.array(tensors)
    atoms.info.update(material="Test", geometry="published")
    return atoms


ALONG_Z, ALONG_X = 0.01 * np.diag([-0.4, -0.6, 1.0]), 0.01 * np.diag([1.0, -0.4, -0.6])


def test_coupling_of_equivalent_atoms_with_turned_tensors():
    vzz, coupling, eta = reference_scale.couplings(crystal([ALONG_Z, ALONG_X, ALONG_Z]), "Li1", "7Li")
    assert vzz == pytest.approx(0.01)
    assert coupling == pytest.approx(94.22, rel=1e-3)  # 9.422 MHz per a.u.
    assert eta == pytest.approx(0.2)
    with pytest.raises(InputError, match="no atom of site Li2"):
        reference_scale.couplings(crystal([ALONG_Z] * 3), "Li2", "7Li")
    with pytest.raises(InputError, match="equivalent atoms differ"):
        reference_scale.couplings(crystal([ALONG_Z, 1.1 * ALONG_Z, ALONG_Z]), "Li1", "7Li")


def synthetic_sites(**changes):
    row = {"compound": "Test", "site": "Li1 2a", "isotope": "7Li", "coupling_kHz": 90, "coupling_uncertainty_kHz": 1}
    row |= {"eta": 0.2, "eta_uncertainty": 0.01, "temperature_K": 295, "reference": "r", "confirmed": "yes"}
    return pd.DataFrame(
        [row | {"structure_file": "t.cif", "not_fitted": "", "outlier_reason": "", "note": ""} | changes]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coupling_kHz": -1}, "row 2 .*must be positive"),
        ({"confirmed": "maybe"}, "expected yes or no"),
        ({"isotope": "1H"}, "quadrupole moment"),
    ],
)
def test_measured_sites_are_checked(tmp_path, changes, message):
    synthetic_sites(**changes).to_csv(tmp_path / "sites.csv", index=False)
    with pytest.raises(InputError, match=message):
        reference_scale.read_sites(tmp_path / "sites.csv")


def test_only_confirmed_sites_enter_the_fit(tmp_path):
    atoms = crystal([ALONG_Z, ALONG_X, ALONG_Z])
    for changes, used in (({}, 1), ({"confirmed": "no"}, 0), ({"not_fitted": "moves"}, 0)):
        table = reference_scale.compare(synthetic_sites(**changes), [atoms])
        assert table["used"].tolist() == [used]
    expected = abs(quadrupolar_nucleus("7Li").coupling_per_au) * 0.01 / 1e3
    assert table["C_Q_dft_kHz"].iloc[0] == pytest.approx(expected)
    with pytest.raises(InputError, match="none of the crystals"):
        reference_scale.compare(synthetic_sites(compound="Other"), [atoms])
