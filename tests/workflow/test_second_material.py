"""The whole chain on a material given as a user would give it: a folder with a config file, a crystal and a dataset."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from insilico_nmr.dataset import efg, read_dataset, write_dataset
from insilico_nmr.files import read_json
from test_workflow import ROOT, snakemake, workspace

ISO_PPM, PPM_PER_AU = 88.0, 50.0


def with_synthetic_shieldings(path: Path) -> None:
    """The example's snapshots, in which shieldings rise with field gradients."""
    frames = read_dataset(ROOT / "examples" / "li3n" / "li3n.extxyz")
    for atoms in frames:
        atoms.arrays["ms"] = ISO_PPM * np.eye(3) + PPM_PER_AU * efg(atoms)
    write_dataset(path, frames)


@pytest.mark.workflow
def test_li3n_from_its_folder(tmp_path):
    workspace(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with_synthetic_shieldings(tmp_path / "synthetic.extxyz")
    changes = {"material": {"dataset": "synthetic.extxyz"}, "tensor_model": {"shieldings": True}}
    changes["observables"] = {
        "temperatures_K": [300],  # one gives every figure and table too
        "reference_shielding_ppm": 90.0,
        "measured_echoes": "synthetic_echoes.csv",
    }
    time_s = np.geomspace(1e-6, 1e-1, 20)
    echo = pd.DataFrame({"temperature_K": 300, "evolution_time_us": 10, "mixing_time_s": time_s})
    echo.assign(S2=np.exp(-1000 * time_s) + 0.2).to_csv(tmp_path / "synthetic_echoes.csv", index=False)
    (tmp_path / "changes.json").write_text(json.dumps(changes))
    call = [
        "--cores",
        "2",
        "--configfile",
        str(ROOT / "examples" / "li3n" / "config.yaml"),
        str(tmp_path / "changes.json"),
    ]
    done = snakemake(*call, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    results = tmp_path / "results" / "li3n_example"
    for figure in ("parity", "rates", "echo", "spectra", "diffusion", "dataset"):
        assert (results / "figures" / f"{figure}.pdf").stat().st_size > 5000
    # On the three- and six-fold axes of Li3N both field gradients are axial, whatever the model has learnt.
    for state in read_json(results / "nmr" / "site_tensors_300K.json")["states"]:
        xx, yy, zz = (state["tensor"][i][i] for i in range(3))
        assert xx == pytest.approx(yy, abs=1e-9)
        assert zz == pytest.approx(-2 * xx, abs=1e-9)
        # So are shieldings, which went with the field gradients through training and averaging.
        shielding = np.array(state["shielding"])
        np.testing.assert_allclose(shielding, np.diag([shielding[0, 0], shielding[0, 0], shielding[2, 2]]), atol=1e-6)
        assert np.trace(shielding) / 3 == pytest.approx(ISO_PPM, abs=0.5)
        members = np.array(state["shielding_members"])
        np.testing.assert_allclose(members.mean(axis=0), shielding, atol=1e-9)
        assert np.ptp(members, axis=0).max() > 1e-3  # of one isotropic value, they differ in anisotropy
    exported = pd.read_csv(results / "exports" / "sites_300K.csv")
    assert exported["sigma_iso_ppm"].to_numpy() == pytest.approx(ISO_PPM, abs=0.5)
    assert (exported["sigma_iso_sd_model_ppm"] < 0.5).all()
    assert ase.io.read(results / "exports" / "sites_300K.magres").arrays["ms"].shape == (len(exported), 3, 3)
    metrics = pd.read_csv(results / "tables" / "shielding_metrics.csv").set_index("quantity")
    assert metrics.loc["component_ppm", "model"] < metrics.loc["component_ppm", "mean_model"]
    agreement = pd.read_csv(results / "tables" / "agreement.csv")
    (echo,) = agreement[agreement["method"] == "SAE, t_p 10 µs"].itertuples()
    assert float(echo.measured) == pytest.approx(1000, rel=0.02)
    assert "</html>" in (results / "report.html").read_text()
    again = snakemake(*call, folder=tmp_path)
    assert "Nothing to be done" in again.stdout + again.stderr
