"""The whole chain on a material given as a user would give it: a folder with a config file, a crystal and a dataset."""

import pandas as pd
import pytest
from insilico_nmr.files import read_json
from test_workflow import ROOT, snakemake, workspace


@pytest.mark.workflow
def test_li3n_from_its_folder(tmp_path):
    workspace(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    config = str(ROOT / "examples" / "li3n" / "config.yaml")
    done = snakemake("--cores", "2", "--configfile", config, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    results = tmp_path / "results" / "li3n_example"
    for figure in ("parity", "rates", "echo", "spectra", "diffusion", "dataset"):
        assert (results / "figures" / f"{figure}.pdf").stat().st_size > 5000
    # On the three- and six-fold axes of Li3N both field gradients are axial, whatever the model has learnt.
    for state in read_json(results / "nmr" / "site_tensors_300K.json")["states"]:
        xx, yy, zz = (state["tensor"][i][i] for i in range(3))
        assert xx == pytest.approx(yy, abs=1e-9)
        assert zz == pytest.approx(-2 * xx, abs=1e-9)
    agreement = pd.read_csv(results / "tables" / "agreement.csv")
    assert len(agreement)
    assert "</html>" in (results / "report.html").read_text()
    again = snakemake("--cores", "2", "--configfile", config, folder=tmp_path)
    assert "Nothing to be done" in again.stdout + again.stderr
