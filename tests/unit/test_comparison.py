"""Units, digits and verdicts of the comparison with literature, and the table of diffusion, against hand numbers."""

from pathlib import Path

import compare_with_literature as comparison
import diffusion_table
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from insilico_nmr import rate_shifts
from insilico_nmr.errors import InputError
from insilico_nmr.files import write_json
from insilico_nmr.literature import PREDICTED, UNIT_OF, convert, read_literature
from insilico_nmr.predictions import Prediction, Study, conductivity_line, rate_line, shown_interval, usable_echoes
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from insilico_nmr.registry import check_registered
from insilico_nmr.significant_figures import last_digit, significant_digits
from scipy import constants

SIMULATED_K = np.array([150.0, 200.0, 250.0])
SHIPPED = Path(__file__).parents[2] / "resources" / "experiment" / "literature.csv"
HEADER = "material,phase,nucleus,quantity,value,uncertainty,unit,temperature_K,method,reference,note\n"


def arrhenius(prefactor, energy_eV, temperature_K):
    return prefactor * np.exp(-energy_eV / BOLTZMANN_EV_PER_K / np.asarray(temperature_K))


def synthetic_diffusion(energy_eV=0.25, shift_eV=None) -> pd.DataFrame:
    """D = 1e-8 m²/s exp(−E/k_BT) with 2 % of sampling error; with `shift_eV`, that much is unknown in the model's E."""
    D = arrhenius(1e-8, energy_eV, SIMULATED_K)
    table = pd.DataFrame({"temperature_K": SIMULATED_K, "origin": "kmc", "shift": 0.0, "D_tracer_m2_per_s": D})
    spread = np.exp(1.96 * 0.02)
    table = table.assign(ci_low_m2_per_s=D / spread, ci_high_m2_per_s=D * spread, exit_rate_per_s=1e20 * D, diffusive=1)
    table = table.assign(arrhenius=1)
    sigma = 1e10 * D / SIMULATED_K
    table = table.assign(conductivity_S_per_cm=sigma, conductivity_ci_low_S_per_cm=sigma / spread)
    table = table.assign(conductivity_ci_high_S_per_cm=sigma * spread)
    if shift_eV is None:
        return table
    factor = np.exp(-shift_eV / BOLTZMANN_EV_PER_K / SIMULATED_K)
    names = ["D_tracer_m2_per_s", "exit_rate_per_s", "conductivity_S_per_cm"]
    moved = table.assign(origin="kmc_shift", shift=1.0, **{name: table[name] * factor for name in names})
    return pd.concat([table, moved], ignore_index=True)


def test_the_rate_model_moves_conductivity_as_it_moves_diffusion():
    """Also where few replicas leave the collective displacement of a moved model without a slope."""
    table = synthetic_diffusion(shift_eV=0.03)
    table.loc[table["origin"] == "kmc_shift", [name for name in table if "conductivity" in name]] = np.nan
    known, alone = conductivity_line(table), conductivity_line(table[table["origin"] == "kmc"])
    assert known.activation_energy_eV == alone.activation_energy_eV
    assert known.covariance[1, 1] - alone.covariance[1, 1] == pytest.approx(0.03**2)


def synthetic_rates(energy_sd_eV=0.02) -> pd.DataFrame:
    """One class, ν 1e12 1/s exactly, E 0.3 eV known to `energy_sd_eV`."""
    rate = arrhenius(1e12, 0.3, SIMULATED_K)
    factor = np.exp(1.96 * energy_sd_eV / BOLTZMANN_EV_PER_K / SIMULATED_K)
    table = pd.DataFrame({"class": "AA", "from": "A", "to": "A", "temperature_K": SIMULATED_K, "rate_per_s": rate})
    return table.assign(ci_low_per_s=rate / factor, ci_high_per_s=rate * factor, origin="model")


def synthetic_fits(flag="ok") -> pd.DataFrame:
    rate = arrhenius(1e9, 0.2, SIMULATED_K)
    table = pd.DataFrame({"temperature_K": SIMULATED_K, "evolution_time_us": 10.0, "rate_per_s": rate})
    table = table.assign(rate_ci_low_per_s=rate / 1.1, rate_ci_high_per_s=rate * 1.1)
    table = table.assign(rate_sd_model_per_s=np.nan, rate_sd_dft_per_s=np.nan)
    table = table.assign(exit_rate_per_s=3 * rate, observable="spin_alignment_echo", flag=flag, status="ok")
    return table.assign(shift=0.0)


def synthetic_couplings() -> pd.DataFrame:
    """Two sites, 600(20) and −280(20) kHz thermal, larger still."""
    rows = pd.DataFrame({"orbit": ["A", "B"], "C_Q_kHz": [600.0, -280.0], "temperature_K": 200.0})
    rows = rows.assign(C_Q_sd_model_kHz=12.0, C_Q_se_sampling_kHz=np.nan, C_Q_sd_dft_kHz=16.0, average="thermal")
    return pd.concat([rows, rows.assign(C_Q_kHz=rows["C_Q_kHz"] * 2, average="still")], ignore_index=True)


def study(**options) -> Study:
    return Study(synthetic_rates(), synthetic_diffusion(**options), synthetic_fits(), synthetic_couplings())


def literature(tmp_path, *rows: str) -> pd.DataFrame:
    path = tmp_path / "synthetic_literature.csv"
    path.write_text(HEADER + "".join(row + "\n" for row in rows))
    return read_literature(path, "X", "p")


