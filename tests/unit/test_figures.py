"""Figures from small synthetic tables: what is drawn is what the tables hold, and broken tables are refused."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import plot_barriers
import plot_couplings
import plot_dataset
import plot_diffusion
import plot_echo
import plot_exchange
import plot_histories
import plot_hop_paths
import plot_interactions
import plot_learning
import plot_linewidth
import plot_mas
import plot_parity
import plot_paths
import plot_potential
import plot_rates
import plot_relaxation
import plot_scale
import plot_spectra
import plot_summary
import plot_surroundings
import pytest
from insilico_nmr import style
from insilico_nmr.errors import InputError
from insilico_nmr.fits import decay_curve
from insilico_nmr.literature import LITERATURE, for_figure
from insilico_nmr.measured import read_echo_fits, read_echoes, read_spectra
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from insilico_nmr.tables import moved_log_sd, only_errors
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer
from programs import run

SCRIPTS = Path(__file__).parents[2] / "scripts"
COLD_K = [150.0, 200.0, 300.0]


def synthetic_histograms() -> pd.DataFrame:
    edges = np.linspace(0, 1, 6)
    rows = {"bin_left": edges[:-1], "bin_right": edges[1:], "count": [1, 5, 9, 4, 0]}
    return pd.concat([pd.DataFrame({"quantity": name, **rows}) for name in ("abs_V_zz_au", "nearest_X_Y_A")])


def synthetic_parity() -> list[pd.DataFrame]:
    rng = np.random.default_rng(1)
    metrics = pd.DataFrame(
        {
            "quantity": ["component MAE", "|C_Q| MAE", "eta MAE, weighted by |V_zz|", "z axis, median angle"],
            "unit": ["a.u.", "kHz", "1", "deg"],
            "model": [0.001, 9.0, 0.1, 5.0],
            "linear_model": [0.005, 30.0, 0.2, 10.0],
            "mean_model": [0.01, 50.0, 0.2, 50.0],
        }
    )
    truth = rng.normal(size=60)
    components = pd.DataFrame({"component": "xy", "dft_au": truth, "model_au": truth + 0.1 * rng.normal(size=60)})
    eta = rng.uniform(size=60)
    parameters = pd.DataFrame(
        {"CQ_dft_kHz": 100 * truth, "CQ_model_kHz": 101 * truth, "eta_dft": eta, "eta_model": eta}
    )
    return [metrics, components, parameters.assign(z_axis_angle_deg=rng.uniform(0, 20, 60))]


def synthetic_rates() -> pd.DataFrame:
    """One class A-B of E 0.3 and 0.2 eV, seen in MD at 600 and 800 K, but never from B at 600 K."""
    rows = []
    for start, end, energy in (("A", "B", 0.3), ("B", "A", 0.2)):
        for T in (*COLD_K, 600.0):
            k = 1e12 * np.exp(-energy / BOLTZMANN_EV_PER_K / T)
            half = 1.96 * 0.02 / BOLTZMANN_EV_PER_K / T
            rows.append(["AB", start, end, T, None, None, k, k * np.exp(-half), k * np.exp(half), "model"])
            rows.append(["AB", start, end, T, None, None, 2 * k, k, 4 * k, "neb"])
        rows.append(["AB", start, end, 800.0, 9, 1e-9, 9e9, 4.1e9, 17.1e9, "md"])
    rows.append(["AB", "A", "B", 600.0, 4, 1e-9, 4e9, 1.1e9, 10.2e9, "md"])
    rows.append(["AB", "B", "A", 600.0, 0, 1e-9, 0.0, 3e9, 3e9, "md"])
    rows[-1][7] = 0.0
    return pd.DataFrame(rows, columns=[*plot_rates.KEYS, *plot_rates.NUMBERS, "origin"])


def synthetic_echoes() -> tuple[pd.DataFrame, pd.DataFrame]:
    """1/τ of 1e1, 1e3 and 1e8 1/s; the last is faster than 1/t_p, and the curves at 100 µs and 200 K are flagged."""
    time = np.concatenate([[0.0], np.geomspace(1e-9, 1e2, 60)])
    curves, fits = [], []
    for T, rate in zip(COLD_K, (1e1, 1e3, 1e8), strict=True):
        for evolution in (10.0, 100.0):
            flag = "jumps_during_evolution" if (T, evolution) == (200.0, 100.0) else "ok"
            common = {"temperature_K": T, "evolution_time_us": evolution, "shift": 0}
            signal = decay_curve(time, 0.15, 1 / rate, 0.8, 0.05)
            curve = pd.DataFrame({"mixing_time_s": time, "S2": signal, "S2_normalised_se_sampling": 1e-3})
            errors = {"S2_normalised_sd_model": 2e-3, "S2_normalised_sd_dft": np.nan}
            curve = curve.assign(**common, **errors, flag=flag)
            curves.append(curve.assign(continued=time > 1e-2))
            fit = (
                dict.fromkeys(plot_echo.FITS, 0.01) | common | {"t1q_s": np.nan, "rate_per_s": rate, "tau_s": 1 / rate}
            )
            fit |= {"rate_ci_low_per_s": 0.9 * rate, "rate_ci_high_per_s": 1.1 * rate, "exit_rate_per_s": 3 * rate}
            fit |= {"beta": 0.8, "amplitude": 0.15, "plateau": 0.05}
            fit |= {"rate_sd_model_per_s": 0.1 * rate, "rate_sd_dft_per_s": np.nan}
            fit |= {"complete": 1, "slow_amplitude": 0.0}
            fits.append(fit | {"observable": "spin_alignment_echo", "flag": flag, "status": "ok"})
    return pd.concat(curves), pd.DataFrame(fits)


def synthetic_spectra() -> pd.DataFrame:
    x = np.linspace(-100, 100, 401)
    parts = []
    for T in COLD_K:
        columns = {name: np.exp(-((x / w) ** 2)) for name, w in zip(plot_spectra.MOTIONS, (50, 20, 5), strict=True)}
        for motion, names in plot_spectra.SPREADS.items():
            columns |= dict.fromkeys(names, 0.1 * columns[motion])
        parts.append(pd.DataFrame({"temperature_K": T, "frequency_kHz": x, **columns}))
    return pd.concat(parts)


def synthetic_mas() -> pd.DataFrame:
    """A static spectrum and one spinning at 20 kHz, with lines there; the fast limit is one line."""
    x = np.linspace(-100, 100, 801)
    parts = []
    for rate, lines in ((0.0, np.linspace(-50, 50, 101)), (20.0, [-40, -20, 0, 20, 40])):
        rigid = sum(np.exp(-((x - line) ** 2)) / (1 + line**2 / 100) for line in lines)
        columns = {"rigid_per_kHz": rigid, "fast_per_kHz": 2 * np.exp(-(x**2))}
        columns |= dict.fromkeys(plot_mas.SPREADS, 0.02)
        fixed = {"temperature_K": 300.0, "field_T": 9.4, "half_decay_s": 1.5e-7, "spin_rate_kHz": rate}
        parts.append(pd.DataFrame({**fixed, "frequency_kHz": x, **columns}))
    return pd.concat(parts)


def synthetic_diffusion() -> pd.DataFrame:
    """D = 1e-8 m²/s exp(−0.25 eV/k_BT), known to 10 %; one MD row without a positive value, one without interval."""
    rows = []
    for T in COLD_K:
        D = 1e-8 * np.exp(-0.25 / BOLTZMANN_EV_PER_K / T)
        row = {"temperature_K": T, "origin": "kmc", "shift": 0, "D_tracer_m2_per_s": D, "diffusive": 1}
        row |= {"arrhenius": int(T > 180)}
        row |= {"ci_low_m2_per_s": D / 1.1, "ci_high_m2_per_s": D * 1.1, "exit_rate_per_s": 1e20 * D}
        row |= {"conductivity_S_per_cm": 1e9 * D / T}
        row |= {"conductivity_ci_low_S_per_cm": 9e8 * D / T, "conductivity_ci_high_S_per_cm": 1.1e9 * D / T}
        rows.append(row)
    rows.append({"temperature_K": 600.0, "origin": "md", "shift": 0, "D_tracer_m2_per_s": 8e-11, "diffusive": 1})
    rows.append({"temperature_K": 500.0, "origin": "md", "shift": 0, "D_tracer_m2_per_s": -1e-12, "diffusive": 0})
    return pd.DataFrame(rows)


def synthetic_linewidth() -> list[pd.DataFrame]:
    """Rigid, half narrowed and narrow; the rate model moved halves the last two; relaxation of one temperature."""
    widths = pd.DataFrame({"temperature_K": COLD_K, "fwhm_Hz": [4e3, 2e3, 1.0], "rigid_fwhm_Hz": 4e3, "complete": 1})
    widths = widths.assign(shift=0, se_sampling_Hz=0.01 * widths["fwhm_Hz"])
    moved = widths.iloc[1:].assign(shift=1, fwhm_Hz=widths["fwhm_Hz"].iloc[1:] / 2)
    rate = {"temperature_K": 300.0, "field_T": 4.7, "shift": 0, "rate_per_s": 5.0, "valid": 1, "quantity": "R2_central"}
    rate["complete"] = 1
    return [pd.concat([widths, moved]), pd.DataFrame([rate, rate | {"quantity": "R1"}])]


def synthetic_couplings() -> pd.DataFrame:
    """Two orbits, one with V_zz of the other sign; motion takes a tenth of the couplings."""
    rows = []
    for orbit, coupling in (("A", 300.0), ("B", -100.0)):
        for average, part in (("still", 1.0), ("thermal", 0.9)):
            row = {"orbit": orbit, "average": average, "C_Q_kHz": part * coupling, "eta": 0.2}
            row |= {"C_Q_sd_model_kHz": 3 / 1.96, "C_Q_se_sampling_kHz": 4 / 1.96, "C_Q_sd_dft_kHz": 10 / 1.96}
            rows += [row | {"temperature_K": T, "eta_sd_model": 0.3, "eta_se_sampling": np.nan} for T in COLD_K]
    return pd.DataFrame(rows)


def synthetic_histories() -> pd.DataFrame:
    """Vibrations gone after the first point, the slow part on 10 ps and 3 ps."""
    parts = []
    for T, slow in ((500.0, 10.0), (700.0, 3.0)):
        time = 0.1 * np.arange(100)
        columns = {"direct_au2": np.where(time > 0, 0.3, 1.0) * np.exp(-time / slow)}
        for number, way in enumerate(list(plot_histories.WAYS)[:-1]):
            columns[f"{way}_au2"] = (0.2 - 0.01 * number) * np.exp(-time / slow)
        columns |= {f"{way}_se_au2": 0.01 for way in plot_histories.WAYS}
        parts.append(pd.DataFrame({"temperature_K": T, "time_ps": time, **columns}))
    return pd.concat(parts)


def synthetic_interactions() -> list[pd.DataFrame]:
    """Pairs of 100 and 40 meV at 3 and 5 Å; the gas with interactions is MD's, that of exclusion is random."""
    errors = {"energy_se_sampling_eV": 0.003, "energy_sd_model_eV": 0.004}
    energies = pd.DataFrame({"kind": ["site", "pair", "pair"], "name": ["A", "near", "far"],
                             "distance_A": [np.nan, 3.0, 5.0], "energy_eV": [0, 0.10, 0.04],
                             "coulomb_eV": [np.nan, 0.09, 0.05], **errors})  # fmt: skip
    energy = np.linspace(0, 0.4, 9)
    parity = pd.DataFrame({"round": [0] * 4 + [1] * 5, "energy_eV": energy, "predicted_eV": energy + 0.02})
    cutoffs = pd.DataFrame({"cutoff_A": [3.5, 5.5], "error_eV": [0.06, 0.02], "spread_eV": 0.12, "chosen": [1, 0]})
    md = {"distance_A": [3.0, 5.0], "md": [0.6, 0.9], "md_se": 0.02, "interacting": [0.6, 0.9], "exclusion": 1.0}
    return [energies, parity, cutoffs, pd.DataFrame({"temperature_K": 600.0, "kind": "pair", "name": "ab", **md})]


