"""coupling_table.py as a user runs it: rows of both averages, by orbit, with their errors."""

import json

import numpy as np
import pandas as pd
import pytest
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.tensors import from_components
from programs import run
from student import widening

MOMENTARY_KHZ = 2 * np.sqrt(2 / 3)
PER_AU = quadrupolar_nucleus("7Li").coupling_per_au * 1e-3  # kHz


def tensors(path, size_kHz: float, **of_states: float) -> str:
    """Site tensors of two sites of one orbit at 300 K, uniaxial, members 1 kHz apart; `of_states`: further keys."""
    axis = np.diag([-0.5, -0.5, 1.0]) / PER_AU
    members = [((size_kHz + step) * axis).tolist() for step in (-1, 0, 1)]
    states = [
        {"index": n, "orbit": "A", "tensor": (size_kHz * axis).tolist(), "members": members, "samples": [], **of_states}
        for n in range(2)
    ]
    content = {"temperature_K": 300, "isotope": "7Li", "dft_error": 0.1, "states": states}
    path.write_text(json.dumps(content))
    return str(path)


def test_rows_by_average_and_temperature(tmp_path):
    site = {"orbit": "A", "representative": 0}
    sites = [site | {"index": n, "position": [0.5 * n, 0, 0]} for n in range(2)]
    (tmp_path / "sites.json").write_text(json.dumps({"cell": (4 * np.eye(3)).tolist(), "sites": sites}))
    thermal = tensors(tmp_path / "a.json", 90.0, spread_within_site=2 / abs(PER_AU))
    code, said = run(
        "coupling_table", "--thermal", thermal, "--still", tensors(tmp_path / "b.json", -100.0), "--sites",
        tmp_path / "sites.json", "--isotope", "7Li", "--out", tmp_path / "couplings.csv",
    )  # fmt: skip
    assert (code, said) == (0, "")
    table = pd.read_csv(tmp_path / "couplings.csv").set_index("average")
    assert table["C_Q_kHz"].to_dict() == pytest.approx({"thermal": 90, "still": -100}, rel=1e-5)
    assert table["C_Q_sd_model_kHz"].tolist() == pytest.approx(2 * [widening(3)], rel=1e-4)
    assert table["C_Q_sd_dft_kHz"].tolist() == pytest.approx([9, 10], rel=1e-4)
    assert table["eta"].abs().max() < 1e-6
    # Momentary tensors about the mean, 2 kHz in each component, are so far off along one direction.
    scatter = PER_AU * from_components(np.random.default_rng(1).normal(0, 2 / abs(PER_AU), (4000, 5)))
    assert scatter[:, 2, 2].std() == pytest.approx(MOMENTARY_KHZ, rel=0.05)
    assert table["momentary_sd_kHz"].tolist() == pytest.approx([MOMENTARY_KHZ, np.nan], rel=1e-4, nan_ok=True)
