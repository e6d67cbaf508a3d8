"""Points of learning curves: models of a tensor or of its scalars, trained on part of the data in as many steps."""

import time
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
from ase import Atoms

from insilico_nmr.dataset import labelled, tensors_of
from insilico_nmr.errors import InputError
from insilico_nmr.networks import TensorArchitecture
from insilico_nmr.scalar_model import train_scalars
from insilico_nmr.tensor_training import train
from insilico_nmr.training import Schedule

TENSOR = "tensor"


def part_of(frames: list[Atoms], number: int, schedule: Schedule, seeds: list[int]) -> tuple[list[Atoms], Schedule]:
    """The first `number` (0: all) of a random order of the frames, so that a larger part holds the smaller, and a
    schedule that takes as many steps on them as `schedule` does on all.

    Raises InputError where there are fewer frames, and for a negative number.
    """
    if number < 0:
        raise InputError(f"--size {number}: expected 0, for all, or a number of snapshots")
    if number > len(frames):
        raise InputError(f"--size {number}: repeat {seeds[-1]} has {len(frames)} snapshots to train on")
    order = np.random.default_rng(seeds).permutation(len(frames))[: number or None]
    all_steps, steps = (ceil(count / schedule.batch_size) for count in (len(frames), len(order)))
    return [frames[i] for i in order], replace(schedule, epochs=ceil(schedule.epochs * all_steps / steps))


def learn_and_predict(
    frames: list[Atoms],
    test: list[Atoms],
    quantity: str,
    kind: str,
    backbone: str,
    size: TensorArchitecture,
    schedule: Schedule,
    resume: Path,
    device: str,
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """True tensors (n, 3, 3) of the labelled atoms in `test`, what a model of `kind` says of them; seconds of training
    (since it was last gone on with), atoms predicted a second.

    `kind` is "tensor", answered by tensors (n, 3, 3), or one of `scalar_model.TARGETS[quantity]`, by scalars (n, k).
    """
    began = time.monotonic()
    if kind == TENSOR:
        model = train(frames, quantity, backbone, size, schedule, resume, kind, device)
    else:
        model = train_scalars(frames, quantity, kind, backbone, size, schedule, resume, kind, device)
    took, began = time.monotonic() - began, time.monotonic()
    said = [model.predict(atoms) for atoms in test]
    rate = sum(map(len, test)) / (time.monotonic() - began)
    known = [labelled(tensors_of(atoms, quantity)) for atoms in test]
    truth = [tensors_of(atoms, quantity)[mask] for atoms, mask in zip(test, known, strict=True)]
    said = [values[mask] for values, mask in zip(said, known, strict=True)]
    return np.concatenate(truth), np.concatenate(said), took, rate
