"""Training with Lightning, for every network of the study: resumable, reproducible, with time to go.

AdamW under a one-cycle learning rate that ends at zero, so that the last epoch is the model; nothing is chosen by
looking at the held-out groups. With an average of parameters (EMA), that is the model; with a patience, groups taken
from the training set are watched, and the model is the one of the epoch that was best on them. The order of the data
depends on (seed, epoch) alone: a run that was killed and resumed at an epoch boundary ends with the same numbers.
"""

import argparse
import logging
import sys
import time
import warnings
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from ase import Atoms
from pytorch_lightning.loggers import TensorBoardLogger
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Sampler

import insilico_nmr.schnetpack_compat  # noqa: F401  (before schnetpack)
from insilico_nmr.errors import InputError
from insilico_nmr.losses import mean_lengths
from insilico_nmr.networks import Architecture, graph

import schnetpack.properties as properties  # isort: skip
from schnetpack.data.loader import _atoms_collate_fn as collate  # isort: skip

LABELS = "labels"
WATCHED = "loss of watched data"

# Lightning announces the hardware at every start; what a user needs to know is printed by `Progress`.
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
# Most trainings watch nothing.
warnings.filterwarnings("ignore", "You defined a `validation_step` but have no `val_dataloader`")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train. `learning_rate` is the top of the one-cycle schedule.

    `ema_decay` is what the average of parameters keeps of itself at a step, 0 for no average; `patience` how many
    epochs without an improvement on watched data end the training, 0 for none.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int
    ema_decay: float = 0.0
    patience: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every program that trains a network takes beside its data: size, schedule, seed, where to compute."""
    parser.add_argument("--seed", type=int, required=True, help="of folds, initial weights and data order")
    parser.add_argument("--cutoff", type=float, required=True, help="Å")
    parser.add_argument("--features", type=int, required=True, help="feature channels")
    parser.add_argument("--interactions", type=int, required=True, help="interaction blocks")
    parser.add_argument("--radial", type=int, required=True, help="radial basis functions")
    parser.add_argument("--epochs", type=int, required=True, help="passes over the training snapshots")
    parser.add_argument("--batch-size", type=int, required=True, help="snapshots a step")
    parser.add_argument("--learning-rate", type=float, required=True, help="top of the one-cycle schedule")
    parser.add_argument("--weight-decay", type=float, required=True, help="of AdamW")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="(default: %(default)s)")


def settings(args: argparse.Namespace, architecture: type[Architecture]) -> tuple[Architecture, Schedule]:
    """Size, of that class, and schedule of one committee member; each has weights and data order of its own."""
    seed = args.seed + 1000 * (args.member + 1)
    if not 0 <= getattr(args, "ema_decay", 0) < 1:
        raise InputError(f"--ema-decay is {args.ema_decay:g}; expected 0 (no average) or more, below 1")
    if getattr(args, "patience", 0) < 0:
        raise InputError(f"--patience is {args.patience}; expected 0 (all epochs) or more")
    return (
        architecture(**{field.name: getattr(args, field.name) for field in fields(architecture)}),
        Schedule(
            args.epochs,
            args.batch_size,
            args.learning_rate,
            args.weight_decay,
            seed,
            # which a potential has not
            getattr(args, "ema_decay", 0.0),
            getattr(args, "patience", 0),
        ),
    )


class EpochOrder(Sampler):
    """A permutation of the frames that depends on (seed, epoch) only."""

    def __init__(self, count: int, seed: int):
        self.count, self.seed, self.epoch = count, seed, 0

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch, after resuming too."""
        self.epoch = epoch

    def __iter__(self):
        return iter(np.random.default_rng([self.seed, self.epoch]).permutation(self.count).tolist())