def synthetic_paths() -> list[pd.DataFrame]:
    """At 200 K lines and echoes, at 300 K echoes alone; what frozen jumps give is a tenth higher."""
    time, axis = np.geomspace(1e-6, 1e-2, 10), np.linspace(-30, 30, 121)
    echo = {"evolution_time_us": 20.0, "mixing_time_s": time}
    errors = {f"intensity_{name}_per_kHz": 0.001 for name in ("se_sampling", "sd_model", "sd_dft")}
    of_echoes = {f"S2_{name}": 0.01 for name in ("se_sampling", "sd_model", "sd_dft")}
    decays = [
        {"temperature_K": T, "tensors": kind, "S2": value * np.exp(-100 * time), **of_echoes, **echo}
        for T in (200.0, 300.0)
        for kind, value in (("sites", 0.2), ("surroundings", 0.15))
    ]
    lines = [
        {"temperature_K": 200.0, "tensors": "sites", "experiment": name, "frequency_kHz": axis,
         "intensity_per_kHz": np.exp(-((axis / 15) ** 2)) / 30, **errors}
        for name in ("fid", "quadrupole_echo")
    ]  # fmt: skip
    others = [
        {"temperature_K": T, "frequency_kHz": axis, "exchange_per_kHz": np.exp(-((axis / 9) ** 2)) / 20} for T in COLD_K
    ]
    frozen = [{"temperature_K": T, "shift": 0, "S2": 0.22 * np.exp(-100 * time), **echo} for T in COLD_K]
    frozen += [part | {"shift": 1, "S2": 0.1 * time} for part in frozen]
    return [pd.concat(map(pd.DataFrame, rows)) for rows in (decays, lines, others, frozen)]


def synthetic_surroundings() -> list[pd.DataFrame]:
    """They add a fifth to all, and stay during the shorter evolution time alone; a model that was moved has other
    numbers."""
    time = np.concatenate([[0.0], np.geomspace(1e-9, 1e-2, 20)])
    curves, rates, echoes = [], [], []
    for T in COLD_K:
        decay = np.exp(-time * T * 1e3)
        whole = {"tensor_correlation_au2": 1.2 * decay, "tensor_correlation_by_surroundings_au2": 0.2 * decay}
        whole["tensor_correlation_se_sampling_au2"] = 0.01
        curves.append({"temperature_K": T, "shift": 0, "mixing_time_s": time, **whole})
        rate = {"rate_per_s": np.array([0.012, 0.006]) * T, "by_surroundings_per_s": np.array([0.002, 0.001]) * T}
        rate |= {name: 0.01 for name in ("se_sampling_per_s", "sd_model_per_s", "sd_dft_per_s")}
        fields = {"field_T": np.array([4.7, 9.4]), "larmor_MHz": np.array([77.8, 155.6])}
        rates.append({"temperature_K": T, "shift": 0, "quantity": "R1", "valid": 1, "complete": 1, **fields, **rate})
        for evolution, kind in ((10.0, "frozen"), (100.0, "averaged")):
            values = {"S2": 0.12 * decay, "S2_by_surroundings": 0.02 * decay, "surroundings": kind}
            echoes.append(
                {"temperature_K": T, "shift": 0, "evolution_time_us": evolution, "mixing_time_s": time, **values}
            )
    tables = [pd.concat(map(pd.DataFrame, rows)) for rows in (curves, rates, echoes)]
    sizes = ["tensor_correlation_au2", "rate_per_s", "S2"]
    moved = [table.assign(shift=1, **{size: 9.0}) for table, size in zip(tables, sizes, strict=True)]
    return [pd.concat(both) for both in zip(tables, moved, strict=True)]


def synthetic_barriers() -> pd.DataFrame:
    """Two hops of one class that lose 0.04 and 0.02 eV from 32 to 64 atoms, and one with a path in the smaller only."""
    rows = []
    for arrangement, (small, large) in enumerate(((0.30, 0.26), (0.20, 0.18), (0.50, np.nan))):
        for cells, atoms, value in (("1x1x1", 32, small), ("1x1x2", 64, large)):
            status = "converged" if value == value else "no minimum"
            rows.append(["A-B:3.0", "A", "B", arrangement, cells, atoms, status, value, value - 0.1])
    columns = ["class", "from", "to", "arrangement", "cells", "atoms", "status", "forward_eV", "backward_eV"]
    return pd.DataFrame(rows, columns=columns)


def synthetic_hop_paths() -> pd.DataFrame:
    """One path of five images, the potential twice as high as DFT."""
    dft = np.array([0.0, 0.1, 0.2, 0.15, 0.1])
    columns = {"image": range(5), "length_A": 0.6 * np.arange(5), "dft_eV": dft, "potential_eV": 2 * dft}
    return pd.DataFrame({"path": 0, "class": "A-B:3.0", **columns, "potential_sd_eV": 0.01, "held_out_eV": 2 * dft})


