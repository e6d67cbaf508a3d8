"""make_sites, analyse_jumps, run_neb and fit_rates as a user runs them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import run_neb
from crystals import cif
from insilico_nmr.crystal import make_crystal
from insilico_nmr.files import read_json, write_json
from insilico_nmr.neb import NebFailed, hop_start
from insilico_nmr.rates import BOLTZMANN_EV_PER_K
from insilico_nmr.sites import build_sites, read_sites, write_sites
from insilico_nmr.trajectory import Trajectory, write_trajectory
from insilico_nmr.vineyard import NoPrefactor
from programs import run
from student import widening

CIF = cif(47, (6, 8, 8), "Li1 Li 0 0 0 0.5", "Li2 Li 0.3 0 0 0.5", "O1 O 0.5 0.5 0.5 1.0")
CELL, REPEAT = np.diag([6.0, 8.0, 8.0]), np.array([2, 1, 1])


def walk(path_A: np.ndarray, target_K: float, mean_K: float) -> Trajectory:
    """One ion along x, (F,) Å, frames 0.1 ps apart, and the two host atoms."""
    positions = np.zeros((len(path_A), 3, 3))
    positions[:, 0, 0] = path_A
    positions[:, 1:] = np.array([[0.5, 0.5, 0.5], [1.5, 0.5, 0.5]]) @ CELL
    time = 0.1 * np.arange(len(path_A))
    temperature = mean_K + 30 * np.resize([-1, 1], len(time))
    return Trajectory(positions, np.array([3, 8, 8]), CELL * REPEAT[:, None], time, temperature, 0 * time, target_K)


@pytest.fixture
def crystal(tmp_path):
    (tmp_path / "crystal.cif").write_text(CIF)
    assert run("make_sites", tmp_path / "crystal.cif", "--mobile", "Li", "--jump-cutoff", 2.5, "--out",
               tmp_path / "sites.json") == (0, "")  # fmt: skip
    return tmp_path


def test_make_sites_finds_sites_and_jumps(crystal):
    sites = read_sites(crystal / "sites.json")
    assert [site["orbit"] for site in sites["sites"]] == ["Li1", "Li2", "Li2"]
    assert {entry["name"]: entry["distance"] for entry in sites["classes"]} == {
        "Li1-Li2:1.80": pytest.approx(1.8),
        "Li2-Li2:2.40": pytest.approx(2.4),
    }
    assert sites["concentration"] == pytest.approx(0.5)


def test_cores_that_overlap_are_refused_before_any_run(crystal):
    command = [
        "make_sites",
        crystal / "crystal.cif",
        "--mobile",
        "Li",
        "--jump-cutoff",
        2.5,
        "--out",
        crystal / "s.json",
    ]
    assert run(*command, "--core-radius", 0.8)[0] == 0
    code, said = run(*command, "--core-radius", 1.0)  # Li1 and Li2 are 1.8 Å apart
    assert (code, "expected a core radius of less than 0.90 Å" in said) == (2, True)


def test_make_sites_moves_sites_to_where_ions_are(crystal):
    # Ions sit 0.1 and 0.3 Å beyond Li2 (1.8 Å): the orbit moves by their mean, the site at the origin cannot.
    for name, beyond in (("run", 0.1), ("other", 0.3)):
        path = np.repeat([1.8 + beyond, 0.1, 1.8 + beyond], 20)
        write_trajectory(crystal / f"{name}.h5", walk(path, 300, 300))
    arguments = ["--mobile", "Li", "--jump-cutoff", 2.5, "--trajectories", crystal / "run.h5", crystal / "other.h5"]
    code, said = run("make_sites", crystal / "crystal.cif", *arguments, "--out", crystal / "moved.json")
    assert (code, "--trajectories needs --core-radius" in said) == (2, True)
    arguments += ["--core-radius", 0.7, "--out", crystal / "moved.json"]
    assert run("make_sites", crystal / "crystal.cif", *arguments)[0] == 0
    x = [site["position"][0] * 6 for site in read_sites(crystal / "moved.json")["sites"]]
    np.testing.assert_allclose(x, [0, 2.0, 4.0], atol=1e-6)
    write_trajectory(crystal / "elsewhere.h5", walk(np.full(60, 0.1), 300, 300))
    arguments[5:7] = [crystal / "elsewhere.h5"]
    assert run("make_sites", crystal / "crystal.cif", *arguments)[0] == 0
    x = [site["position"][0] * 6 for site in read_sites(crystal / "moved.json")["sites"]]
    np.testing.assert_allclose(x, [0, 1.8, 4.2], atol=1e-6)  # where no ion was, sites stay


def outputs(folder):
    """What analyse_jumps writes."""
    names = ("member-counts", "stays", "refills", "jumps")
    tables = [word for name in names for word in (f"--{name}", folder / f"{name}.csv")]
    return ["--out", folder / "counts.csv", "--summary", folder / "jumps.json", *tables]


def test_frames_that_ions_jump_between_are_told(crystal):
    for name, stay in (("slow", 30), ("fast", 5)):
        write_trajectory(crystal / f"{name}.h5", walk(np.tile(np.repeat([0.0, 1.8], stay), 100 // stay), 600, 600.0))
        code, said = run(
            "analyse_jumps", crystal / f"{name}.h5", "--sites", crystal / "sites.json", "--core-radius", 0.6,
            *outputs(crystal),
        )  # fmt: skip
        assert code == 0
        assert ("frames are 1e-13 s apart: jumps are missed" in said) == (name == "fast")


def test_rates_are_booked_at_the_temperature_that_the_runs_had(crystal):
    # Sites at 0, 1.8 and 4.2 Å of a cell of 6 Å: there and back between the first two, 20 frames each.
    there_and_back = np.tile(np.repeat([0.0, 1.8], 20), 5)
    write_trajectory(crystal / "a.h5", walk(there_and_back, 600, 610.0))
    write_trajectory(crystal / "b.h5", walk(there_and_back[:100], 600, 640.0))
    write_trajectory(crystal / "c.h5", walk(there_and_back, 500, 503.21))
    code, said = run(
        "analyse_jumps", *(crystal / f"{name}.h5" for name in "abc"), "--sites", crystal / "sites.json",
        "--core-radius", 0.6, *outputs(crystal),
    )  # fmt: skip
    assert code == 0
    stays, refills = (pd.read_csv(crystal / f"{name}.csv").set_index("temperature_K") for name in ("stays", "refills"))
    assert stays.loc[620.0, "departures"].sum() == 7 + 6 - 2  # the first stay of each run has no beginning
    assert refills["found"].tolist() == [0, 0, 0, 0]  # 20 frames are a mean stay, far from a tenth
    assert "9 jumps (89 % undone at once), 0 unlisted" in said
    counts = pd.read_csv(crystal / "counts.csv")
    # 200 frames at 610 K and 100 at 640 K.
    assert counts["temperature_K"].unique().tolist() == [503.2, 620.0]
    table = counts.set_index(["temperature_K", "from", "to"])
    assert table["count"].to_dict() == {
        (503.2, "Li1", "Li2"): 5, (503.2, "Li2", "Li1"): 4, (503.2, "Li2", "Li2"): 0,
        (620.0, "Li1", "Li2"): 7, (620.0, "Li2", "Li1"): 6, (620.0, "Li2", "Li2"): 0,
    }  # fmt: skip
    # At the origin an ion has two empty neighbours (at ±1.8 Å), at 1.8 Å one at the origin and one at 4.2 Å.
    assert table.loc[(503.2, "Li1", "Li2"), "exposure_s"] == pytest.approx(2 * 100e-13)
    assert table.loc[(503.2, "Li2", "Li2"), "exposure_s"] == pytest.approx(100e-13)
    # Every radius finds these jumps alike.
    np.testing.assert_allclose(counts["radius_log_sd"], 0, atol=1e-12)
    runs = read_json(crystal / "jumps.json")["trajectories"]
    assert [(found["target_temperature_K"], found["temperature_K"]) for found in runs] == [
        (500, 503.2), (600, 620.0), (600, 620.0)
    ]  # fmt: skip
    assert [round(found["mean_temperature_K"], 2) for found in runs] == [503.21, 610.0, 640.0]
    # By temperature: all jumps, fractions over all of them.
    jumps = pd.read_csv(crystal / "jumps.csv").set_index("temperature_K")
    assert jumps["jumps"].to_dict() == {503.2: 9, 620.0: 13}
    assert jumps["runs"].to_dict() == {503.2: 1, 620.0: 2}
    assert jumps.loc[620.0, "returned_fraction"] == pytest.approx((8 + 3) / 13, rel=1e-3)
    assert jumps.loc[620.0, "followed_s"] == pytest.approx(sum(found["duration_s"] for found in runs[1:]), rel=1e-3)
    # Nine steps of 1.8 Å of one ion: Σ d²/(6 t)
    expected = 9 * 1.8**2 * 1e-20 / (6 * runs[0]["duration_s"])
    assert jumps.loc[503.2, "D_uncorrelated_m2_per_s"] == pytest.approx(expected, rel=1e-3)
    for found in runs:
        assert [row["core_radius_A"] for row in found["other_radii"]] == [pytest.approx(0.45), pytest.approx(0.75)]
        assert [row["jumps"] for row in found["other_radii"]] == [found["jumps"]] * 2
        assert found["jumps_per_ion_per_s"] == pytest.approx(found["jumps"] / found["duration_s"])
        assert {"ions", "sites", "uncorrelated"} == set(found["diffusion_A2_per_ps"])


def test_a_rate_that_hangs_on_the_core_radius_says_by_how_much(crystal):
    # Every second visit stays 0.7 Å short of the site: a jump at the larger radius (0.75 Å) only.
    path = np.tile(np.repeat([0.0, 1.8, 0.0, 1.1], 10), 8)
    write_trajectory(crystal / "a.h5", walk(path, 600, 600.0))
    arguments = ["--sites", crystal / "sites.json", *outputs(crystal)]
    assert run("analyse_jumps", crystal / "a.h5", *arguments, "--core-radius", 0.6)[0] == 0
    smaller, larger = read_json(crystal / "jumps.json")["trajectories"][0]["other_radii"]
    assert (smaller["jumps"], larger["jumps"]) == (16, 31)
    # At 0.6 Å 8 jumps there in 2 × 240 frames and 8 back in 80; at 0.75 Å 2 × 160 frames and 160 would hold 5.3 and 16.
    assert smaller["rate_factor"] == pytest.approx(1, rel=0.02)
    assert larger["rate_factor"] == pytest.approx(31.5 / (8 * 320 / 480 + 8 * 160 / 80 + 0.5), rel=0.02)
    half = np.log(larger["rate_factor"] / min(1, smaller["rate_factor"])) / 2
    np.testing.assert_allclose(pd.read_csv(crystal / "counts.csv")["radius_log_sd"], half)
    code, said = run("analyse_jumps", crystal / "a.h5", *arguments, "--core-radius", 0.9)
    assert code == 2
    assert "are 1.80 Å apart; expected a core radius of less than 0.90 Å" in said


def test_barriers_are_sought_for_every_class_and_not_again(crystal, monkeypatch):
    sought = []

    def find_barrier(hop, calculator, images, max_force):
        sought.append(calculator)
        if calculator == 1:
            raise NebFailed("not converged", "made up")
        return SimpleNamespace(forward_eV=0.4, backward_eV=0.3)

    def find_minima(hop, ion, calculator):
        return SimpleNamespace(below_image_eV=0.01), SimpleNamespace(below_image_eV=0.02)

    def find_saddle(hop, ion, calculator):
        if len(sought) > 4:
            raise NoPrefactor("made up too")
        return SimpleNamespace(above_image_eV=-0.05 if len(sought) < 3 else -0.35)

    (crystal / "potential").write_text("made up")
    monkeypatch.setattr(run_neb, "member_file", lambda folder, member: folder)
    monkeypatch.setattr(run_neb, "calculator", lambda folder, symbols, member: member)
    monkeypatch.setattr(run_neb, "hop_start", lambda *arguments, calculator: hop_start(*arguments))
    monkeypatch.setattr(run_neb, "find_barrier", find_barrier)
    monkeypatch.setattr(run_neb, "find_minima", find_minima)
    monkeypatch.setattr(run_neb, "find_saddle", find_saddle)
    monkeypatch.setattr(run_neb, "prefactor", lambda minimum, saddle: 3e12)

    def neb(*more: object) -> pd.DataFrame:
        files = ["--sites", crystal / "sites.json", "--potential", crystal / "potential"]
        files += ["--state", crystal / "state", "--out", crystal / "barriers.csv"]
        sizes = ["--repeat", 4, 1, 1, "--min-distance", 1.5, "--members", 2, "--arrangements", 2]
        code, said = run("run_neb", crystal / "crystal.cif", *files, *sizes, "--seed", 1, *more)
        assert code == 0, said
        return pd.read_csv(crystal / "barriers.csv")

    found = neb()
    assert found["class"].tolist() == ["Li1-Li2:1.80"] * 4 + ["Li2-Li2:2.40"] * 4
    assert sought == [0, 1] * 4
    statuses = ["converged", "not converged", "no minimum", "not converged", *["converged", "not converged"] * 2]
    assert found["status"].tolist() == statuses
    converged = found[found["status"] == "converged"]
    heights = np.array([[0.36, 0.27], [0.41, 0.32], [0.41, 0.32]])
    assert converged[["forward_eV", "backward_eV"]].to_numpy() == pytest.approx(heights)
    assert converged["forward_prefactor_per_s"].tolist() == pytest.approx([3e12, np.nan, np.nan], nan_ok=True)
    assert converged["reason"].fillna("").tolist() == ["", *["no prefactor: made up too"] * 2]
    assert found["reason"][2] == "no minimum: the saddle is no higher than a minimum beside it"
    assert found[["forward_eV", "backward_eV"]].drop(index=converged.index).isna().all(axis=None)
    pd.testing.assert_frame_equal(neb(), found)
    assert len(sought) == 8
    # Other settings: nothing that was found before holds.
    neb("--seed", 2)
    assert len(sought) == 16
    # In one cell of three sites, of which two are filled, there is nothing to draw.
    assert neb("--repeat", 1, 1, 1)["arrangement"].tolist() == [0] * 4


CLASSES = [("aa", "A", "A"), ("ab", "A", "B")]
TOPS, ENERGY, PREFACTOR = {"aa": 0.30, "ab": 0.25}, {"A": 0.0, "B": 0.05}, 5e12


def write_counts(folder, table: pd.DataFrame) -> None:
    """Counts of runs that are all of one member."""
    table.to_csv(folder / "counts.csv", index=False)
    table.assign(member=0).to_csv(folder / "member_counts.csv", index=False)


@pytest.fixture
def counted(tmp_path):
    """Sites, counts of aa by the hundreds and of ab by the few, and NEB barriers of both that are far off."""
    group = np.array([np.eye(3, dtype=int), np.diag([-1, 1, 1])])
    atoms = [("A", "Li", 0.5, np.zeros(3)), ("B", "Li", 0.5, np.array([0.5, 0, 0]))]
    sites = build_sites(make_crystal(np.diag([6.0, 3.1, 9.0]), group, np.zeros((2, 3)), atoms), "Li", 3.05)
    sites["jumps"] += [{"from": 0, "to": 0, "image": [0, y, 0], "class": "aa"} for y in (1, -1)]
    name = sites["classes"][0]["name"]
    sites["classes"] = [{"name": "aa", "from": "A", "to": "A", "distance": 3.1}, sites["classes"][0] | {"name": "ab"}]
    sites["jumps"] = [jump | {"class": jump["class"].replace(name, "ab")} for jump in sites["jumps"]]
    write_sites(tmp_path / "sites.json", sites)
    rows = []
    for temperature in (507.5, 609.3, 697.8):
        for (label, start, end), exposure in zip([*CLASSES, ("ab", "B", "A")], (2e-8, 2e-11, 1e-11), strict=True):
            rate = PREFACTOR * np.exp(-(TOPS[label] - ENERGY[start]) / (BOLTZMANN_EV_PER_K * temperature))
            rows.append(
                [
                    label,
                    start,
                    end,
                    temperature,
                    round(rate * exposure),
                    exposure,
                    rate,
                    rate,
                    rate,
                    "md",
                    1,
                    0.2,
                    1e-13,
                ]
            )
    columns = ["class", "from", "to", "temperature_K", "count", "exposure_s", "rate_per_s", "ci_low_per_s"]
    columns += ["ci_high_per_s", "origin", "fano", "radius_log_sd", "frame_s"]
    write_counts(tmp_path, pd.DataFrame(rows, columns=columns))
    barriers = [["aa", "A", "A", 0, 0, "converged", 0.9, 0.8, 2e13, 5e11, ""]]
    barriers.append(["ab", "A", "B", 0, 0, "converged", 0.31, 0.24, 4e12, "", "no prefactor: lost"])
    barriers.append(["ab", "A", "B", 1, 0, "no minimum", "", "", "", "", "lost"])
    columns = ["class", "from", "to", "arrangement", "member", "status", "forward_eV", "backward_eV"]
    columns += ["forward_prefactor_per_s", "backward_prefactor_per_s", "reason"]
    pd.DataFrame(barriers, columns=columns).to_csv(tmp_path / "barriers.csv", index=False)
    return tmp_path


def run_fit(folder, *more: object) -> tuple[int, str]:
    arguments = ["--members", folder / "member_counts.csv", "--sites", folder / "sites.json"]
    arguments += ["--neb", folder / "barriers.csv", "--min-count", 50, "--neb-error", 0.05, "--prefactor", 5e12]
    arguments += ["--prefactor-factor", 3, "--temperatures", 300, 600]
    outputs = ["--out", folder / "rates.csv", "--model", folder / "model.json", "--out-members"]
    outputs.append(folder / "rate_members.csv")
    return run("fit_rates", folder / "counts.csv", *arguments, *outputs, *more)


def fit(folder, *more: object) -> tuple[pd.DataFrame, dict]:
    code, said = run_fit(folder, *more)
    assert code == 0, said
    return pd.read_csv(folder / "rates.csv"), read_json(folder / "model.json")


def test_barriers_enter_for_rare_classes_and_not_for_frequent_ones(counted):
    counts = pd.read_csv(counted / "counts.csv").groupby("class")["count"].sum()
    assert counts["ab"] < 50 < counts["aa"]
    rates, model = fit(counted)
    assert {(row["class"], row["from"], row["to"]): row["barrier_eV"] for row in model["neb"]} == {
        ("ab", "A", "B"): 0.31,
        ("ab", "B", "A"): 0.24,
    }
    # MD alone rules the frequent class, whose NEB barrier is 0.55 eV off and shown.
    assert model["barrier_tops_eV"]["aa"] == pytest.approx(TOPS["aa"], abs=0.03)
    assert [(row["class"], row["barrier_eV"]) for row in model["neb_beside"]] == [("aa", pytest.approx(0.85))]
    assert set(rates[rates["origin"] == "neb"]["class"]) == {"aa", "ab"}
    assert fit(counted, "--min-count", 1)[1]["neb"] == []


def test_no_barrier_at_all_leaves_the_model_to_md(counted):
    table = pd.read_csv(counted / "barriers.csv")
    table[:0].to_csv(counted / "barriers.csv", index=False)
    rates, model = fit(counted)
    assert (model["neb"], model["neb_beside"], model["vineyard"]) == ([], [], [])
    assert "neb" not in set(rates["origin"])


def test_vineyard_prefactors_are_in_the_rates_of_neb_and_not_in_the_model(counted):
    rates, model = fit(counted)
    found = {row["class"]: row for row in model["vineyard"]}
    assert found["aa"]["geometric_mean_per_s"] == pytest.approx(np.sqrt(2e13 * 5e11))
    assert found["aa"]["spread_factor"] == pytest.approx(np.sqrt(2e13 / 5e11))
    assert (found["ab"]["from"], found["ab"]["to"], found["ab"]["paths"]) == ("A", "B", 1)
    mean = (2e13 * 5e11 * 4e12) ** (1 / 3)
    assert found["all"]["geometric_mean_per_s"] == pytest.approx(mean)
    assert found["all"]["over_expected"] == pytest.approx(mean / 5e12)
    assert found["all"]["within_factor"] == 1  # of 2e13, 5e11 and 4e12 only the last is within a factor of three
    table = pd.read_csv(counted / "barriers.csv")
    none = table.assign(forward_prefactor_per_s=np.nan, backward_prefactor_per_s=np.nan)
    none.to_csv(counted / "barriers.csv", index=False)
    without, bare = fit(counted)
    assert bare["vineyard"] == []
    of_neb = rates["origin"] == "neb"
    pd.testing.assert_frame_equal(without[~of_neb], rates[~of_neb])
    columns = ["class", "from", "temperature_K"]
    both = rates[of_neb].merge(without[of_neb], on=columns, suffixes=("", "_model"))
    for name, start, attempts in (("aa", "A", np.sqrt(2e13 * 5e11)), ("ab", "A", 4e12), ("ab", "B", mean)):
        rows = both[(both["class"] == name) & (both["from"] == start)]
        assert len(rows) > 1
        factors = rows["rate_per_s"] / rows["rate_per_s_model"]
        assert factors.to_numpy() == pytest.approx(attempts / bare["prefactor_per_s"])
    # Three paths, whose spread is in the interval beside the error of a barrier
    row = both[both["class"] == "ab"].iloc[0]
    error = next(one["error_eV"] for one in model["neb"] if one["class"] == "ab")
    half = np.hypot(error / (BOLTZMANN_EV_PER_K * row["temperature_K"]), np.log(found["all"]["spread_factor"]))
    assert np.log(row["ci_high_per_s"] / row["rate_per_s"]) == pytest.approx(1.96 * half)


def test_a_barrier_that_md_went_round_is_left_out_and_shown(counted):
    rates, model = fit(counted, "--min-count", 10**6)
    # Hundreds of jumps of aa are no jumps over 0.85 eV; ab would do.
    assert {row["class"] for row in model["neb"]} == {"ab"}
    assert [(row["class"], row["barrier_eV"]) for row in model["neb_beside"]] == [("aa", pytest.approx(0.85))]
    assert model["barrier_tops_eV"]["aa"] == pytest.approx(TOPS["aa"], abs=0.03)
    assert set(rates[rates["origin"] == "neb"]["class"]) == {"aa", "ab"}
    # Of a class without a jump nothing can be said against its barrier.
    counts = pd.read_csv(counted / "counts.csv")
    counts.loc[counts["class"] == "aa", "count"] = 0
    write_counts(counted, counts)
    assert {row["class"] for row in fit(counted, "--min-count", 10**6)[1]["neb"]} == {"aa", "ab"}


def test_a_way_back_that_is_free_does_not_excuse_a_way_there_that_is_not(counted):
    """Jumps from A to B over a barrier that forbids them, with a free way back: judged each alone, it is left out."""
    path = counted / "barriers.csv"
    barriers = pd.read_csv(path)
    forbidding = (barriers["class"] == "ab") & (barriers["status"] == "converged")
    barriers.loc[forbidding, ["forward_eV", "backward_eV"]] = [1.6, 0.0]
    barriers.to_csv(path, index=False)
    assert pd.read_csv(counted / "counts.csv").groupby(["class", "from"])["count"].sum()["ab", "A"] >= 3
    _, model = fit(counted)
    assert {row["class"] for row in model["neb_beside"]} == {"aa", "ab"}


def test_the_model_has_rates_at_the_temperatures_asked_for_and_at_those_of_the_runs(counted):
    rates, _ = fit(counted)
    expected = [300, 507.5, 600, 609.3, 697.8]
    for origin in ("model", "neb"):
        assert sorted(rates[rates["origin"] == origin]["temperature_K"].unique()) == expected
    # Matched by temperature, MD and model can be compared row by row.
    keys = ["class", "from", "to", "temperature_K"]
    md, model = (rates[rates["origin"] == origin] for origin in ("md", "model"))
    both = md.merge(model, on=keys)
    assert len(both) == len(md) == 9
    np.testing.assert_allclose(np.log(both["rate_per_s_y"] / both["rate_per_s_x"]), 0, atol=0.4)


def test_md_above_the_mark_takes_no_part_and_what_it_would_change_is_given(counted):
    table = pd.read_csv(counted / "counts.csv")
    hottest = table["temperature_K"].idxmax()
    table.loc[table["temperature_K"] == table["temperature_K"][hottest], "count"] *= 10
    write_counts(counted, table)
    rates, model = fit(counted, "--mark-above", 650)
    assert model["barrier_tops_eV"]["aa"] == pytest.approx(TOPS["aa"], abs=0.05)
    keys = ["class", "from", "to", "temperature_K"]
    both = rates[rates["origin"] == "model"].merge(rates[rates["origin"] == "model_with_marked"], on=keys)
    hot = both[(both["class"] == "aa") & (both["temperature_K"] == 697.8)]
    assert (hot["rate_per_s_y"] > 2 * hot["rate_per_s_x"]).all()
    assert (rates[rates["origin"] == "md"]["temperature_K"] == 697.8).sum() == 3
    assert "model_with_marked" not in set(fit(counted)[0]["origin"])
    code, said = run_fit(counted, "--mark-above", 400)
    assert (code, "no MD up to 400 K" in said) == (2, True)


def test_the_core_radius_widens_all_rates_by_one_factor(counted):
    wide = fit(counted)[1]
    table = pd.read_csv(counted / "counts.csv").assign(radius_log_sd=0.0)
    write_counts(counted, table)
    narrow = fit(counted)[1]
    assert (wide["core_radius_log_sd"], narrow["core_radius_log_sd"]) == (pytest.approx(0.2), 0)
    difference = np.array(wide["covariance"]) - np.array(narrow["covariance"])
    expected = np.zeros_like(difference)
    expected[wide["parameters"].index("ln_prefactor")] = 0.2**2 * np.eye(len(expected))[0]
    np.testing.assert_allclose(difference, expected, atol=1e-9)
    table.drop(columns="radius_log_sd").to_csv(counted / "counts.csv", index=False)
    assert run_fit(counted) == (2, f"error: {counted / 'counts.csv'}: column radius_log_sd is missing\n")


def test_a_folder_where_a_file_should_be_is_one_line_and_code_2(crystal):
    arguments = [crystal / "crystal.cif", "--mobile", "Li", "--jump-cutoff", 2.5]
    (crystal / "folder").mkdir()
    code, said = run("make_sites", *arguments, "--out", crystal / "folder")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "folder" in said
    write_json(crystal / "empty.json", {})
    for wrong, message in (
        (crystal, "directory"),
        (crystal / "none.json", "no such file"),
        (crystal / "empty.json", "'"),
    ):
        code, said = run("analyse_jumps", crystal / "a.h5", "--sites", wrong, "--core-radius", 0.6, *outputs(crystal))
        assert (code, len(said.splitlines())) == (2, 1)
        assert message in said
    assert sorted(path.name for path in crystal.iterdir()) == ["crystal.cif", "empty.json", "folder", "sites.json"]


def test_what_members_disagree_on_is_in_the_intervals_and_named(counted):
    """Two members: the second has the barrier of aa 0.02 eV higher; of ab no jump was seen."""
    rows = [(0, "site_energy", "B", 0.0), (1, "site_energy", "B", 0.01)]
    rows += [(0, "barrier_top", "aa", 0.0), (1, "barrier_top", "aa", 0.02)]
    columns = ["member", "quantity", "name", "difference_eV"]
    pd.DataFrame(rows, columns=columns).to_csv(counted / "energies.csv", index=False)
    narrow, alone = fit(counted)
    rates, model = fit(counted, "--member-energies", counted / "energies.csv")
    # Of two values, the second of four fifths of the data
    factor = np.sqrt(8) * widening(2) / np.sqrt(2)
    spread = {"B": 0.01 * factor, "aa": 0.02 * factor, "ab": 0.02 * factor}
    assert model["spread_of_members_eV"] == pytest.approx(spread)
    assert model["parameters"] == ["ln_prefactor", *spread]
    added = np.array(model["covariance"]) - np.array(alone["covariance"])
    assert added[1:3, 1:3] == pytest.approx(factor**2 * np.outer([0.01, 0.02], [0.01, 0.02]))
    assert added[0] == pytest.approx(0)
    key = ["origin", "class", "from", "to", "temperature_K"]
    both = rates.merge(narrow, on=key).query("origin == 'model' and `class` == 'aa' and temperature_K == 600").iloc[0]
    wide, before = (np.log(both[f"rate_per_s_{n}"] / both[f"ci_low_per_s_{n}"]) / 1.96 for n in "xy")
    assert wide**2 - before**2 == pytest.approx((spread["aa"] / (BOLTZMANN_EV_PER_K * 600)) ** 2, rel=1e-3)


def test_energies_of_members_on_other_sites_are_refused(counted):
    rows = [(0, "site_energy", "B", 0.0), (1, "site_energy", "B", 0.01), (1, "barrier_top", "ac", 0.0)]
    columns = ["member", "quantity", "name", "difference_eV"]
    pd.DataFrame(rows, columns=columns).to_csv(counted / "energies.csv", index=False)
    code, said = run_fit(counted, "--member-energies", counted / "energies.csv")
    assert (code, len(said.splitlines())) == (2, 1)
    assert "energies.csv: barrier_top ac: in the table or in the rate model, not in both" in said


def test_counts_of_members_add_up_and_each_has_its_own_model(counted):
    """Two members, one of which makes the jumps of aa 4 times as often as the other and those of ab alike."""
    one = pd.read_csv(counted / "member_counts.csv")
    fast = one["class"] == "aa"
    one.loc[fast, ["count", "exposure_s"]] *= 25
    other = one.assign(member=1, count=one["count"].where(~fast, 4 * one["count"]))
    both = one.assign(count=one["count"] + other["count"], exposure_s=2 * one["exposure_s"])
    both.drop(columns="member").to_csv(counted / "counts.csv", index=False)
    pd.concat([one, other]).to_csv(counted / "member_counts.csv", index=False)
    fit(counted)
    table = pd.read_csv(counted / "rate_members.csv").set_index(["member", "quantity"])
    assert set(table.index.get_level_values("quantity")) == {"prefactor_per_s", "site_energy_eV", "barrier_eV"}
    barriers = table[table["class"] == "aa"]["value"].droplevel(1)
    prefactors = table["value"].xs("prefactor_per_s", level="quantity")
    rates_of_members = prefactors * np.exp(-barriers / (BOLTZMANN_EV_PER_K * 600))
    assert rates_of_members[1] / rates_of_members[0] == pytest.approx(4, rel=0.05)
    pd.concat([one, one]).to_csv(counted / "member_counts.csv", index=False)
    code, said = run_fit(counted)
    assert (code, "do not add up to those of all runs" in said) == (2, True)


def test_jumps_that_end_within_a_frame_have_no_barrier_and_spoil_no_fit(counted):
    """Every ion that comes to B is replaced at once: as many jumps back as there, each in the frame of its own."""
    table = pd.read_csv(counted / "counts.csv")
    there, back = ((table["from"] == start) & (table["to"] == end) for start, end in ("AB", "BA"))
    table.loc[back, "count"] = table.loc[there, "count"].to_numpy()
    table.loc[back, "exposure_s"] = table.loc[back, "count"] * table["frame_s"]
    write_counts(counted, table[~(back & (table["count"] == 0))])
    rates, model = fit(counted, "--min-count", 1)
    assert model["unresolved"] == [["ab", "B", "A"]]
    assert model["chi_squared"] < 3 * model["degrees_of_freedom"]
    assert model["site_energies_eV"]["B"] == pytest.approx(model["barrier_tops_eV"]["ab"], abs=1e-6)
    assert model["barrier_tops_eV"]["ab"] == pytest.approx(TOPS["ab"], abs=0.05)
    md = rates[rates["origin"] == "md"]
    assert not ((md["class"] == "ab") & (md["from"] == "B")).any()


def test_jumps_that_end_within_a_frame_count_once_where_neb_has_a_barrier_too(counted):
    """Two jumps a temperature, back at once: the way back has no barrier, whatever NEB's 0.24 eV say."""
    table = pd.read_csv(counted / "counts.csv")
    of_ab = table["class"] == "ab"
    table.loc[of_ab, "count"] = 2
    table.loc[of_ab, "exposure_s"] = (2 / table["rate_per_s"]).where(table["from"] == "A", 2 * table["frame_s"])
    write_counts(counted, table)
    _, model = fit(counted, "--min-count", 50)
    assert model["unresolved"] == [["ab", "B", "A"]]
    assert model["barrier_tops_eV"]["ab"] - model["site_energies_eV"]["B"] == pytest.approx(0, abs=0.01)
    assert TOPS["ab"] - 0.02 < model["barrier_tops_eV"]["ab"] < 0.31 + 0.02  # between counts and NEB's 0.31 eV
