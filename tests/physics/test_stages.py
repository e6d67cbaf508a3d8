"""A propagator sampled in stages: the master equation over ten decades, and when stages must not be made."""

import numpy as np
import pytest
import xarray as xr
from insilico_nmr import propagator, stages
from insilico_nmr.echo import contract, load_propagator, tensor_kernel
from insilico_nmr.lattice import build_lattice, equilibrium
from insilico_nmr.relaxation import completed, decay_kernel, fit_decay
from lattices import isolated_sites
from scipy.linalg import expm

# Site energies 0 and 1 kT: one ion on a ladder of three pairs; steps between are 1e4 and 1e8 times rarer than within.
IONS = 250
UP = float(np.exp(1.0))
LADDER = isolated_sites("ABAABA", [(0, 1, "fast"), (1, 2, "middle"), (2, 3, "fast"), (3, 4, "slow"), (4, 5, "fast")])
RATES = {
    ("fast", "A", "B"): 1e8, ("fast", "B", "A"): 1e8 * UP, ("fast", "A", "A"): 1e8,
    ("middle", "A", "B"): 1e4, ("middle", "B", "A"): 1e4 * UP,
    ("slow", "A", "B"): 1.0, ("slow", "B", "A"): UP,
}  # fmt: skip


def sampled(lattice, n_ions, events, replicas=3, longest=2e4):
    """What `run_kmc.py` runs for each stage."""

    def run_stage(slowed, stage):
        plan = propagator.make_plan(slowed, n_ions, 11 + stage, events, longest)
        done = []
        for replica in range(replicas):
            measurement = propagator.begin(plan, replica)
            while propagator.proceed(plan, measurement):
                pass
            done.append(measurement.sums)
        return propagator.combine(plan, done, 300.0)

    return run_stage


def exact(lattice, time_s):
    """diag(p) exp(Kt) of one ion, (m, m, T)."""
    start, end, rate = lattice.links
    K = np.zeros((len(lattice.basis),) * 2)
    np.add.at(K, (start, end), rate)
    K -= np.diag(K.sum(axis=1))
    p = np.exp(lattice.log_weight) / np.exp(lattice.log_weight).sum()
    return np.stack([p[:, None] * expm(K * t) for t in time_s], axis=-1)


def test_stages_follow_the_master_equation_over_ten_decades(capsys):
    lattice = build_lattice(LADDER, RATES, (28, 28, 28))  # one ladder in eighty holds an ion, hardly any holds two
    found = stages.in_stages(lattice, IONS, sampled(lattice, IONS, 1_500_000))
    time = found["time"].to_numpy()
    assert abs(found.attrs["residual"]) < 0.1
    assert found.attrs["stages"] >= 3
    assert time[-1] / time[1] > 1e9
    wanted = exact(lattice, time)
    # 750 ions, of which each is on one of three pairs while steps between pairs are rare: 3 % of the probabilities.
    assert found["P"].to_numpy() == pytest.approx(wanted, abs=0.015)
    assert np.einsum("aat->t", found["P"].to_numpy()) == pytest.approx(np.einsum("aat->t", wanted), abs=0.03)
    # One stage of as many events ends before the middle class has acted at all.
    single = sampled(lattice, IONS, 1_500_000)(lattice, 0)
    assert float(single["time"][-1]) < 1e-4
    assert single.attrs["complete"] == 0
    assert "middle" not in capsys.readouterr().err.splitlines()[0]
    assert found.sizes["lag"] == single.sizes["time"]


def test_rare_jumps_that_early_lags_have_not_met_relax_as_their_flux_says(tmp_path):
    """One jump a second changes the tensor; frequencies are far above the lags at which any such ion has been seen."""
    lattice = build_lattice(LADDER, RATES, (28, 28, 28))
    path = tmp_path / "propagator.nc"
    propagator.write_propagator(path, stages.in_stages(lattice, IONS, sampled(lattice, IONS, 1_500_000)))
    tensors = np.repeat([np.diag([-1, -1, 2.0]), np.diag([2.0, -1, -1])], [4, 2], axis=0)
    found, counts = completed(load_propagator(path), tensors)
    kernel = tensor_kernel(tensors)
    remaining = contract(kernel, found.joint - found.limit[..., None])
    decayed = contract(decay_kernel(kernel), found.joint)
    fitted = fit_decay(found.time_s, remaining, decayed, decayed / np.sqrt(counts))
    start, end, rate = lattice.links
    generator = np.zeros((6, 6))
    np.add.at(generator, (start, end), rate)
    generator -= np.diag(generator.sum(axis=1))
    p, flat = found.populations, tensors.reshape(6, 9)
    away = flat - p @ flat
    for frequency in (1e2, 1e4, 1e6):
        response = np.linalg.solve(1j * frequency * np.eye(6) - generator + np.outer(np.ones(6), p), away)
        exact_density = np.einsum("a,ac,ac->", p, away, response.real)
        # Some tens of ions have made that jump when a stage ends: a fifth.
        assert fitted.spectral_density(frequency) == pytest.approx(exact_density, rel=0.3)