def synthetic_potential() -> list[pd.DataFrame]:
    """Parabolas with minima at 20 (DFT) and 19.5 Å³, stresses of DFT 1 GPa too low; one bond, three temperatures."""
    volumes = np.linspace(18, 22, 7)
    parts = []
    for source, minimum, offset in (("dft", 20.0, -1.0), ("member 0", 19.5, 0.0), ("member 1", 19.6, 0.0)):
        energy, pressure = 0.005 * (volumes - minimum) ** 2, -1.602 * (volumes - minimum) + offset
        columns = {"volume_A3_per_atom": volumes, "energy_eV_per_atom": energy, "pressure_GPa": pressure}
        parts.append(pd.DataFrame({"source": source, **columns}))
    names = ["volume at the minimum", "bulk modulus at the minimum", "force error, groups never seen"]
    numbers = {"dft": [20.0, 32.0, np.nan], "potential": [19.5, np.nan, 0.1], "members_sd": [0.05, np.nan, np.nan]}
    metrics = pd.DataFrame({"quantity": names, "unit": ["A^3/atom", "GPa", "eV/A"], **numbers})
    pair = {"centre": "S", "neighbour": "P"}
    edges = np.arange(1.8, 2.4, 0.1)
    bins = {"bin_left_A": edges[:-1], "bin_right_A": edges[1:], "density_per_A": [1, 4, 3, 1, 1.0]}
    sources = [("labelled", np.nan), *[("md", T) for T in (500.0, 600.0, 700.0)]]
    histograms = [pd.DataFrame({**pair, "source": source, "temperature_K": T, **bins}) for source, T in sources]
    sources += [("dft_at_rest", np.nan), ("potential_at_rest", np.nan)]
    means = pd.DataFrame([{**pair, "source": source, "temperature_K": T, "mean_A": 2.05} for source, T in sources])
    means.loc[means["source"] == "potential_at_rest", "mean_A"] = 2.11
    return [pd.concat(parts), metrics, pd.concat(histograms), means]


TABLES = {
    plot_paths: synthetic_paths,
    plot_surroundings: synthetic_surroundings,
    plot_dataset: lambda: [synthetic_histograms()],
    plot_parity: synthetic_parity,
    plot_rates: lambda: [synthetic_rates()],
    plot_echo: lambda: list(synthetic_echoes()),
    plot_spectra: lambda: [synthetic_spectra()],
    plot_mas: lambda: [synthetic_mas()],
    plot_diffusion: lambda: [synthetic_diffusion()],
    plot_linewidth: synthetic_linewidth,
    plot_couplings: lambda: [synthetic_couplings()],
    plot_histories: lambda: [synthetic_histories()],
    plot_barriers: lambda: [synthetic_barriers()],
    plot_hop_paths: lambda: [synthetic_hop_paths()],
    plot_potential: synthetic_potential,
    plot_interactions: synthetic_interactions,
}
every_figure = pytest.mark.parametrize("module", TABLES, ids=lambda module: module.__name__)
NO_LITERATURE = for_figure(None, "", "")


def written(tables: list[pd.DataFrame], folder: Path) -> list[Path]:
    paths = [folder / f"synthetic_{number}.csv" for number in range(len(tables))]
    for table, path in zip(tables, paths, strict=True):
        table.to_csv(path, index=False)
    return paths


def drawn(figure, gid: str) -> list:
    """Lines of a name in all axes; of error bars the points alone, without caps."""
    bars = [bar.lines[0] for axes in figure.axes for bar in axes.containers if isinstance(bar, ErrorbarContainer)]
    lines = [line for axes in figure.axes for line in axes.lines if line.get_gid() == gid]
    return [bar for bar in bars if bar is not None and bar.get_gid() == gid] or lines


@every_figure
def test_equal_tables_give_equal_bytes(module, tmp_path, monkeypatch):
    monkeypatch.setitem(style.SETTINGS, "savefig.dpi", 60)  # quicker
    paths = written(TABLES[module](), tmp_path)
    bytes_of = []
    for turn in (1, 2):
        pdf, png = tmp_path / f"{turn}.pdf", tmp_path / f"{turn}.png"
        tables = module.read(*paths)
        tables = list(tables) if isinstance(tables, tuple) else [tables]
        if module in (plot_rates, plot_diffusion, plot_couplings):
            tables.append(NO_LITERATURE)
        style.save(module.draw(*tables), pdf, png)
        bytes_of.append((pdf.read_bytes(), png.read_bytes()))
    assert bytes_of[0] == bytes_of[1]
    assert bytes_of[0][0].startswith(b"%PDF")
    assert b"Date" not in bytes_of[0][0]


@every_figure
def test_missing_columns_and_empty_tables_are_refused_by_name(module, tmp_path):
    tables = TABLES[module]()
    columns = {plot_dataset: "count", plot_parity: "model", plot_echo: "S2", plot_spectra: "rigid_per_kHz"}
    columns[plot_interactions] = "energy_eV"
    columns |= {plot_barriers: "atoms", plot_hop_paths: "dft_eV"}
    columns[plot_potential] = "pressure_GPa"
    column = columns.get(module, "temperature_K")
    paths = written([tables[0].drop(columns=column), *tables[1:]], tmp_path)
    with pytest.raises(InputError, match=rf"synthetic_0\.csv: column {column} is missing"):
        module.read(*paths)
    paths = written([tables[0].iloc[:0], *tables[1:]], tmp_path)
    with pytest.raises(InputError, match=r"synthetic_0\.csv: the table has no rows"):
        module.read(*paths)
    broken = tables[0].copy()
    broken[column] = broken[column].astype(object)
    broken.iloc[0, broken.columns.get_loc(column)] = "many"
    with pytest.raises(InputError, match=f"synthetic_0.csv: row 2 has {column} = many"):
        module.read(*written([broken, *tables[1:]], tmp_path))


def test_a_script_alone_writes_both_files_and_names_what_is_wrong(tmp_path, monkeypatch):
    (path,) = written([synthetic_histograms()], tmp_path)
    command = [str(SCRIPTS / "plot_dataset.py"), str(path), "--out-pdf", str(tmp_path / "s.pdf")]
    command += ["--out-png", str(tmp_path / "s.png")]
    monkeypatch.setattr(sys, "argv", command)
    plot_dataset.main()
    assert {"s.pdf", "s.png"} == {file.name for file in tmp_path.iterdir() if file.suffix != ".csv"}
    path.write_text("")
    failed = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert failed.returncode == 2
    assert "synthetic_0.csv: not a CSV table" in failed.stderr


def test_points_without_value_are_not_drawn_but_counted_on_stderr(tmp_path, capsys):
    metrics, components, parameters = synthetic_parity()
    components.loc[[3, 5], "model_au"] = np.nan
    read = plot_parity.read(*written([metrics, components, parameters], tmp_path))
    assert len(read[1]) == 58
    assert "2 of 60 components have no" in capsys.readouterr().err


def test_cells_are_compared_by_hops_that_have_a_barrier_in_each(tmp_path):
    figure = plot_barriers.draw(plot_barriers.read(*written([synthetic_barriers()], tmp_path)))
    lines = drawn(figure, "hop")
    assert len(lines) == 8  # two hops, there and back, in both panels
    mean = next(bar for axes in figure.axes for bar in axes.containers if isinstance(bar, ErrorbarContainer))
    np.testing.assert_allclose(mean.lines[0].get_ydata().astype(float), [0.03, 0.0], atol=1e-12)
    bar = mean.lines[2][0].get_segments()[0]
    np.testing.assert_allclose(bar[:, 1], [0.02, 0.04], atol=1e-12)
    lost = synthetic_barriers().query("cells == '1x1x1' or arrangement > 1")
    with pytest.raises(InputError, match="no hop has a barrier in every cell"):
        plot_barriers.read(*written([lost], tmp_path))