@pytest.mark.parametrize(
    ("value", "unit", "quantity", "expected"),
    [
        (23.16, "kJ/mol", "activation_energy", 0.2400),  # 1 eV = 96.485 kJ/mol
        (5.535, "kcal/mol", "activation_energy", 0.2400),
        (240, "meV", "activation_energy", 0.240),
        (9e-10, "cm2/s", "diffusion_coefficient", 9e-14),
        (0.01, "S/m", "ionic_conductivity", 1e-4),
        (0.1, "mS/cm", "ionic_conductivity", 1e-4),
        (2.5, "1/ms", "jump_rate", 2500),
        (0.582, "MHz", "abs_CQ", 582),
        (1e-13, "cm2/s", "interlayer_diffusion_coefficient", 1e-17),
    ],
)
def test_units(value, unit, quantity, expected):
    assert convert(value, unit, quantity) == pytest.approx(expected, rel=2e-4)


def test_an_unknown_unit_is_refused_with_file_and_row(tmp_path):
    with pytest.raises(InputError, match=r"synthetic_literature.csv: row 3: jump_rate in 'furlong': expected 1/s"):
        literature(tmp_path, "Y,p,,jump_rate,1,,1/s,,SAE,r,", "X,p,,jump_rate,1,,furlong,,SAE,r,")


@pytest.mark.parametrize("row", ["Y,p,,jumprate,1,,1/s,,SAE,r,", "X,p,,jumprate,1,,1/s,,SAE,r,"])
def test_an_unknown_quantity_is_refused_whatever_the_material(tmp_path, row):
    with pytest.raises(InputError, match=r"synthetic_literature.csv: row 2: no quantity 'jumprate'; expected one of"):
        literature(tmp_path, row)


def test_a_coupling_is_compared_with_the_nearest_site(tmp_path):
    rows = ("X,p,7Li,abs_CQ,291,5,kHz,210,NMR,r,", "X,p,7Li,abs_CQ,0.52,0.01,MHz,210,NMR,r,")
    table = comparison.agreement(study(), literature(tmp_path, *rows), 298.0)
    assert table["predicted"].tolist()[:2] == ["2.8e2", "6.0e2"]
    assert table["verdict"].tolist()[:2] == ["agrees", "1.2 times higher"]
    assert "at B" in table["basis"][0]
    assert (float(table["ci_low"][1]), float(table["ci_high"][1])) == pytest.approx((600 - 39.2, 600 + 39.2), abs=1)


def test_quantities_without_a_prediction_are_read_when_asked_for_and_not_compared(tmp_path):
    rows = (
        "X,p,,narrowing_onset_temperature,180,,K,,muSR,r,",
        "X,p,,interlayer_diffusion_coefficient,1e-17,,m2/s,318,SAE,r,",
        "X,p,,activation_energy,0.25,,eV,,PFG,r,",
    )
    measured = literature(tmp_path, *rows)
    assert measured["quantity"].tolist() == ["activation_energy"]
    assert set(comparison.agreement(study(), measured, 298.0)["measured"]) == {"0.25", ""}
    path = tmp_path / "synthetic_literature.csv"
    asked = read_literature(path, "X", "p", ["narrowing_onset_temperature"])
    assert asked[["value", "unit"]].to_numpy().tolist() == [[180.0, "K"]]
    path.write_text(HEADER + "X,p,,narrowing_onset_temperature,180,,eV,,muSR,r,\n")
    with pytest.raises(InputError, match="row 2: narrowing_onset_temperature in 'eV': expected K"):
        read_literature(path, "X", "p")


def test_every_row_of_the_shipped_table_is_read_and_laid_beside_predictions():
    table = pd.read_csv(SHIPPED, dtype=str, keep_default_na=False)
    number = 0
    for (material, phase), rows in table.groupby(["material", "phase"]):
        read = read_literature(SHIPPED, material, phase, UNIT_OF)
        number += len(read)
        assert read["quantity"].tolist() == rows["quantity"].tolist()
        compared = read_literature(SHIPPED, material, phase)
        assert len(compared) == rows["quantity"].isin(list(PREDICTED)).sum()
        verdicts = comparison.agreement(study(), compared, 298.0)["verdict"].tolist()[: len(compared)]
        for confirmed, verdict in zip(compared["confirmed"], verdicts, strict=True):
            assert verdict == "no prediction" or confirmed == (verdict != "measured value to be confirmed")
    assert number == len(table)
    assert not table.duplicated([name for name in table if name not in ("uncertainty", "nucleus")]).any()
    check_registered(SHIPPED, SHIPPED.parents[1] / "registry.csv")


def test_broken_numbers_are_refused(tmp_path):
    with pytest.raises(InputError, match="row 2"):
        literature(tmp_path, "X,p,,jump_rate,fast,,1/s,,SAE,r,")
    with pytest.raises(InputError, match="row 2 has value -1"):
        literature(tmp_path, "X,p,,jump_rate,-1,,1/s,,SAE,r,")


def test_measured_values_keep_their_digits(tmp_path):
    table = literature(
        tmp_path,
        "X,p,,activation_energy,0.40,,eV,,NMR,r,",
        "X,p,,diffusion_coefficient,9e-14,,m2/s,298,PFG,r,",
        "X,p,,activation_energy,23.2,0.5,kJ/mol,,dc,r,",
        "X,q,,activation_energy,9.99,,eV,,other phase,r,",
        "X,p,,abs_Vzz,0.6,,1e21 V/m2,,not predicted,r,",
    )
    assert table["value_text"].tolist() == ["0.40", "9e-14", "0.240"]
    assert table["uncertainty"].tolist() == pytest.approx([0.005, 0.5e-14, 0.5 / 96.485], rel=1e-3)
    assert table["uncertainty_text"].tolist() == ["", "", "0.005"]
    assert table["given"].iloc[2] == "23.2 kJ/mol"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("Li-7,jump_rate,5,,1/s,300", "unknown isotope 'Li-7'"),
        ("7Li,jump_rate,5,inf,1/s,300", "uncertainty inf, temperature_K 300: expected positive numbers"),
        ("7Li,jump_rate,5,1,1/s,inf", "uncertainty 1, temperature_K inf: expected positive numbers"),
        ("7Li,jump_rate,inf,1,1/s,300", "has value inf"),
        ("7Li,jump_rate,5,-1,1/s,300", "uncertainty -1"),
    ],
)
def test_measured_values_that_are_none_are_refused_by_their_row(tmp_path, cells, message):
    with pytest.raises(InputError, match=f"row 3.*{message}"):
        literature(tmp_path, "X,p,7Li,jump_rate,5,1,1/s,300,NMR,r,", f"X,p,{cells},NMR,r,")


