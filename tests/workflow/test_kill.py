"""kill -9 in the middle of training and of MD: a clean restart with the same numbers, and no half-written result."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from insilico_nmr.trajectory import read_trajectory

ROOT = Path(__file__).parents[2]
DATASET = ROOT / "resources" / "dft" / "li3ps4.extxyz"


def run(script: str, arguments: list[str]) -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / script), *arguments], check=True, capture_output=True)


def kill_when(script: str, arguments: list[str], state: Path, pattern: str) -> None:
    """Start the script and kill it as soon as a state to go on from is there."""
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(state.glob(pattern)):
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_training(tmp_path):
    size = {"cutoff": 3.5, "features": 4, "interactions": 1, "radial": 4, "epochs": 8, "batch-size": 4}
    rest = {
        "member": 0,
        "members": 2,
        "element": "Li",
        "backbone": "so3net",
        "harmonics": 4,
        "seed": 1,
        "learning-rate": 3e-3,
        "weight-decay": 0,
    }
    settings = [word for key, value in (size | rest).items() for word in (f"--{key}", str(value))]

    def arguments(name):
        return [str(DATASET), "--out", str(tmp_path / name), "--resume", str(tmp_path / f".{name}"), *settings]

    run("train_tensors.py", arguments("whole"))
    kill_when("train_tensors.py", arguments("cut"), tmp_path / ".cut", "last.ckpt")
    assert not (tmp_path / "cut" / "config.json").exists()
    run("train_tensors.py", arguments("cut"))
    states = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "cut")]
    assert all(torch.equal(states[0][key].nan_to_num(), states[1][key].nan_to_num()) for key in states[0])


def test_molecular_dynamics(tmp_path):
    run(
        "train_potential.py",
        f"{DATASET} --out {tmp_path}/potential --members 1 --seed 1 --pair-cutoff 6 --pair-intervals 20 "
        "--trio-cutoff 3.6 --leg-intervals 4 --side-intervals 8 --energy-error 0.003 --force-error 0.1 "
        "--stress-error 0.002 --ridge 0.5 --curvature 0.5 --wall 100 --coverage 1".split(),
    )
    run(
        "make_structure.py",
        f"{ROOT}/resources/structures/li3ps4_beta.cif --mobile Li --repeat 1 1 2 --seed 1 --min-distance 2.3 "
        f"--out {tmp_path}/start.extxyz".split(),
    )

    def arguments(name):
        return (
            f"{tmp_path}/start.extxyz --potential {tmp_path}/potential --temperature 300 --equilibration-ps 1 "
            "--production-ps 5 --timestep-fs 2 --interval-fs 100 --damping-ps 0.2 --seed 3 "
            f"--resume {tmp_path}/.{name} --out {tmp_path}/{name}.h5 --out-checks {tmp_path}/{name}.json"
        ).split()

    run("run_md.py", arguments("whole"))
    kill_when("run_md.py", arguments("cut"), tmp_path / ".cut", "chunk_00000.npz")
    assert not (tmp_path / "cut.h5").exists()
    run("run_md.py", arguments("cut"))
    whole, cut = (read_trajectory(tmp_path / f"{name}.h5").positions for name in ("whole", "cut"))
    assert np.array_equal(whole, cut)