def test_energies_along_a_path_stand_over_its_length(tmp_path):
    figure = plot_hop_paths.draw(plot_hop_paths.read(*written([synthetic_hop_paths()], tmp_path)))
    (dft,), (potential,) = (drawn(figure, name) for name in ("dft", "potential"))
    np.testing.assert_allclose(dft.get_xdata(), 0.6 * np.arange(5))
    np.testing.assert_allclose(potential.get_ydata().astype(float), 2 * dft.get_ydata())
    assert not drawn(figure, "unseen")  # the potential itself has never seen the path
    learnt = synthetic_hop_paths().assign(held_out_eV=3 * dft.get_ydata())
    (unseen,) = drawn(plot_hop_paths.draw(learnt), "unseen")
    np.testing.assert_allclose(unseen.get_ydata(), 3 * dft.get_ydata())
    assert not drawn(plot_hop_paths.draw(learnt.assign(held_out_eV=np.nan)), "unseen")


def test_paths_of_a_potential_without_a_committee_and_more_than_eight_are_drawn(tmp_path):
    table = pd.concat([synthetic_hop_paths().assign(path=number, potential_sd_eV=np.nan) for number in range(10)])
    figure = plot_hop_paths.draw(plot_hop_paths.read(*written([table], tmp_path)))
    assert len(drawn(figure, "dft")) == len(drawn(figure, "potential")) == 10


def test_a_direction_whose_fit_failed_counts_as_much_as_the_largest_of_the_others():
    rows = [(300, 0, 1.0), (300, 1, np.e), (300, 2, np.nan), (300, 3, np.e**0.5), (400, 0, 1.0), (400, 1, np.nan)]
    table = pd.DataFrame(rows, columns=["temperature_K", "shift", "rate"])
    warm, hot = moved_log_sd(table, ["temperature_K"], "rate")
    assert warm == pytest.approx(1.5)  # 1² + 1² + 0.5²
    assert np.isnan(hot)


def test_zero_counts_are_upper_limits_and_hot_points_are_open(tmp_path):
    (path,) = written([synthetic_rates()], tmp_path)
    figure = plot_rates.draw(plot_rates.read(path), NO_LITERATURE, mark_above_K=750)
    limits = drawn(figure, "upper_limit")
    assert {float(line.get_ydata()[0]) for line in limits} == {3e9}  # 3/exposure, in both panels
    assert len(limits) == 2
    arrows = [text for axes in figure.axes for text in axes.texts if text.get_text() == "" and text.arrow_patch]
    assert len(arrows) == 2
    for arrow in arrows:
        assert arrow.xy[1] < arrow.xyann[1]  # downwards
    points = {float(x) for line in drawn(figure, "md") for x in line.get_xdata()}
    hot = {float(x) for line in drawn(figure, "md_open") for x in line.get_xdata()}
    assert max(hot) < 1000 / 750 < min(points)
    assert {line.get_markerfacecolor() for line in drawn(figure, "md_open")} == {"white"}


def test_model_lines_go_through_the_rates_of_the_table(tmp_path):
    (path,) = written([synthetic_rates()], tmp_path)
    figure = plot_rates.draw(plot_rates.read(path), NO_LITERATURE)
    line = drawn(figure, "model")[0]
    x, y = line.get_xdata(), line.get_ydata()
    energies = -np.diff(np.log(y)) / np.diff(x) * BOLTZMANN_EV_PER_K * 1000
    assert np.allclose(energies, energies[0])
    assert min(abs(energies[0] - 0.3), abs(energies[0] - 0.2)) < 1e-9


def test_intervals_of_rates_can_be_chosen(tmp_path):
    (path,) = written([synthetic_rates()], tmp_path)
    table = plot_rates.read(path)
    for kinds, bars, bands in ((("sampling", "rates"), True, True), (("sampling",), True, False), ((), False, False)):
        figure = plot_rates.draw(plot_rates.only_intervals(table, kinds), NO_LITERATURE)
        axes = figure.axes[0]
        lengths = [np.ptp(bar.get_segments()[0][:, 1]) for part in axes.containers for bar in part.lines[2]]
        assert (max(lengths) > 0) == bars
        edges = [part.get_paths()[0].vertices for part in axes.collections if isinstance(part, PolyCollection)]
        widths = [np.ptp(np.log(edge[edge[:, 0] == edge[0, 0], 1])) for edge in edges]  # at the left end
        assert (min(widths) > 0.01, max(widths) > 1e-6) == (bands, bands)
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert any("95 % band" in label for label in labels) == bands
        assert any("MD, 95 %" in label for label in labels) == bars
        assert len(drawn(figure, "upper_limit")) == 2


def test_measured_values_are_drawn_in_their_units_and_energies_as_slopes(tmp_path):
    path = tmp_path / "synthetic_literature.csv"
    path.write_text(
        ",".join(LITERATURE)
        + "\nX,p,,jump_rate,2.5,0.2,1/ms,250,SAE,r1,\nX,p,,activation_energy,0.30,,eV,,dc,r2,"
        + "\nX,p,,diffusion_coefficient,9e-10,,cm2/s,298,PFG,r3,\n"
    )
    measured = for_figure(path, "X", "p")
    (table,) = written([synthetic_rates()], tmp_path)
    figure = plot_rates.draw(plot_rates.read(table), measured)
    (guide,) = drawn(figure, "slope_guide")
    slope = np.diff(np.log(guide.get_ydata()))[0] / np.diff(guide.get_xdata())[0]
    assert -slope * BOLTZMANN_EV_PER_K * 1000 == pytest.approx(0.30)
    (table,) = written([synthetic_diffusion()], tmp_path)
    (star,) = drawn(plot_diffusion.draw(plot_diffusion.read(table), measured), "measured")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == pytest.approx((1000 / 298, 9e-14))


def test_the_summary_has_all_rates_on_one_scale(tmp_path):
    """Jumps of 3 Å: 6D/l² of a D is a rate; a measured D becomes one, a measured rate is one."""
    path = tmp_path / "synthetic_literature.csv"
    path.write_text(
        ",".join(LITERATURE)
        + "\nX,p,,jump_rate,2.5,0.2,1/ms,250,SAE,r1,\nX,p,,diffusion_coefficient,9e-10,,cm2/s,298,PFG,r3,"
        + "\nX,p,,diffusion_coefficient,1e-10,,cm2/s,298,PFG,r4,to be confirmed\n"
    )
    diffusion = synthetic_diffusion().assign(mean_jump_length_A=3.0)
    _curves, fits, tensor_fits = plot_echo.read(*written(list(synthetic_echoes()), tmp_path))
    axes = style.new_figure(style.SINGLE_MM, 80).subplots()
    points = {"R1": [(5.0, 1e9)], "line": []}
    plot_summary.draw_rates(axes, diffusion, fits, tensor_fits, points, for_figure(path, "X", "p"))
    lines = {line.get_label(): line for line in axes.lines}
    simulated = diffusion[diffusion["origin"] == "kmc"]
    np.testing.assert_allclose(lines["mean exit rate"].get_ydata(), simulated["exit_rate_per_s"])
    of_diffusion = lines["6D/l², kinetic Monte Carlo"]
    np.testing.assert_allclose(of_diffusion.get_ydata(), 6 * simulated["D_tracer_m2_per_s"] / 9e-20)
    np.testing.assert_allclose(of_diffusion.get_xdata(), 1000 / simulated["temperature_K"])
    assert lines["6D/l², molecular dynamics"].get_ydata().tolist() == pytest.approx([6 * 8e-11 / 9e-20])
    stars = dict(zip(*lines["measured"].get_data(), strict=True))
    assert stars == pytest.approx({4.0: 2500.0, 1000 / 298: 6 * 9e-14 / 9e-20})
    usable = fits[(fits["evolution_time_us"] == 10.0) & (fits["rate_per_s"] < 1e5)]
    np.testing.assert_allclose(lines["1/τ of the echo"].get_ydata(), usable["rate_per_s"])
    assert lines["R1"].get_data() == ([5.0], [1e9])


def synthetic_exchange(part: float, sampling: float, rates: float) -> pd.DataFrame:
    """A ridge on the diagonal and one beside it."""
    axis = np.linspace(-50, 50, 21)
    first, second = (grid.ravel() for grid in np.meshgrid(axis, axis))
    table = pd.DataFrame({"first_kHz": first, "second_kHz": second, "temperature_K": 250.0, "mixing_time_s": 1e-3})
    table["intensity_per_kHz2"] = np.exp(-((first - second) ** 2) / 50) + 0.3 * np.exp(
        -((first + 2 * second) ** 2) / 50
    )
    return table.assign(elsewhere=part, elsewhere_se_sampling=sampling, elsewhere_sd_rates=rates)