@pytest.mark.parametrize(
    ("text", "digits", "unit"),
    [("0.240", 3, 1e-3), ("9e-14", 1, 1e-14), ("1.0e-4", 2, 1e-5), ("2500", 4, 1), ("8.93e-7", 3, 1e-9)],
)
def test_digits_of_printed_numbers(text, digits, unit):
    assert significant_digits(text) == digits
    assert last_digit(text) == pytest.approx(unit)


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.18523, 0.15387, 0.21659, ("0.185", "0.154", "0.217")),  # ± 0.031: two digits of it
        (0.18523, 0.13, 0.24, ("0.19", "0.13", "0.24")),  # ± 0.055: one
        (3.8123e-11, 2.0e-11, 7.3e-11, ("3.8e-11", "2.0e-11", "7.3e-11")),
        (0.06, -0.01, 0.13, ("0.06", "-0.01", "0.13")),
        (-0.0523, -0.134, 0.0312, ("-0.052", "-0.134", "0.031")),  # a slope lost in noise
        (5234.6, 5000, 5480, ("5230", "5000", "5480")),
        (0.0, 0.0, 0.0213, ["0", "0", "0.021"]),
        (0.0, 0.0, 0.0, ["0", "0", "0"]),
    ],
)
def test_predictions_show_what_their_interval_holds(value, low, high, expected):
    shown = shown_interval(Prediction(value, low, high, ""))
    assert [float(text) for text in shown] == pytest.approx([float(text) for text in expected])
    assert len(shown[0].partition("e")[0]) <= max(4, len(expected[0].partition("e")[0])) + 2


def test_ends_of_a_wide_interval_of_a_logarithm_have_two_digits_each():
    assert shown_interval(Prediction(5.78e4, 1.22e3, 2.743e6, ""), of_logarithm=True) == ("5.8e4", "1.2e3", "2.7e6")
    assert shown_interval(Prediction(0.053, 0.006, 0.0991, "")) == ("0.053", "0.006", "0.099")


def test_verdicts_on_rates_and_energies():
    rate = Prediction(3e-13, 1e-13, 9e-13, "")
    assert comparison.verdict(rate, 9e-14, 0.5e-14, "9e-14", energy=False) == ("3.3", "3.3 times higher")
    assert comparison.verdict(rate, 9e-14, 2e-14, "9e-14", energy=False)[1] == "agrees"  # within its uncertainty
    assert comparison.verdict(rate, 3e-12, 0, "3e-12", energy=False) == ("0.10", "10 times lower")
    assert comparison.verdict(rate, 7.1e-16, 0, "7.1e-16", energy=False) == ("420", "420 times higher")
    vague = Prediction(1e3, 1e1, 7e3, "")
    assert comparison.verdict(vague, 2e3, 0, "2e3", energy=False)[1] == "agrees, in an interval of a factor 700"
    assert comparison.verdict(Prediction(1e3, 0.0, 7e3, ""), 2e3, 0, "2e3", False)[1].endswith("zero and more")
    energy = Prediction(0.19, 0.17, 0.21, "")
    assert comparison.verdict(energy, 0.24, 0.005, "0.24", energy=True) == ("-0.05", "0.05 eV lower")
    assert comparison.verdict(energy, 0.1, 0.05, "0.1", energy=True)[1] == "0.1 eV higher"
    assert comparison.verdict(energy, 0.20, 0.005, "0.20", energy=True)[1] == "agrees"
    assert comparison.verdict(energy, 0.214, 0.0005, "0.214", energy=True)[1] == "0.024 eV lower"


def test_values_at_the_reference_temperature_come_from_the_line():
    inside = study().diffusion_coefficient(220.0)
    assert inside.value == pytest.approx(arrhenius(1e-8, 0.25, 220.0), rel=1e-6)
    assert "interpolated" in inside.basis
    outside = study().diffusion_coefficient(298.0)
    assert outside.value == pytest.approx(arrhenius(1e-8, 0.25, 298.0), rel=1e-6)
    assert "EXTRAPOLATED on the Arrhenius line of 150 to 250 K" in outside.basis
    sigma = study().ionic_conductivity(298.0)
    assert sigma.value == pytest.approx(1e10 * arrhenius(1e-8, 0.25, 298.0) / 298.0, rel=1e-6)
    assert study().jump_rate(298.0, "").value == pytest.approx(1e12 * arrhenius(1, 0.25, 298.0), rel=1e-6)


def test_doubt_about_the_rate_model_widens_the_interval_and_does_not_average_out():
    """A barrier known to 20 meV is a factor 2.2 in D at 298 K, one standard deviation, from however many points."""
    sure, unsure = study().diffusion_coefficient(298.0), study(shift_eV=0.02).diffusion_coefficient(298.0)
    one_sd = np.log(unsure.high / unsure.value) / 1.96
    sampling = np.log(sure.high / sure.value) / 1.96
    assert np.sqrt(one_sd**2 - sampling**2) == pytest.approx(np.log(2.18), rel=0.01)
    energy = study(shift_eV=0.02).energy("PFG NMR")
    assert (energy.high - energy.low) / 2 / 1.96 == pytest.approx(0.02, rel=0.05)
    assert (sure.interval, unsure.interval) == ("sampling only", "sampling and rate model")


