"""Learning curves: what a point measures on real snapshots of the example, and what the figure makes of the points."""

from pathlib import Path

import curve_point
import curve_ratios
import numpy as np
import pandas as pd
import plot_curves
import pytest
from insilico_nmr.nuclei import quadrupolar_nucleus
from insilico_nmr.scalar_model import TARGETS, targets_of
from insilico_nmr.tensors import from_components
from programs import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "li3n" / "li3n.extxyz"
SIZE = "--cutoff 4 --features 8 --interactions 1 --radial 8 --epochs 3 --batch-size 2 --learning-rate 0.01"
SIZE += " --weight-decay 0 --seed 3 --repeats 2 --isotope 7Li --backbone so3net --harmonics 4"


def point(folder, kind, size, repeat=0):
    out = folder / f"{kind}_{size}.csv"
    place = ("--resume", folder / f"state_{kind}", "--out", out)
    code, said = run("curve_point", EXAMPLE, "--kind", kind, "--size", size, "--member", repeat, *SIZE.split(), *place)
    return code, said, out


def test_a_point_for_every_kind_of_model(tmp_path):
    rows = {}
    for kind in ("tensor", *TARGETS["efg"]):
        code, said, out = point(tmp_path, kind, 2)
        assert code == 0, said
        rows[kind] = pd.read_csv(out).iloc[0]
    assert {row["snapshots"] for row in rows.values()} == {2}
    assert len({row["test_atoms"] for row in rows.values()}) == 1
    # Only tensors have components and axes; |V_zz| alone has no shape either.
    assert np.isfinite(rows["tensor"][["component_rmse_percent", "axis_angle_deg", "eta_mae"]].astype(float)).all()
    assert rows["invariants"][["component_rmse_percent", "axis_angle_deg"]].isna().all()
    assert np.isnan(rows["coupling"]["eta_mae"])


def test_more_snapshots_than_there_are(tmp_path):
    code, said, out = point(tmp_path, "tensor", 99)
    assert code == 2
    assert "--size 99: repeat 0 has" in said
    assert not out.exists()
    code, said, _ = point(tmp_path, "tensor", -1)
    assert (code, "--size -1: expected 0, for all, or a number of snapshots" in said) == (2, True)


def test_errors_of_a_model_that_is_right_and_of_one_that_is_off():
    tensors = from_components(np.random.default_rng(1).normal(0, 0.01, (50, 5)))
    perfect = {"tensor": tensors, **{kind: targets_of(tensors, "efg", kind) for kind in TARGETS["efg"]}}
    without = {"tensor": set(), "invariants": {"component_rmse_percent", "axis_angle_deg"}}
    without["coupling"] = without["invariants"] | {"eta_mae"}
    for kind, predicted in perfect.items():
        found = curve_point.row_of_errors(kind, tensors, predicted, "7Li")
        assert {name for name, value in found.items() if np.isnan(value)} == without[kind]
        assert all(abs(value) < 1e-5 for name, value in found.items() if name not in without[kind]), kind
    unit_kHz = abs(quadrupolar_nucleus("7Li").coupling_per_au) * 1e-3
    off = curve_point.row_of_errors("coupling", tensors, perfect["coupling"] + 0.001, "7Li")
    assert off["C_Q_mae_kHz"] == pytest.approx(0.001 * unit_kHz)


def test_the_figure_shows_means_and_intervals_over_repeats():
    rows = [
        {"kind": "tensor", "repeat": repeat, "snapshots": size, "all": int(size > 20), "test_atoms": 100}
        | {"C_Q_mae_kHz": 20 + repeat, "component_rmse_percent": 30.0, "eta_mae": 0.2, "axis_angle_deg": 5}
        for repeat in range(3)
        for size in (16, 40 + repeat)
    ]
    table = pd.DataFrame(rows)
    points = plot_curves.curve(table, "C_Q_mae_kHz")
    assert points.index.tolist() == [16, 41]
    assert points["mean"].tolist() == [21, 21]
    assert points["half"].tolist() == pytest.approx([4.303 / np.sqrt(3)] * 2, rel=1e-3)  # Student's t, 2 degrees
    assert len(plot_curves.draw(table).axes) == 3


def shielding_points() -> pd.DataFrame:
    """Tensor errors 2 and 3 ppm in two repeats; a scalar model twice and four times as wrong, without components."""
    rows = []
    for repeat, error in enumerate((2.0, 3.0)):
        point = {"repeat": repeat, "snapshots": 95, "all": 0, "test_atoms": 10}
        answers = {"isotropic_ppm": error, "anisotropy_ppm": error, "component_ppm": error}
        rows.append({"kind": "tensor", **point, **answers})
        scalar = {name: value * (2 if repeat == 0 else 4) for name, value in answers.items()}
        rows.append({"kind": "isotropic", **point, **scalar, "component_ppm": np.nan, "anisotropy_ppm": np.nan})
    return pd.DataFrame(rows)


def test_ratios_pair_the_repeats(tmp_path):
    (row,) = curve_ratios.ratios(shielding_points()).to_dict("records")
    assert (row["scalars"], row["quantity"], row["repeats"]) == ("isotropic", "isotropic_ppm", 2)
    assert row["scalar_over_tensor"] == pytest.approx(np.sqrt(8))
    # Two logarithms ln 2 and ln 4: standard error ln 2 / 2, Student's t of one degree of freedom 12.706.
    assert row["ci_high"] == pytest.approx(np.sqrt(8) * 2 ** (12.706 / 2), rel=1e-3)
    shielding_points()[lambda table: table["kind"] == "tensor"].to_csv(tmp_path / "tensor.csv", index=False)
    code, said = run("curve_ratios", tmp_path / "tensor.csv", "--out", tmp_path / "out.csv")
    assert code == 2
    assert "no scalar model beside a tensor model" in said
    pd.concat(2 * [shielding_points()]).to_csv(tmp_path / "twice.csv", index=False)
    code, said = run("curve_ratios", tmp_path / "twice.csv", "--out", tmp_path / "out.csv")
    assert (code, "row 6 is of the same kind, size and repeat as one before" in said) == (2, True)


def test_the_figure_of_shieldings_has_their_panels():
    figure = plot_curves.draw(shielding_points())
    assert ["ppm" in axes.get_ylabel() for axes in figure.axes] == [True] * 3
    # Two repeats: a line of means and their points, for both kinds, or for tensors alone.
    assert [len(axes.lines) for axes in figure.axes] == [4, 2, 2]