@pytest.mark.parametrize(
    ("errors", "title"),
    [
        ((0.21, 0.03, 0.04), "1 ms, 21 ± 5 % changed"),
        ((0.02, 0.0, 0.06), "1 ms, 2 %, to a factor of 4.6, changed"),  # no part is negative
        ((0.21, np.nan, np.nan), "1 ms, 21 % changed"),
    ],
)
def test_exchange_is_drawn_as_it_is_with_the_part_that_changed(tmp_path, errors, title):
    (path,) = written([synthetic_exchange(*errors)], tmp_path)
    panel = plot_exchange.draw(plot_exchange.read(path)).axes[0]
    assert panel.get_title() == title
    (mesh,) = panel.collections
    grid = np.asarray(mesh.get_array()).reshape(21, 21)
    table = synthetic_exchange(*errors)
    # Before mixing to the right, after mixing upwards: (40, −20) kHz is on the second ridge, (−20, 40) on none.
    at = {(row.first_kHz, row.second_kHz): row.intensity_per_kHz2 for row in table.itertuples()}
    assert grid[6, 18] == pytest.approx(at[40.0, -20.0])
    assert grid[6, 18] > 100 * grid[18, 6]


def test_rates_of_unknown_origin_are_refused(tmp_path):
    (path,) = written([synthetic_rates().replace({"origin": {"neb": "guess"}})], tmp_path)
    with pytest.raises(InputError, match="column origin has 'guess'"):
        plot_rates.read(path)


def test_curves_that_are_no_echoes_are_named_and_not_drawn(tmp_path):
    curves, fits, tensor_fits = plot_echo.read(*written(list(synthetic_echoes()), tmp_path))
    assert plot_echo.best_evolution_time(fits) == 10.0
    # A curve without a fit has no rate to show.
    lost = fits.assign(rate_per_s=fits["rate_per_s"].mask(fits["evolution_time_us"] == 10.0))
    assert plot_echo.best_evolution_time(lost) == 100.0
    figure = plot_echo.draw(curves, fits, tensor_fits)
    assert [line.get_label() for line in drawn(figure, "echo")] == ["150 K", "200 K"]
    for line in drawn(figure, "echo"):
        assert line.get_ydata()[0] == pytest.approx(1, abs=1e-3)  # relative to t_m = 0
        assert line.get_xdata().min() > 0
    note = figure.get_supxlabel()
    assert "10, 100 µs: not drawn: decay faster than 1/t$_p$: 300 K" in note
    assert [line.get_fillstyle() for line in drawn(figure, "echo_rate")].count("bottom") == 1
    assert len(drawn(figure, "echo_rate")) == 4


def test_measured_decays_choose_the_evolution_time_start_at_one_and_are_fitted(tmp_path):
    """Two decays of 1/τ = 20 1/s and a plateau of a half, in any order, and one of three points, which has no fit."""
    tables = plot_echo.read(*written(list(synthetic_echoes()), tmp_path))
    time = np.geomspace(1e-4, 1e1, 20)[::-1]
    parts = [
        pd.DataFrame({"temperature_K": T, "evolution_time_us": evolution, "mixing_time_s": time})
        for T, evolution in ((150.0, 100.0), (180.0, 100.0), (140 + 1 / 3, 100 / 3))
    ]
    parts[1] = parts[1].iloc[:3]
    table = pd.concat(parts).assign(S2=lambda rows: 21 * (1 + np.exp(-20 * rows["mixing_time_s"])))
    table.to_csv(tmp_path / "synthetic_measured.csv", index=False)
    measured = read_echoes(tmp_path / "synthetic_measured.csv")
    assert run("fit_measured_echoes", tmp_path / "synthetic_measured.csv", "--out", tmp_path / "fits.csv") == (0, "")
    fits = read_echo_fits(tmp_path / "fits.csv")
    assert fits["status"].str.contains("at least 6 points").tolist() == [False, False, True]
    figure = plot_echo.draw(*tables, measured=measured, measured_fits=fits)
    decays, rates, plateaus = figure.axes
    assert "t$_p$ = 100 µs" in decays.get_title()
    points = [line for line in decays.lines if line.get_gid() == "measured"]
    assert len(points) == 2
    np.testing.assert_allclose(points[0].get_xdata(), np.sort(time))
    np.testing.assert_allclose(points[0].get_ydata(), (1 + np.exp(-20 * np.sort(time))) / (1 + np.exp(-2e-3)))
    (line,) = drawn(figure, "measured_fit")
    assert line.get_ydata()[[0, -1]] == pytest.approx([1, 0.5], abs=2e-3)
    stars = [line for axes in (rates, plateaus) for line in axes.lines if line.get_marker() == "*"]
    assert [line.get_ydata()[0] for line in stars] == pytest.approx([20, 20, 0.5, 0.5], rel=1e-2)
    for star, axes in zip(stars, (rates, rates, plateaus, plateaus), strict=True):
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert left < star.get_xdata()[0] < right
        assert bottom < star.get_ydata()[0] < top
    note = figure.get_supxlabel()
    assert "Measured at t$_p$ = 33.3333 µs, which is not simulated: decay not drawn" in note
    assert "Measured at 180 K, t$_p$ = 100 µs: no fit, decay of shape (3,)" in note
    assert not drawn(plot_echo.draw(*tables), "measured")


def test_points_of_one_mixing_time_are_averaged(tmp_path):
    table = pd.DataFrame({"temperature_K": 150.0, "evolution_time_us": 10.0, "mixing_time_s": [0.2, 0.1, 0.1]})
    table.assign(S2=[1.0, 3.0, 5.0]).to_csv(tmp_path / "synthetic_measured.csv", index=False)
    found = read_echoes(tmp_path / "synthetic_measured.csv")
    assert found["mixing_time_s"].tolist() == [0.1, 0.2]
    assert found["normalised"].tolist() == [1.0, 0.25]


def test_measured_spectra_are_drawn_over_the_nearest_with_equal_area(tmp_path, capsys):
    x = np.linspace(-90, 90, 361)
    tables = [
        pd.DataFrame({"temperature_K": T, "frequency_kHz": x, "intensity": 1e6 * np.exp(-((x / 20) ** 2))})
        for T in (154.0, 240.0)
    ]
    pd.concat(tables).to_csv(tmp_path / "synthetic_measured.csv", index=False)
    measured = read_spectra(tmp_path / "synthetic_measured.csv")
    table = plot_spectra.read(*written([synthetic_spectra()], tmp_path))
    points = drawn(plot_spectra.draw(table, measured), "measured")
    assert len(points) == 2  # satellites and centre
    y = points[1].get_ydata()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-6)
    assert y.max() == pytest.approx(1 / (20 * np.sqrt(np.pi)), rel=1e-4)
    assert "measured at 240 K is not drawn" in capsys.readouterr().err
    near = measured.assign(temperature_K=measured["temperature_K"].map({154.0: 147.0, 240.0: 151.0}))
    found = plot_spectra.rows_of_measured(near, [150.0, 300.0])
    assert {row: spectrum["temperature_K"].iloc[0] for row, spectrum in found.items()} == {150.0: 151.0}


@pytest.mark.parametrize(
    ("reader", "column", "value", "message"),
    [
        (read_echoes, "mixing_time_s", 0.0, "mixing_time_s = 0; expected a positive number"),
        (read_echoes, "S2", -1.0, "150 K and t_p = 10 µs begins with S2 = -1"),
        (read_echoes, "S2", np.nan, "S2 = nan; expected a number"),
        (read_spectra, "intensity", -1.0, "150 K has the area -1; expected a positive one"),
        (read_spectra, "temperature_K", -150.0, "temperature_K = -150; expected a positive number"),
    ],
)
def test_measured_curves_that_mean_nothing_are_refused(tmp_path, reader, column, value, message):
    table = pd.DataFrame({"temperature_K": 150.0, "evolution_time_us": 10.0, "mixing_time_s": [0.1, 0.2], "S2": 1.0})
    table = table.assign(frequency_kHz=[-0.5, 0.5], intensity=1.0)
    table[column] = value
    table.to_csv(tmp_path / "synthetic_measured.csv", index=False)
    with pytest.raises(InputError, match=re.escape(message)):
        reader(tmp_path / "synthetic_measured.csv")
    table.drop(columns=column).to_csv(tmp_path / "synthetic_measured.csv", index=False)
    with pytest.raises(InputError, match=f"column {column} is missing"):
        reader(tmp_path / "synthetic_measured.csv")