def test_a_moved_model_that_hardly_diffuses_leaves_the_others(capsys):
    """One that is diffusive at a single temperature has no line: the prediction stays, and says what it holds."""
    one, other = (synthetic_diffusion(shift_eV=0.02) for _ in range(2))
    one = one[(one["shift"] == 0) | (one["temperature_K"] == SIMULATED_K[-1])]
    of = [synthetic_rates(), synthetic_fits(), synthetic_couplings()]
    alone = Study(of[0], one, *of[1:])
    assert alone.diffusion_coefficient(298.0).value == pytest.approx(study().diffusion_coefficient(298.0).value)
    assert alone.interval == "sampling only"
    without = "D_tracer_m2_per_s: no line of the rate model moved along 1: intervals are without the rate model"
    assert without in capsys.readouterr().err
    second = other[other["shift"] == 1].assign(shift=2.0)
    both = Study(of[0], pd.concat([one, second]), *of[1:])
    assert both.interval == "sampling and rate model"
    # What cannot be compared counts as much as what can, or is it there and alike.
    alike = Study(of[0], pd.concat([other, second]), *of[1:])
    assert both.energy("PFG").high == pytest.approx(alike.energy("PFG").high)
    assert "moved along 1: counted as the largest of the others" in capsys.readouterr().err


def test_lines_of_the_rate_model_are_recovered_with_their_covariance():
    line = rate_line(synthetic_rates(energy_sd_eV=0.02))
    assert line.activation_energy_eV == pytest.approx(0.3)
    assert line.prefactor_per_s == pytest.approx(1e12)
    assert line.activation_energy_se_eV == pytest.approx(0.02)
    assert line.rate(298.0)[2] / line.rate(298.0)[0] == pytest.approx(np.exp(1.96 * 0.02 / BOLTZMANN_EV_PER_K / 298))
    # An upper end that stops at the attempt frequency takes nothing from the line's errors.
    cut = synthetic_rates(energy_sd_eV=0.2).assign(ci_high_per_s=lambda rows: np.minimum(rows["ci_high_per_s"], 1e12))
    assert (cut["ci_high_per_s"] == 1e12).all()
    assert rate_line(cut).activation_energy_se_eV == pytest.approx(0.2)
    with pytest.raises(InputError, match="three temperatures"):
        rate_line(synthetic_rates().iloc[:2])


def test_each_method_is_compared_with_what_it_measures():
    assert study().energy("PFG NMR and T1").value == pytest.approx(0.25)
    for method in ("SAE", "7Li spin-alignment echo", "Stimulated echo"):
        assert study().energy(method).value == pytest.approx(0.2)
    assert study().energy("NMR (local)").value == pytest.approx(study().exit.activation_energy_eV)
    assert study().energy("NMR (local)").basis.startswith("slope of the mean exit rate per ion")
    assert study().jump_rate(200.0, "SAE").value == pytest.approx(arrhenius(1e9, 0.2, 200.0))
    of_tensors = synthetic_fits().assign(observable="tensor_correlation", rate_per_s=arrhenius(3e9, 0.2, SIMULATED_K))
    ends = {f"rate_ci_{end}_per_s": factor * of_tensors["rate_per_s"] for end, factor in (("low", 0.9), ("high", 1.1))}
    of_tensors = of_tensors.assign(**ends)
    both = pd.concat([synthetic_fits(), of_tensors], ignore_index=True)
    with_both = Study(synthetic_rates(), synthetic_diffusion(), both, synthetic_couplings())
    for method in ("T1 maximum", "7Li T1rho", "motional narrowing"):
        assert with_both.jump_rate(200.0, method).value == pytest.approx(arrhenius(3e9, 0.2, 200.0))
        assert study().jump_rate(200.0, method) is None
    assert with_both.jump_rate(200.0, "SAE").value == pytest.approx(arrhenius(1e9, 0.2, 200.0))
    assert with_both.jump_rate(200.0, "local").basis.startswith("mean exit rate per ion")
    assert study().attempt_frequency().value == pytest.approx(1e12)


def test_echoes_that_are_flagged_or_too_fast_predict_nothing(capsys):
    fits = synthetic_fits("evolution_beyond_the_lags")
    flagged = Study(synthetic_rates(), synthetic_diffusion(), fits, synthetic_couplings())
    assert flagged.energy("SAE") is None
    assert "no usable echo fit" in capsys.readouterr().err
    fast = synthetic_fits().assign(rate_per_s=2e5, rate_ci_low_per_s=1.9e5, rate_ci_high_per_s=2.1e5)
    assert usable_echoes(fast).empty
    # An echo in whose evolution time ions jump counts as long as few do: t_p/τ of 0.3.
    jumping = synthetic_fits("jumps_during_evolution")
    during = jumping["rate_per_s"] * jumping["evolution_time_us"] * 1e-6
    assert set(usable_echoes(jumping).index) == set(jumping.index[during < 0.3])
    rate = 0.4e6 / jumping["evolution_time_us"]
    assert usable_echoes(jumping.assign(rate_per_s=rate, rate_ci_low_per_s=0.9 * rate)).empty


def test_the_table_lists_measured_values_and_predictions_alone(tmp_path):
    measured = literature(
        tmp_path, "X,p,,activation_energy,0.24,,eV,,PFG,r,", "X,p,,diffusion_coefficient,9e-14,,m2/s,298,PFG,r,"
    )
    table = comparison.agreement(study(), measured, 298.0)
    assert table["verdict"].iloc[0] == "0.01 eV higher"  # 0.25 to a few meV
    assert table["verdict"].iloc[1] == "6.6 times higher"  # 1e-8 exp(−0.25 eV/kT) = 5.92e-13 m²/s
    alone = table[table["verdict"] == "prediction only"]
    assert {"effective_activation_energy", "prefactor_of_mean_jump_rate", "mean_jump_rate"} <= set(alone["quantity"])
    assert "diffusion_coefficient" not in set(alone["quantity"])
    empty = comparison.agreement(study(), measured.iloc[:0], 298.0)
    assert set(empty["verdict"]) == {"prediction only"}
    assert "diffusion_coefficient" in set(empty["quantity"])