class Task(pl.LightningModule):
    """A learning task: network, `loss` of a batch (given by the subclass), optimiser."""

    def __init__(self, network: torch.nn.Module, schedule: Schedule):
        super().__init__()
        self.network, self.schedule = network, schedule

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """What is made small."""
        raise NotImplementedError

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        """The loss of a batch to learn from."""
        loss = self.loss(batch)
        self.log("loss", loss, batch_size=1, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: dict[str, torch.Tensor], _: int) -> None:
        """The loss of a batch that is watched."""
        self.log(WATCHED, self.loss(batch), batch_size=1)

    def configure_optimizers(self) -> dict:
        """AdamW and the one-cycle schedule, stepped every batch."""
        optimiser = torch.optim.AdamW(
            self.parameters(), lr=self.schedule.learning_rate, weight_decay=self.schedule.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        rise = 0.1 if steps != 10 else 0.2  # a rise of exactly one step is a division by zero in PyTorch
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.schedule.learning_rate, total_steps=steps, pct_start=rise
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def labelled_items(frames: list[Atoms], labels: list[np.ndarray], cutoff: float) -> list[dict[str, torch.Tensor]]:
    """Inputs of a LabelTask: the graph of each frame with the labels (n, k) of its atoms."""
    return [
        graph(atoms, cutoff) | {LABELS: torch.tensor(of_frame, dtype=torch.float32)}
        for atoms, of_frame in zip(frames, labels, strict=True)
    ]


class LabelTask(Task):
    """Learning of labels of atoms (array LABELS, NaN where there is none), in units of the network's `normalise`.

    The network's `sizes` say how many components each part of a label has.
    """

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """`mean_lengths` of the errors of labelled atoms."""
        target = self.network.normalise(batch.pop(LABELS), batch[properties.Z])
        known = torch.isfinite(target).all(dim=1)
        return mean_lengths(self.network(batch)[known] - target[known], self.network.sizes)


class NotFinite(Exception):
    """A training diverged."""


class Stop(pl.callbacks.EarlyStopping):
    """Early stopping that has ended a training for good, also where it is gone on with."""

    def on_train_start(self, trainer, _) -> None:
        """Nothing more is learnt once patience has run out."""
        trainer.should_stop = self.wait_count >= self.patience


class Progress(pl.Callback):
    """A line with time to go, at most every ten seconds; stops a training that diverged with NotFinite."""

    def __init__(self, label: str):
        self.label, self.started, self.first_epoch, self.shown = label, time.monotonic(), None, 0.0

    def on_train_epoch_start(self, trainer, _) -> None:
        """Remember where this process began."""
        if self.first_epoch is None:
            self.first_epoch = trainer.current_epoch

    def on_train_batch_end(self, trainer, _, outputs, *args) -> None:
        """Refuse a loss that is not finite."""
        if not torch.isfinite(outputs["loss"]):
            raise NotFinite(f"{self.label}: the loss is not finite in epoch {trainer.current_epoch + 1}")

    def on_train_epoch_end(self, trainer, _) -> None:
        """Print progress."""
        now, done = time.monotonic(), trainer.current_epoch + 1
        if now - self.shown < 10 and done < trainer.max_epochs:
            return
        self.shown = now
        rate = (now - self.started) / (done - self.first_epoch)
        print(
            f"{self.label}: epoch {done}/{trainer.max_epochs}, {rate * (trainer.max_epochs - done):.0f} s to go",
            file=sys.stderr,
            flush=True,
        )


def fit(
    task: Task,
    items: list[dict[str, torch.Tensor]],
    resume: Path,
    progress: Progress,
    device: str = "cpu",
    watched: list[dict[str, torch.Tensor]] | None = None,
    events: Path | None = None,
) -> None:
    """Train the task's network on `items`, SchNetPack inputs with labels. Changes the network in place.

    A checkpoint in the folder `resume` is gone on from, and written every epoch. `watched` inputs decide when to stop
    where the schedule has a patience. Losses of epochs go to the folder `events`, for TensorBoard. Raises InputError
    where the loss stops being finite, where the `device` ("cpu" or "cuda") is not there, and for a patience with
    nothing to watch.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda: there is no GPU that this PyTorch can use; train on cpu")
    schedule = task.schedule
    if schedule.patience and not watched:
        raise InputError(f"a patience of {schedule.patience} epochs needs data to watch")
    order = EpochOrder(len(items), schedule.seed)
    loader = DataLoader(items, batch_size=schedule.batch_size, sampler=order, collate_fn=collate)
    last, best = (
        pl.callbacks.ModelCheckpoint(
            dirpath=resume, filename=name, enable_version_counter=False, every_n_epochs=1, **options
        )
        for name, options in (("last", {"save_on_train_epoch_end": True}), ("best", {"monitor": WATCHED}))
    )
    callbacks = [progress]
    if schedule.ema_decay:
        average = pl.callbacks.WeightAveraging(use_buffers=False, multi_avg_fn=get_ema_multi_avg_fn(schedule.ema_decay))
        callbacks.append(average)
    if schedule.patience:
        callbacks += [best, Stop(WATCHED, patience=schedule.patience)]
    callbacks.append(last)  # after the best, which it keeps in mind
    trainer = pl.Trainer(
        max_epochs=schedule.epochs,
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        deterministic=True,
        gradient_clip_val=5.0,
        logger=TensorBoardLogger(events.parent, events.name, version="") if events else False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=callbacks,
    )
    kept = resume / "last.ckpt"
    watch = DataLoader(watched, collate_fn=collate) if schedule.patience else None
    try:
        trainer.fit(task, loader, watch, ckpt_path=kept if kept.exists() else None, weights_only=True)
    except NotFinite as error:
        state = f"the last good state is {kept}" if kept.exists() else "there is no good state"
        raise InputError(f"{error}; {state}. Lower the learning rate") from None
    if schedule.patience or schedule.ema_decay:
        # Lightning does this only where it trained in this very process.
        state = best.best_model_path if schedule.patience else kept
        task.load_state_dict(torch.load(state, weights_only=True, map_location="cpu")["state_dict"])
    task.network.cpu()