def test_fits_of_incomplete_curves_are_open_and_moved_models_are_not_drawn(tmp_path):
    curves, fits = synthetic_echoes()
    cold = fits["temperature_K"] == 150
    fits.loc[cold, "complete"] = 0
    fits.loc[cold, "status"] = "incomplete: 30 % of the decay lies beyond the last mixing time"
    moved = fits.assign(shift=1, rate_per_s=1.0)
    read = plot_echo.read(*written([curves, pd.concat([fits, moved])], tmp_path))
    figure = plot_echo.draw(*read)
    assert len(drawn(figure, "plateau_extrapolated")) == 2
    assert {line.get_markerfacecolor() for line in drawn(figure, "plateau_extrapolated")} == {"white"}
    assert len(drawn(figure, "plateau")) == 2
    rates = drawn(figure, "echo_rate")
    assert {float(line.get_xdata()[0]) for line in rates} == {1000 / 200}  # exactly at its temperature
    assert "curve incomplete, fit extrapolated (open): 150 K" in figure.get_supxlabel()


@pytest.mark.parametrize("correlation", [-0.95, 0.0, 0.6])
def test_the_error_of_a_plateau_is_the_scatter_of_amplitudes_and_plateaus_drawn_together(correlation):
    row = {"amplitude": 0.3, "amplitude_se": 0.01, "plateau": 0.1, "plateau_se": 0.008, "slow_amplitude": 0.05}
    row["amplitude_plateau_correlation"] = correlation
    both = correlation * row["amplitude_se"] * row["plateau_se"]
    covariance = [[row["amplitude_se"] ** 2, both], [both, row["plateau_se"] ** 2]]
    amplitude, plateau = np.random.default_rng(1).multivariate_normal([0.3, 0.1], covariance, 20000).T
    share, half = plot_echo.plateau(pd.Series(row))
    assert share == pytest.approx(0.1 / 0.45)
    assert half == pytest.approx(1.96 * np.std(plateau / (amplitude + plateau + 0.05)), rel=0.03)


def test_what_the_moved_rate_model_does_to_decays_is_drawn(tmp_path):
    """Rates three times as large: 1/τ is known within a factor 3^1.96, and a decay at time t by what it is at 3t."""
    curves, fits = synthetic_echoes()
    slower = curves.assign(shift=1, mixing_time_s=curves["mixing_time_s"] / 3)
    moved = fits.assign(shift=1, rate_per_s=3 * fits["rate_per_s"])
    tables = plot_echo.read(*written([pd.concat([curves, slower]), pd.concat([fits, moved])], tmp_path))
    plain, rows = tables[0], tables[1]
    assert rows["log_rate_sd_rates"].to_numpy() == pytest.approx(np.log(3))
    low, high = plot_echo.interval(rows.iloc[0])
    assert np.log(high / low) / 2 == pytest.approx(np.hypot(1.96 * np.log(3), np.log(1.1)), rel=0.01)
    one = plain[(plain["temperature_K"] == 150) & (plain["evolution_time_us"] == 10) & (plain["mixing_time_s"] > 0)]
    time, start = one["mixing_time_s"].to_numpy(), 0.2
    change = (decay_curve(time, 0.15, 0.1, 0.8, 0.05) - decay_curve(3 * time, 0.15, 0.1, 0.8, 0.05)) / start
    np.testing.assert_allclose(one["S2_normalised_sd_rates"], np.abs(change), atol=5e-3)
    assert only_errors(plain, ["sampling"])["S2_normalised_sd_rates"].isna().all()


def test_measured_widths_and_relaxation_rates_are_drawn_where_they_were_measured(tmp_path):
    path = tmp_path / "synthetic_literature.csv"
    path.write_text(
        ",".join(LITERATURE)
        + "\nX,p,,central_line_width,5.5,0.5,kHz,200,7Li line,r1,"
        + "\nX,p,7Li,spin_lattice_relaxation_rate,0.8,0.1,1/s,250,R1 in 4.7 T,r2,"
        + "\nX,p,31P,spin_lattice_relaxation_rate,0.2,0.1,1/s,250,R1 in 4.7 T,r2,\n"
    )
    widths, rates = (
        for_figure(path, "X", "p", [name], "7Li") for name in ("central_line_width", "spin_lattice_relaxation_rate")
    )
    tables = TABLES[plot_linewidth]()
    left, right = drawn(plot_linewidth.draw(*tables, widths), "measured")
    assert (left.get_xdata()[0], left.get_ydata()[0]) == pytest.approx((200, 5.5))
    assert (right.get_xdata()[0], right.get_ydata()[0]) == pytest.approx((5.0, 5500))
    row = dict.fromkeys(plot_relaxation.NUMBERS, 0.1) | {"quantity": "R1", "field_T": 4.7, "shift": 0, "valid": 1}
    table = pd.DataFrame([row | {"temperature_K": T, "rate_per_s": 1.0, "complete": 1} for T in COLD_K])
    (star,) = drawn(plot_relaxation.draw(table, measured=rates), "measured")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == pytest.approx((4.0, 0.8))
    assert star.get_label() == "R1 in 4.7 T: r2"
    of_nothing = pd.concat([table.assign(rate_per_s=0.0), table.assign(quantity="R2_satellites")])
    assert plot_relaxation.draw(of_nothing)  # along a common axis of all tensors nothing flips a spin


def test_the_lifetime_beside_line_widths_is_of_the_lowest_field_that_has_one():
    _, relaxation = TABLES[plot_linewidth]()
    low = relaxation.assign(field_T=relaxation["field_T"].min() / 2, valid=0)
    both = plot_linewidth.lifetime_widths(pd.concat([relaxation, low]))
    assert set(both["field_T"]) == {relaxation["field_T"].min()}
    pd.testing.assert_frame_equal(both, plot_linewidth.lifetime_widths(relaxation))


def test_errors_that_are_not_asked_for_are_not_drawn():
    """One kind after the other: the interval of R₁ is that of what is left."""
    row = {"temperature_K": 300.0, "field_T": 4.7, "quantity": "R1", "valid": 1, "rate_per_s": 10.0, "shift": 0}
    row |= {"se_sampling_per_s": 0.3, "sd_model_per_s": 0.4, "sd_dft_per_s": 2.0}
    table = pd.DataFrame([row, row | {"shift": 1, "rate_per_s": 12.0}])

    def log_sd(*kinds: str) -> float:
        (found,) = plot_relaxation.with_intervals(only_errors(table, kinds)).itertuples()
        return np.log(found.high / found.low) / (2 * 1.96)

    assert log_sd("sampling") == pytest.approx(0.03, rel=1e-3)
    assert log_sd("sampling", "model") == pytest.approx(0.05, rel=1e-2)
    assert log_sd("dft") == pytest.approx(0.2, rel=0.02)
    assert log_sd("rates") == pytest.approx(np.log(1.2))
    assert log_sd() == 0


def test_the_band_of_the_committee_starts_at_nothing(tmp_path):
    curves, fits = synthetic_echoes()
    curves["S2_normalised_sd_model"] = np.where(curves["mixing_time_s"] < 1e-6, 0.0, 0.1)
    figure = plot_echo.draw(*plot_echo.read(*written([curves, fits], tmp_path)))
    light = [band for band in figure.axes[0].collections if band.get_alpha() == 0.13]
    points = light[0].get_paths()[0].vertices
    assert np.ptp(points[points[:, 0] < 1e-7, 1]) < 1e-3
    assert np.ptp(points[points[:, 0] > 10.0, 1]) == pytest.approx(0.2, abs=0.01)


def test_where_nothing_is_an_echo_the_figure_says_so(tmp_path):
    curves, fits = synthetic_echoes()
    fits["flag"] = "evolution_beyond_the_lags"
    assert plot_echo.best_evolution_time(fits) == fits["evolution_time_us"].min()
    figure = plot_echo.draw(*plot_echo.read(*written([curves, fits], tmp_path)))
    assert not drawn(figure, "echo") + drawn(figure, "jumping") + drawn(figure, "echo_rate")
    assert any("no simulated curve is an echo" in text.get_text() for text in figure.axes[0].texts)
    assert "10, 100 µs: not drawn: evolution beyond the lags: all temperatures" in figure.get_supxlabel()