def test_a_number_of_vacancies_that_is_an_input_is_said_of_all_that_moves(tmp_path):
    rows = ("X,p,7Li,abs_CQ,291,5,kHz,210,NMR,r,", "X,p,,ionic_conductivity,1e-4,,S/cm,298,dc,r,")
    table = comparison.agreement(study(), literature(tmp_path, *rows), 298.0)
    noted = comparison.note_vacancies(table, 0.01, 3.0).set_index("quantity")["basis"]
    number = "1 % of the sites vacant, an input known to a factor of 3"
    assert noted["ionic_conductivity"].endswith(f"; proportional to the vacancies, {number}")
    assert noted["echo_activation_energy"].endswith(f"; with {number}: the energy of making them is not in it")
    assert not any("vacan" in noted[name] for name in ("abs_CQ", "attempt_frequency", "barrier"))


def test_one_temperature_gives_no_line_and_says_so(capsys):
    one = Study(synthetic_rates(), synthetic_diffusion().iloc[:1], synthetic_fits().iloc[:1], synthetic_couplings())
    table = comparison.agreement(one, pd.DataFrame(columns=["quantity"]), 298.0)
    assert table.set_index("quantity").loc["mean_jump_rate", "verdict"] == "no prediction"
    assert "two different temperatures" in capsys.readouterr().err


def chain(distances) -> dict:
    """Synthetic sites.json: sites along x, one a distance, jumps to both neighbours; class n from site n onwards."""
    length = float(sum(distances))
    places = np.cumsum([0.0, *distances[:-1]]) / length
    n = len(distances)
    sites = [{"index": i, "orbit": f"S{i}", "position": [x, 0, 0]} for i, x in enumerate(places.tolist())]
    jumps = []
    for i in range(n):
        image = [int(i == n - 1), 0, 0]
        jumps.append({"from": i, "to": (i + 1) % n, "image": image, "class": f"c{i}"})
        jumps.append({"from": (i + 1) % n, "to": i, "image": [-x for x in image], "class": f"c{i}"})
    return {"cell": [[length, 0, 0], [0, 5, 0], [0, 0, 5]], "mobile": "X", "sites": sites, "jumps": jumps}


def model_of(tops, covariance=None) -> dict:
    names = [f"c{i}" for i in range(len(tops))]
    orbits = [f"S{i}" for i in range(len(tops))]
    parameters = ["ln_prefactor", *orbits[1:], *names]
    return {
        "parameters": parameters,
        "covariance": np.zeros((len(parameters),) * 2).tolist() if covariance is None else covariance,
        "prefactor_per_s": 1e12,
        "site_energies_eV": dict.fromkeys(orbits, 0.0),
        "barrier_tops_eV": dict(zip(names, tops, strict=True)),
    }


def test_lines_are_fitted_in_the_range_that_the_table_marks():
    """Curved: 0.2 eV below 220 K, 0.3 eV above; the measurement is at 298 K."""
    table = synthetic_diffusion()
    hot = table.assign(temperature_K=[250.0, 300.0, 350.0])
    hot["D_tracer_m2_per_s"] = arrhenius(1e-7, 0.3, hot["temperature_K"])
    hot = hot.assign(ci_low_m2_per_s=hot["D_tracer_m2_per_s"] / 1.1, ci_high_m2_per_s=hot["D_tracer_m2_per_s"] * 1.1)
    both = pd.concat([table.iloc[:2].assign(arrhenius=0), hot], ignore_index=True)
    energy = Study(synthetic_rates(), both, synthetic_fits(), synthetic_couplings()).energy("PFG")
    assert energy.value == pytest.approx(0.3)
    assert "250 to 350 K" in energy.basis


def test_echoes_with_the_rate_model_moved_widen_the_echo_alone():
    """The echo moves by 0.04 eV, diffusion by 0.02 eV: each has its own."""
    factor = np.exp(-0.04 / BOLTZMANN_EV_PER_K / SIMULATED_K)
    moved = synthetic_fits().assign(shift=1.0)
    for name in ("rate_per_s", "rate_ci_low_per_s", "rate_ci_high_per_s"):
        moved[name] *= factor
    fits = pd.concat([synthetic_fits(), moved], ignore_index=True)
    with_model = Study(synthetic_rates(), synthetic_diffusion(shift_eV=0.02), fits, synthetic_couplings()).energy("SAE")
    without = study(shift_eV=0.02).energy("SAE")
    added = ((with_model.high - with_model.low) / 3.92) ** 2 - ((without.high - without.low) / 3.92) ** 2
    assert np.sqrt(added) == pytest.approx(0.04, rel=1e-6)
    assert (with_model.interval, without.interval) == ("sampling and rate model", "sampling only")


def test_errors_of_tensors_and_of_dft_widen_the_echo():
    fits = synthetic_fits()
    scattered = fits.assign(rate_sd_model_per_s=0.1 * fits["rate_per_s"], rate_sd_dft_per_s=0.3 * fits["rate_per_s"])
    lines = [Study(synthetic_rates(), synthetic_diffusion(), some, synthetic_couplings()) for some in (fits, scattered)]
    narrow, wide = (line.energy("SAE") for line in lines)
    of_sampling = np.log(1.1 / (1 / 1.1)) / 3.92
    expected = np.sqrt((of_sampling**2 + 0.1**2 + 0.3**2 + 0.01**2) / (of_sampling**2 + 0.01**2))
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(expected, rel=0.01)
    assert wide.interval == "sampling, tensors, DFT"
    # A temperature at which a member's curve has no fit is no more certain than the others.
    scattered.loc[scattered.index[0], "rate_sd_model_per_s"] = np.nan
    again = Study(synthetic_rates(), synthetic_diffusion(), scattered, synthetic_couplings()).energy("SAE")
    assert (again.low, again.high) == pytest.approx((wide.low, wide.high))