def test_slowing_keeps_equilibrium_and_caps_what_is_frequent():
    lattice = build_lattice(LADDER, RATES, (2, 2, 2))
    slow = stages.slowed(lattice, 5, 300.0)
    assert np.array_equal(slow.log_weight, lattice.log_weight)
    before, after = stages.frequencies(lattice, 5), stages.frequencies(slow, 5)
    assert after["fast"] == pytest.approx(300.0)
    assert after["middle"] == pytest.approx(300.0)
    assert after["slow"] == before["slow"] < 300
    assert sum(before.values()) == pytest.approx(equilibrium(lattice, 5).exit_rate)


def test_classes_that_are_close_are_never_told_apart_by_force():
    assert stages.next_cap({"a": 1e6, "b": 1e5}, np.inf, 1.0) is None
    assert stages.next_cap({"a": 1e6}, np.inf, 1.0) is None
    # Separated: down to where the next class is near, and no lower; nor where lags of the stage before end too soon.
    assert stages.next_cap({"a": 1e9, "b": 1e3}, np.inf, 1.0) == stages.SEPARATION * 1e3
    assert stages.next_cap({"a": 1e9, "b": 1e3}, np.inf, 1e-6) == pytest.approx(stages.OVERLAP * stages.SETTLED * 1e6)
    # The cap that is reached already brings nothing.
    assert stages.next_cap({"a": 1e9, "b": 1e3}, stages.SEPARATION * 1e3, 1.0) is None
    # Two that are close are slowed together where a third is far below.
    assert stages.next_cap({"a": 1e9, "b": 5e8, "c": 1.0}, np.inf, 1.0) == pytest.approx(stages.SEPARATION)


def test_stages_that_contradict_each_other_are_not_joined(capsys):
    lattice = build_lattice(LADDER, RATES, (28, 28, 28))
    honest = sampled(lattice, IONS, 1_500_000)

    def wrong_later(slowed, stage):
        found = honest(slowed, stage)
        if stage:  # as if the ion had never left its site
            stayed = np.diag(found["p"].to_numpy())[None, ..., None].astype(np.float32)
            found["P_replica"] = found["P_replica"] * 0 + stayed
        return found

    found = stages.in_stages(lattice, IONS, wrong_later)
    assert (found.attrs["stages"], found.attrs["complete"]) == (1, 0)
    assert "differs from the one before" in capsys.readouterr().err


def test_one_stage_passes_into_the_next_without_a_step():
    """Each is itself where it alone counts; between, their logarithmic mean, replica by replica."""

    def of(value: float, times: np.ndarray) -> xr.Dataset:
        replicas = np.full((2, 1, 1, len(times)), value, np.float32) + np.array([-0.01, 0.01]).reshape(2, 1, 1, 1)
        dims = ("replica", "state_a", "state_b", "time")
        parts = {"P_replica": (dims, replicas), "P": (dims[1:], replicas.mean(0)), "P_se": (dims[1:], replicas.std(0))}
        parts["observations"] = ("time", np.full(len(times), 1000 * value))
        return xr.Dataset(parts, {"time": times}, {"jumps_executed": 1, "complete": int(value < 0.5)})

    first = of(0.8, np.concatenate([[0.0], np.geomspace(1e-6, 1e-2, 41)]))
    found = stages.joined(first, of(0.4, np.concatenate([[0.0], np.geomspace(1e-5, 1.0, 51)])), 1e-4)
    time, P = found["time"].to_numpy(), found["P"].to_numpy().ravel()
    np.testing.assert_allclose(P[time <= 1e-4], 0.8, rtol=1e-6)
    np.testing.assert_allclose(P[time >= 1e-2], 0.4, rtol=1e-6)
    assert P[np.argmin(np.abs(time - 1e-3))] == pytest.approx(0.6, rel=1e-6)
    assert np.abs(np.diff(P)).max() < 0.03
    np.testing.assert_allclose(found["P_se"], 0.01, rtol=1e-4)
    np.testing.assert_array_equal(found["observations"], np.where(time <= 1e-2, 800, 400))
    assert (found.attrs["complete"], found.attrs["jumps_executed"], time[-1]) == (1, 2, 1.0)