def test_echoes_of_the_matrix_form_are_dotted_with_bands_and_rates_as_long_as_they_have_one(tmp_path):
    """At 300 K, 1e8 1/s, nothing is left of them within an evolution time: dotted, and without a rate."""
    curves, fits = synthetic_echoes()
    fits["flag"] = "jumps_during_evolution"
    figure = plot_echo.draw(*plot_echo.read(*written([curves, fits], tmp_path)))
    assert not drawn(figure, "echo")
    assert len(drawn(figure, "jumping")) == 3
    bands = [band for band in figure.axes[0].collections if isinstance(band, PolyCollection)]
    assert len(bands) == 6
    assert "ions jump during t$_p$" in [text.get_text() for text in figure.legends[0].get_texts()]
    rates = drawn(figure, "echo_rate")
    assert {line.get_fillstyle() for line in rates} == {"bottom"}
    assert len(rates) == 4
    assert figure.get_supxlabel() == "t$_p$ = 10, 100 µs: no rate: decay faster than 0.3/t$_p$: 300 K."


def test_intervals_of_rates_without_sampling_are_those_of_the_rate_model(tmp_path):
    curves, fits = synthetic_echoes()
    moved = fits.assign(shift=1, rate_per_s=1.5 * fits["rate_per_s"])
    _, rows, _ = plot_echo.read(*written([curves, pd.concat([fits, moved])], tmp_path))
    first = rows.iloc[0]
    both, sampling, rates, none = (
        np.log(plot_echo.interval(only_errors(rows, kinds).iloc[0])[1] / first["rate_per_s"])
        for kinds in (["sampling", "rates"], ["sampling"], ["rates"], [])
    )
    assert sampling == pytest.approx(np.log(1.1))
    assert rates == pytest.approx(1.96 * np.log(1.5))
    assert both == pytest.approx(np.hypot(sampling, rates))
    assert none == 0


def test_echoes_and_fits_of_different_runs_are_refused(tmp_path):
    curves, fits = synthetic_echoes()
    with pytest.raises(InputError, match="different temperatures"):
        plot_echo.read(*written([curves, fits[fits["temperature_K"] < 250]], tmp_path))


def test_diffusion_shows_its_energy_and_leaves_out_what_has_no_logarithm(tmp_path, capsys):
    (path,) = written([synthetic_diffusion()], tmp_path)
    table = plot_diffusion.read(path)
    assert "1 of 5 diffusion coefficients have no" in capsys.readouterr().err
    figure = plot_diffusion.draw(table, NO_LITERATURE)
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert any("= 0.250 eV" in label and "200 to 300 K" in label for label in labels)
    assert "MD (one run a temperature, no interval)" in labels
    table["vacancies_per_site"] = np.where(table["origin"] == "md", 0.037, 0.01)
    labels = plot_diffusion.draw(table, NO_LITERATURE).axes[0].get_legend_handles_labels()[1]
    assert "MD, 3.7 % of sites empty (one run a temperature, no interval)" in labels
    (line,) = [line for line in drawn(figure, "line") if line.axes is figure.axes[0]]
    assert (min(line.get_xdata()), max(line.get_xdata())) == pytest.approx((1000 / 300, 1000 / 200))


def test_intervals_of_diffusion_can_be_chosen(tmp_path):
    (path,) = written([synthetic_diffusion()], tmp_path)
    table = plot_diffusion.read(path)
    moved = table[table["origin"] == "kmc"].assign(origin="kmc_shift", shift=1)
    moved["D_tracer_m2_per_s"] *= 2
    table = pd.concat([table, moved], ignore_index=True)
    text = {}
    for kinds in (("sampling", "rates"), ("sampling",), ("rates",), ()):
        figure = plot_diffusion.draw(only_errors(table, kinds), NO_LITERATURE)
        (band,) = (part for part in figure.axes[0].collections if isinstance(part, PolyCollection))
        band = band.get_paths()[0].get_extents()
        text[kinds] = figure.get_supxlabel(), band.y1 / band.y0
    assert text["sampling", "rates"][0] == "Intervals: 95 %; bars: sampling; bands: sampling and rate model."
    assert text["sampling",][0] == "Intervals: 95 %; bars: sampling; bands: sampling."
    assert text["rates",][0] == "Intervals: 95 %; bars: none; bands: rate model."
    assert text[()][0] == "Intervals: 95 %; bars: none; bands: none."
    widths = [width for _, width in text.values()]
    assert widths[0] > widths[2] > widths[1] > widths[3]


def test_colours_of_temperatures_are_distinct_and_ordered():
    colours = style.temperature_colours([300, 100, 200, 100])
    assert list(colours) == [100, 200, 300]
    assert len(set(colours.values())) == 3