def test_incomplete_curves_and_temperatures_without_an_echo_predict_nothing():
    fits = synthetic_fits().assign(status="incomplete: 40 % of the decay lies beyond the last mixing time")
    assert Study(synthetic_rates(), synthetic_diffusion(), fits, synthetic_couplings()).energy("SAE") is None
    # 1e9 exp(−0.2 eV/k_BT) reaches 1/t_p = 1e5 1/s at 252 K.
    assert study().jump_rate(298.0, "SAE") is None
    assert "echo_decay_rate" not in set(comparison.agreement(study(), pd.DataFrame(), 298.0)["quantity"])
    assert "echo_decay_rate" in set(comparison.agreement(study(), pd.DataFrame(), 160.0)["quantity"])


def test_echoes_of_the_user_are_compared_at_their_evolution_time():
    """At 160 K 1e9 exp(−0.2 eV/k_BT) = 501 1/s; measured 480(20) 1/s, and at a t_p that is not simulated."""
    fits = pd.DataFrame({"temperature_K": 160.0, "evolution_time_us": [10.0, 25.0, 10.0], "rate_per_s": 480.0})
    fits = fits.assign(tau_s=1 / 480, tau_se_s=20 / 480**2, beta=0.7, status=["ok", "ok", "fit failed"])
    fits = fits.assign(t1q_s=[0.3, np.nan, np.nan], slow_amplitude=0.0)
    rows = comparison.echo_rows(study(), fits)
    assert [row["verdict"] for row in rows] == ["agrees", "no prediction"]
    assert rows[0]["ratio"] == "1.0"
    assert (rows[0]["measured"], rows[0]["measured_uncertainty"], rows[0]["method"]) == ("480", "20", "SAE, t_p 10 µs")
    assert "at t_p 10 µs, interpolated" in rows[0]["basis"]
    assert rows[0]["note"] == "fit with β = 0.70, T1Q 0.3 s"
    faster = comparison.echo_rows(study(), fits.assign(rate_per_s=2000.0))[0]
    assert faster["verdict"] == "4.0 times lower"
    table = comparison.agreement(study(), pd.DataFrame(), 160.0, rows)
    assert table["quantity"].tolist().count("echo_decay_rate") == 3  # the study's own stays
    assert table["verdict"].tolist()[:2] == ["agrees", "no prediction"]


def test_a_value_to_be_confirmed_gets_no_verdict_and_notes_are_shown(tmp_path):
    measured = literature(
        tmp_path,
        "X,p,,activation_energy,0.25,,eV,,PFG,r,single crystal",
        "X,p,,diffusion_coefficient,9e-14,,m2/s,298,PFG,r,To be confirmed: odd",
    )
    table = comparison.agreement(study(), measured, 298.0)
    assert table["note"].tolist()[:2] == ["single crystal", "To be confirmed: odd"]
    assert table["verdict"].tolist()[:2] == ["agrees", "measured value to be confirmed"]


@pytest.mark.parametrize("tops", [(0.2, 0.2), (0.2, 0.3), (0.05, 0.5)])
def test_mean_field_diffusion_of_a_chain_of_unequal_barriers_is_harmonic(tops):
    """One ion in a chain of alternating rates, spacing a: D = a² 2k₁k₂/(k₁+k₂), a third of it in three dimensions."""
    T, filling = 150.0, 1e-6
    model = model_of(tops)
    k = arrhenius(1e12, np.array(tops), T)
    parameters = np.array([np.log(1e12), 0.0, *tops])
    log_D, log_exit, log_slowest = rate_shifts.mean_field(chain([2.0, 2.0]), model, parameters, T, filling)
    assert np.exp(log_D) == pytest.approx(4e-20 * 2 * k[0] * k[1] / k.sum() / 3, rel=1e-5)
    assert np.exp(log_exit) == pytest.approx(k.sum(), rel=1e-5)
    assert np.exp(log_slowest) == pytest.approx(2 * k.sum(), rel=1e-5)  # the two sites of the cell exchange at k₁ + k₂


def test_leading_direction_of_a_common_error_of_all_barriers():
    """All barriers known to 20 meV together: that is the one direction, it slows, and rates move by 0.02 eV/k_BT."""
    covariance = np.zeros((4, 4))
    covariance[2:, 2:] = 0.02**2
    model, T = model_of((0.2, 0.2), covariance.tolist()), 298.0
    steps, shares, held = rate_shifts.steps(model, chain([2.0, 2.0]), [200.0, T], 0.5)
    assert steps[0] == pytest.approx([0, 0, 0.02, 0.02, 0], abs=1e-12)
    assert (shares[0], held[0]) == pytest.approx((1, 1))
    rates = {("c0", "S0", "S1"): 1.0, ("c0", "S1", "S0"): 5.0}
    moved = rate_shifts.moved_rates(rates, model, steps[0], T)
    factor = np.exp(-0.02 / BOLTZMANN_EV_PER_K / T)
    assert list(moved.values()) == pytest.approx([factor, 5 * factor])


def test_moved_barriers_end_at_zero_and_keep_detailed_balance():
    """A top 0.03 eV above two sites falls by 0.1 eV while one of them rises by 0.02: level with that one, no lower."""
    model, T = model_of((0.03, 0.3)), 150.0
    rates = {("c0", "S0", "S1"): 2.0, ("c0", "S1", "S0"): 2.0}
    moved = rate_shifts.moved_rates(rates, model, np.array([0.0, 0.02, -0.1, 0.0, 0.0]), T)
    fastest = 2.0 * np.exp(0.03 / BOLTZMANN_EV_PER_K / T)
    assert moved["c0", "S1", "S0"] == pytest.approx(fastest)
    assert moved["c0", "S0", "S1"] == pytest.approx(fastest * np.exp(-0.02 / BOLTZMANN_EV_PER_K / T))


def test_steps_span_the_covariance():
    """Σ step stepᵀ is the covariance: together the directions hold all of it."""
    root = np.random.default_rng(0).normal(size=(4, 4)) * [[0.3], [0.02], [0.02], [0.02]]
    model = model_of((0.2, 0.25), (root @ root.T).tolist())
    steps, shares, held = rate_shifts.steps(model, chain([2.0, 2.0]), [150.0, 200.0, 300.0], 0.5)
    assert np.allclose((steps.T @ steps)[:-1, :-1], root @ root.T, atol=1e-12)
    assert np.allclose(steps[:, -1], 0)
    assert np.all(np.diff(shares) <= 0)
    assert held[0] < 0.999 < held[-1] == pytest.approx(1)


def test_directions_taken_make_up_for_the_variance_of_those_left_out():
    """Of mean-field D, exit rate and slowest mode together, at small errors, for which all are linear."""
    root = 1e-3 * np.random.default_rng(2).normal(size=(4, 4)) * [[0.3], [0.02], [0.02], [0.02]]
    model, T = model_of((0.2, 0.25), (root @ root.T).tolist()), [150.0, 300.0]
    steps, shares, _ = rate_shifts.steps(model, chain([2.0, 2.0]), T, 0.5)
    theta = rate_shifts.parameters_of(model)

    def variance(moves):
        at = [[rate_shifts.mean_field(chain([2.0, 2.0]), model, theta + d, t, 0.5) for t in T] for d in moves]
        return np.sum(
            np.square(np.array(at) - [rate_shifts.mean_field(chain([2.0, 2.0]), model, theta, t, 0.5) for t in T])
        )

    factor = rate_shifts.lengthening(np.append(np.nan, shares), 2)  # the strength of interactions and one more
    assert factor > 1.02
    assert variance(factor * steps[:1, :-1]) == pytest.approx(variance(steps[:, :-1]), rel=0.01)
    assert rate_shifts.lengthening(shares, len(shares)) == pytest.approx(1)


def test_vacancies_known_within_a_factor_move_rates_of_exchange_by_it():
    """Few vacancies, rates exact: the one direction is their number, and the mean-field exit rate goes with it."""
    model = model_of((0.2, 0.2), np.zeros((4, 4)).tolist())
    steps, shares, held = rate_shifts.steps(model, chain([2.0, 2.0]), [200.0, 300.0], 0.99, 2.0)
    assert np.abs(steps[0]) == pytest.approx([0, 0, 0, 0, np.log(2)], abs=1e-12)
    assert (shares[0], held[0]) == pytest.approx((1, 1))
    fewer = rate_shifts.moved_filling(0.99, steps[0])
    assert 1 - fewer == pytest.approx(0.005)  # signs are such that diffusion falls
    theta = rate_shifts.parameters_of(model)
    exits = [rate_shifts.mean_field(chain([2.0, 2.0]), model, theta, 300.0, filling)[1] for filling in (0.99, fewer)]
    assert exits[1] - exits[0] == pytest.approx(-np.log(2), abs=0.01)
    with pytest.raises(InputError, match="leave -"):
        rate_shifts.moved_filling(0.4, np.array([0.0, np.log(2)]))


def synthetic_propagator(D_m2_per_s=1e-12, exit_rate=1e8, haven=0.5, excursions_A2=0.0, correlation=1.0) -> xr.Dataset:
    """Displacements of a random walk of D, collective ones of D/H_R; jumps of length √(6D/(Γf)).

    Excursions that return within a thousandth of a residence time, of `excursions_A2` Å², are added: the MSD is not
    linear at short times.
    """
    time = np.concatenate([[0.0], np.geomspace(0.01, 1e3, 40) / exit_rate])
    msd = 6 * D_m2_per_s * 1e20 * time
    two = ("state_a", "state_b", "time")
    P = {name: (two, np.full((2, 2, 41), 0.25)) for name in ("P", "P_se")}
    spread = np.array([[0.99], [1.0], [1.01]])
    extra = excursions_A2 * (1 - np.exp(-time * exit_rate * 1e3))
    replicas = {"msd_replica": spread * msd + extra, "msd_collective_replica": spread * msd / haven}
    square = 6 * D_m2_per_s * 1e20 / exit_rate / correlation
    return xr.Dataset(
        {**{name: (("replica", "lag"), values) for name, values in replicas.items()}, **P},
        coords={"time": time, "lag": time},
        attrs={"temperature_K": 300.0, "exit_rate_per_s": exit_rate, "mean_square_jump_A2": square}
        | {"n_ions": 100, "n_sites": 200, "vacancies_per_site": 0.5},
    )