def test_nothing_half_written_stays_when_saving_fails(tmp_path, monkeypatch):
    figure = style.new_figure(style.SINGLE_MM, 60)
    original = figure.savefig

    def fail_on_pixels(path, **options):
        original(path, **options)
        if Path(path).suffix == ".png":
            raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail_on_pixels)
    with pytest.raises(OSError, match="disk full"):
        style.save(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def synthetic_scale() -> pd.DataFrame:
    """Three sites in two geometries: one that is not fitted, and one three deviations off the line."""
    rows = []
    for geometry, slope in (("published", 0.9), ("relaxed", 1.0)):
        for compound, dft, used, deviation in (("A", 100.0, 1, 0.5), ("B", 1000.0, 0, -4.0), ("C", 5000.0, 1, 3.0)):
            row = {"compound": compound, "site": "Li1 2a", "isotope": "7Li", "geometry": geometry, "V_zz_au": 0.01}
            row |= {"C_Q_dft_kHz": dft, "C_Q_measured_kHz": slope * dft, "C_Q_uncertainty_kHz": 1.0, "used": used}
            rows.append(row | {"slope": slope, "scatter": 0.07, "deviation": deviation, "outlier": int(deviation == 3)})
    return pd.DataFrame(rows)


def test_the_scale_shows_what_was_fitted_and_names_outliers(tmp_path):
    synthetic_scale().to_csv(tmp_path / "t.csv", index=False)
    figure = plot_scale.draw(plot_scale.read(tmp_path / "t.csv"))
    published, line, ratios = figure.axes
    assert "a = 0.900" in published.get_title()
    kinds = [bar.lines[0].get_gid() for bar in line.containers]
    assert sorted(kinds) == ["not used", "used", "used"]
    assert "a = 1.000" in line.get_title()
    assert [text.get_text() for text in ratios.get_yticklabels()] == ["C Li1", "B Li1", "A Li1"]
    assert figure.get_supxlabel() == "outliers of either (reasons in the table): C Li1"
    (tmp_path / "bad.csv").write_text("compound,site\n")
    with pytest.raises(InputError):
        plot_scale.read(tmp_path / "bad.csv")


def test_the_learning_curve_starts_at_zero_and_shows_every_round(tmp_path):
    table = pd.DataFrame({"iteration": [0, 1], "n_training_frames": [20, 30], "n_frames": 8, "tensor_rms_au": 0.03})
    table = table.assign(force_rmse_eV_per_A=[0.05, 0.04], force_rms_eV_per_A=0.5, tensor_rmse_au=[2e-3, 1e-3])
    table.to_csv(tmp_path / "l.csv", index=False)
    figure = plot_learning.draw(plot_learning.read(tmp_path / "l.csv"))
    for axes, column in zip(figure.axes, ("force_rmse_eV_per_A", "tensor_rmse_au"), strict=True):
        (line,) = [line for line in axes.lines if line.get_gid() == "error"]
        np.testing.assert_allclose(line.get_ydata(), table[column])
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > table[column].max()
        assert f"{table[column.replace('rmse', 'rms')].iloc[0]:.3g}" in axes.get_title()


def test_the_band_of_line_widths_holds_the_rate_model_and_ends_at_the_rigid_line():
    rows = plot_linewidth.with_intervals(synthetic_linewidth()[0])
    assert rows.loc[300.0, "low"] == pytest.approx(2**-1.96, rel=0.01)
    assert rows.loc[300.0, "high"] == pytest.approx(2**1.96, rel=0.01)
    assert rows.loc[200.0, "high"] == 4e3
    assert rows.loc[150.0, "low"] == pytest.approx(4e3, rel=0.03)


def test_couplings_are_drawn_by_size_with_their_bars():
    axes = plot_couplings.draw(synthetic_couplings(), NO_LITERATURE).axes[0]
    drawn = []
    for bar in axes.containers:
        segments = bar.lines[2][0].get_segments()
        if bar.lines[0] is None:  # those of DFT, pale
            assert np.ptp(segments[0][:, 1]) == pytest.approx(20)
            continue
        for value, segment in zip(bar.lines[0].get_ydata(), segments, strict=True):
            assert segment[:, 1] == pytest.approx([value - 5, value + 5])
            drawn.append(value)
    assert sorted(drawn) == pytest.approx([90] * 3 + [100] * 3 + [270] * 3 + [300] * 3)


def test_measured_couplings_of_another_nucleus_are_not_drawn(tmp_path):
    path = tmp_path / "synthetic_literature.csv"
    out = ["--out-pdf", tmp_path / "c.pdf", "--out-png", tmp_path / "c.png"]
    path.write_text(
        ",".join(LITERATURE) + "\nX,p,7Li,abs_CQ,150,2,kHz,300,line,r1,\nX,p,14N,abs_CQ,900,2,kHz,300,line,r2,\n"
    )
    measured = for_figure(path, "X", "p", ["abs_CQ"], "7Li")
    axes = plot_couplings.draw(synthetic_couplings(), measured).axes[0]
    assert 150 in axes.containers[-1].lines[0].get_ydata()
    assert axes.get_ylim()[1] < 900
    (table,) = written([synthetic_couplings()], tmp_path)
    command = ["plot_couplings", table, "--literature", path, "--material", "X", "--phase", "p", *out]
    assert "1 measured abs_CQ of 14N left out: not of 7Li" in run(*command, "--isotope", "7Li")[1]
    code, said = run(*command)
    assert (code, "--literature needs --isotope" in said) == (2, True)


def test_histories_are_drawn_over_the_start_of_the_momentary_tensors():
    table = synthetic_histories()
    table[[column for column in table if column.endswith("_au2")]] *= 1e-4
    first = plot_histories.draw(table).axes[0]
    (direct,) = [line for line in first.lines if line.get_gid() == "direct"]
    (sites,) = [line for line in first.lines if line.get_gid() == "sites"]
    assert direct.get_ydata()[0] == pytest.approx(1)
    assert sites.get_ydata()[0] == pytest.approx(0.18)
    assert direct.get_xdata()[0] > 0
    for kinds, wide in ((["sampling"], True), ([], False)):
        bands = plot_histories.draw(only_errors(table, kinds)).axes[0].collections
        heights = [np.ptp(path.vertices[:, 1]) for band in bands for path in band.get_paths() if len(path.vertices)]
        assert (len(heights) > 0) == wide


def test_interactions_are_drawn_in_meV_and_beside_the_gas_of_exclusion():
    figure = plot_interactions.draw(*synthetic_interactions())
    (pairs,) = drawn(figure, "pairs")
    assert pairs.get_ydata().tolist() == pytest.approx([100, 40])
    (exclusion,), (interacting,) = drawn(figure, "exclusion"), drawn(figure, "interacting")
    assert exclusion.get_ydata().tolist() == [1, 1]
    assert interacting.get_ydata().tolist() == interacting.get_xdata().tolist()


def test_paths_are_drawn_beside_what_the_other_figures_show(tmp_path):
    figure = plot_paths.draw(*plot_paths.read(*written(synthetic_paths(), tmp_path)))
    frozen, paths = (drawn(figure, gid) for gid in ("frozen", "echo sites"))
    assert [line.get_ydata()[0] for line in frozen + paths] == pytest.approx([0.22, 0.22, 0.2, 0.2], rel=1e-3)
    assert (len(drawn(figure, "fid sites")), len(drawn(figure, "quadrupole_echo sites"))) == (1, 1)
    assert [text.get_text() for axes in figure.axes for text in axes.texts].count("not followed to the end") == 1
    tables = synthetic_paths()
    tables[3] = tables[3][tables[3]["temperature_K"] < 300]
    with pytest.raises(InputError, match="300 K"):
        plot_paths.draw(*tables)


def test_what_surroundings_change_is_drawn_of_the_model_as_it_is(tmp_path):
    correlation, relaxation, echoes = (table[table["shift"] == 0] for table in synthetic_surroundings())
    left, middle, right = plot_surroundings.draw(correlation, relaxation, echoes).axes[:3]
    starts = [line.get_ydata()[0] for line in left.lines]
    assert starts == pytest.approx([1.2, 1.0] * 3, rel=1e-3)
    parts = {line.get_label(): line.get_ydata() for line in middle.lines}
    assert parts["both"] == pytest.approx(6 * parts["difference"])
    assert parts["means of sites"][0] == pytest.approx(0.010 * min(COLD_K))  # in the lowest field
    changes = right.lines[:-1]
    assert len(changes) == 3  # of the shorter evolution time
    assert changes[0].get_ydata()[0] == pytest.approx(100 / 6, rel=1e-3)
    echoes = echoes.assign(surroundings="averaged")
    assert len(plot_surroundings.draw(correlation, relaxation, echoes).axes) == 2  # in none of them do they stay


def test_relaxation_by_vibrations_goes_with_the_square_of_the_temperature():
    rows = {"field_T": 4.7, "larmor_MHz": 77.8, "rate_per_s": 2.0, "quantity": "R1", "shift": 0, "valid": 1}
    rows |= {name: 0.1 for name in ("se_sampling_per_s", "sd_model_per_s", "sd_dft_per_s")} | {"complete": 1}
    table = pd.DataFrame({"temperature_K": [150.0, 300.0], **rows})
    vibrations = pd.DataFrame({"temperature_K": [300.0], "quantity": "R1", "rate_per_s": 4e-3, "rate_se_per_s": 1e-4})
    figure = plot_relaxation.draw(table, vibrations)
    (point,) = drawn(figure, "vibrations")
    assert point.get_ydata()[0] == pytest.approx(4e-3)
    (line,) = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert line.get_ydata()[[0, -1]] == pytest.approx([1e-3, 4e-3])


def test_maxima_of_relaxation_tell_the_rate_of_the_model_that_made_them():
    """R₁ of one correlation time (Bloembergen, Purcell, Pound): the point lies on the Arrhenius line that went in."""
    temperatures = np.arange(150.0, 400.0, 10.0)
    rate = 1e13 * np.exp(-0.25 / BOLTZMANN_EV_PER_K / temperatures)
    rows = []
    for field, larmor_MHz in ((4.7, 77.8), (9.4, 155.6)):
        phase = 2e6 * np.pi * larmor_MHz / rate
        R1 = (1 / rate) * (1 / (1 + phase**2) + 4 / (1 + 4 * phase**2))
        row = {"temperature_K": temperatures, "field_T": field, "larmor_MHz": larmor_MHz, "rate_per_s": R1}
        rows.append(pd.DataFrame(row | {"quantity": "R1", "shift": 0, "valid": 1}))
    points = plot_summary.relaxation_maxima(pd.concat(rows))
    assert len(points) == 2
    for inverse, found in points:
        assert found == pytest.approx(1e13 * np.exp(-0.25 / BOLTZMANN_EV_PER_K * inverse / 1000), rel=0.05)
    assert plot_summary.relaxation_maxima(rows[0].iloc[:5]) == []


def test_the_half_narrowed_line_is_found_between_temperatures():
    table = pd.DataFrame({"temperature_K": [100.0, 125.0, 200.0], "fwhm_Hz": [4e3, 4e3, 1e3], "rigid_fwhm_Hz": 4e3})
    ((inverse, rate),) = plot_summary.narrowing(table.assign(shift=0))
    assert inverse == pytest.approx(6.5)  # half is half-way to a quarter, on a logarithmic scale
    assert rate == pytest.approx(2 * np.pi * 4e3)
    assert plot_summary.narrowing(table.assign(shift=0, fwhm_Hz=4e3)) == []


def test_the_potential_is_drawn_beside_the_slope_of_the_energies_and_both_minima():
    figure = plot_potential.draw(*synthetic_potential())
    (stresses,), (slope,) = drawn(figure, "pressure dft"), drawn(figure, "slope")
    middle = np.interp(stresses.get_xdata(), slope.get_xdata(), slope.get_ydata())
    assert stresses.get_ydata() - middle == pytest.approx(-1.0, abs=0.15)
    (dft,), (potential,) = drawn(figure, "rest DFT"), drawn(figure, "rest potential")
    assert (dft.get_xdata()[0], potential.get_xdata()[0]) == (2.05, 2.11)
    title = figure.axes[0].get_title(loc="left")
    assert title == "V: DFT 20.00, potential 19.50 ± 0.05 Å³\nB: DFT 32.0, potential no minimum GPa"
    assert "force 0.1 eV/Å" in figure.axes[1].get_title(loc="left")