def test_row_of_a_random_walk(tmp_path):
    sites = chain([2.0, 2.0])
    row = diffusion_table.kmc_row(synthetic_propagator(), sites, 1, tmp_path)
    assert row["D_tracer_m2_per_s"] == pytest.approx(1e-12)
    assert row["haven_ratio"] == pytest.approx(0.5)
    assert row["correlation_factor"] == pytest.approx(1)
    log_D = np.log(row["ci_high_m2_per_s"] / 1e-12)
    assert np.log(row["correlation_factor_ci_high"]) == pytest.approx(log_D)
    # D and the collective D are known equally well.
    assert np.log(row["haven_ratio_ci_high"] / 0.5) == pytest.approx(np.sqrt(2) * log_D, rel=0.05)
    assert row["vacancies_per_site"] == 0.5
    assert row["jump_rate_from_D_per_s"] == pytest.approx(1e8)
    # n e² D/(H_R k_B T): one ion in 100 Å³ (2 sites, half filled, cell 4 × 5 × 5 Å)
    sigma = 1e28 * constants.e**2 * 1e-12 / (0.5 * constants.k * 300) / 100
    assert row["conductivity_S_per_cm"] == pytest.approx(sigma)
    of_two_charges = diffusion_table.kmc_row(synthetic_propagator(), sites, 2, tmp_path)
    assert of_two_charges["conductivity_S_per_cm"] == pytest.approx(4 * sigma)
    assert row["ci_low_m2_per_s"] < 1e-12 < row["ci_high_m2_per_s"]
    assert row["ci_low_m2_per_s"] * row["ci_high_m2_per_s"] == pytest.approx(1e-24)
    assert row["diffusive"] == 1


def test_jumps_undone_at_once_do_not_shorten_the_mean_jump(tmp_path):
    """f = 0.02: nearly all jumps are undone, and the MSD has its jump length long before the first lag."""
    found = synthetic_propagator(excursions_A2=0.01, correlation=0.02)
    row = diffusion_table.kmc_row(found, chain([2.0, 2.0]), 1, tmp_path)
    length = np.sqrt(6e-12 * 1e20 / 1e8 / 0.02)
    assert row["mean_jump_length_A"] == pytest.approx(length)
    assert row["correlation_factor"] == pytest.approx(0.02, rel=0.01)
    assert row["jump_rate_from_D_per_s"] == pytest.approx(0.02e8, rel=0.01)
    assert row["origin"] == "kmc"
    moved = diffusion_table.kmc_row(found.assign_attrs(shift=2), chain([2.0, 2.0]), 1, tmp_path)
    assert (moved["origin"], moved["shift"]) == ("kmc_shift", 2)


def test_diffusion_along_an_axis_that_ions_do_not_move_along_is_left_out(tmp_path, capsys):
    """⟨x²⟩ = 2D_a t, of which the mean over three axes at right angles is D."""
    found = synthetic_propagator()
    squares = found["msd_replica"].to_numpy() / 3
    along = np.stack([1.2 * squares, 1.8 * squares, 0 * squares], axis=1)
    found = found.assign(msd_along_replica=(("replica", "axis", "lag"), along)).assign_coords(axis=["a", "b", "c"])
    row = diffusion_table.kmc_row(found, chain([2.0, 2.0]), 1, tmp_path)
    assert row["D_a_m2_per_s"] == pytest.approx(1.2e-12)
    assert row["D_b_m2_per_s"] == pytest.approx(1.8e-12)
    assert row["D_b_ci_high_m2_per_s"] / row["D_b_m2_per_s"] == pytest.approx(
        row["ci_high_m2_per_s"] / row["D_tracer_m2_per_s"]
    )
    assert "D_c_m2_per_s" not in row
    assert "along c: " in capsys.readouterr().err


def test_no_diffusion_is_not_diffusive_and_propagators_must_fit_the_sites(tmp_path, capsys):
    stuck = synthetic_propagator()
    stuck["msd_replica"][:] = 3.0 + 1e-9 * np.random.default_rng(0).normal(size=(3, 41))
    row = diffusion_table.kmc_row(stuck, chain([2.0, 2.0]), 1, tmp_path)
    assert row["diffusive"] == 0
    assert "ci_low_m2_per_s" not in row
    assert "no diffusion was seen" in capsys.readouterr().err
    with pytest.raises(InputError, match="has 2 states, the sites are 3"):
        diffusion_table.kmc_row(synthetic_propagator(), chain([2.0, 2.0, 2.0]), 1, tmp_path)
    del stuck.attrs["n_ions"]
    with pytest.raises(InputError, match="attribute n_ions is missing"):
        diffusion_table.kmc_row(stuck, chain([2.0, 2.0]), 1, tmp_path)


def test_molecular_dynamics_rows(tmp_path):
    path = tmp_path / "synthetic_summary.json"
    runs = [(600, 0.010), (600, 0.012), (700, 0.03), (500, -0.001), (400, 0.0001), (400, 0.0021)]
    sizes = {"ions": 78, "sites": 81}
    found = [{"temperature_K": T, "diffusion_A2_per_ps": {"ions": D}} | sizes for T, D in runs]
    write_json(path, {"trajectories": found})
    rows = {row["temperature_K"]: row for row in diffusion_table.md_rows([path])}
    assert rows[600]["D_tracer_m2_per_s"] == pytest.approx(1.1e-10)  # 1 Å²/ps = 1e-8 m²/s
    # two runs: standard error 0.1e-10, Student's t of 12.7 for one degree of freedom
    assert rows[600]["ci_high_m2_per_s"] == pytest.approx(1.1e-10 * np.exp(12.706 * 0.1 / 1.1), rel=1e-3)
    assert rows[600]["vacancies_per_site"] == pytest.approx(3 / 81)
    assert "ci_low_m2_per_s" not in rows[700]
    assert (rows[500]["diffusive"], rows[700]["diffusive"]) == (0, 1)
    # Less than its error: an interval by the logarithm would be of nothing.
    assert (rows[400]["diffusive"], "ci_low_m2_per_s" in rows[400]) == (0, False)
    write_json(path, {"trajectories": [{"temperature_K": 600}]})
    with pytest.raises(InputError, match="trajectory 0 lacks"):
        diffusion_table.md_rows([path])
    for other in ({"runs": []}, {"trajectories": []}):
        write_json(path, other)
        with pytest.raises(InputError, match=r"synthetic_summary.json: no list 'trajectories'"):
            diffusion_table.md_rows([path])
