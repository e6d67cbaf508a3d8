"""Train a public equivariant network on the splits of benchmark_si29.py: TensorNequIP of graph-pes.

Needs `pip install torch graph-pes==1.0.2 pandas` in an environment of its own. Loss, optimiser, schedule of learning
rate and batch size are those of this study's model (`--loss squares` for the usual one), so that networks are compared
and not recipes; labels are in units of the deviation of each irreducible part, as there.
NequIP: S. Batzner et al., Nat. Commun. 13, 2453 (2022).
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ase import Atoms
from insilico_nmr.dataset import labelled, ms
from insilico_nmr.errors import InputError, run_script
from insilico_nmr.files import atomic_path
from insilico_nmr.losses import mean_lengths
from insilico_nmr.shielding_metrics import tensor_errors
from insilico_nmr.silicates import add_split_arguments, labels_of, read_crystals, split
from insilico_nmr.tables import read_table

# e3nn 0.4.4, which graph-pes asks for, keeps its constants in a file that holds slices.
torch.serialization.add_safe_globals([slice])

try:
    from e3nn.io import CartesianTensor
    from graph_pes import AtomicGraph
    from graph_pes.atomic_graph import to_batch
    from graph_pes.models import TensorNequIP
except ImportError as error:
    sys.exit(f"error: {error}; this benchmark needs graph-pes: pip install graph-pes==1.0.2")

TENSOR = CartesianTensor("ij")  # components 1 (isotropic), 3 (antisymmetric), 5 (symmetric traceless)
PARTS = [1, 3, 5]
RATIOS = {
    "component_ppm": "error of components",
    "isotropic_ppm": "isotropic error",
    "seconds": "training time",
    "atoms_per_s": "atoms a second",
}


def components(tensors: np.ndarray) -> torch.Tensor:
    """Irreducible components (n, 9) of tensors (n, 3, 3)."""
    return TENSOR.from_cartesian(torch.tensor(tensors, dtype=torch.float32))


def normalisation(crystals: list[Atoms]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and scale (9,) of the components: that of the isotropic one, and the root mean square of each part."""
    values = components(labels_of(crystals))
    mean = values.mean(dim=0) * (torch.arange(9) == 0)
    parts = (values - mean).split(PARTS, dim=1)
    return mean, torch.cat([part.square().mean().sqrt().expand(part.shape[1]) for part in parts])


def beside(row: dict, path: Path) -> str:
    """Ratios of this study's model, a row of benchmark_si29.py on the same fold and number of crystals, to this one."""
    ours = read_table(path, ["fold", "snapshots", "test_atoms", *RATIOS], ["split", "kind"]).iloc[0]
    same = ("split", "fold", "snapshots", "test_atoms")
    if ours["kind"] != "tensor" or any(ours[name] != row[name] for name in same):
        found, expected = ({name: one[name] for name in (*same, "kind")} for one in (ours, row | {"kind": "tensor"}))
        raise InputError(f"{path}: a row of {found}; expected {expected}")
    ratios = [f"{label} {ours[name] / row[name]:.2f}" for name, label in RATIOS.items()]
    return "benchmark_si29.py over TensorNequIP: " + ", ".join(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_split_arguments(parser)
    parser.add_argument("--seed", type=int, required=True, help="of folds, initial weights and data order")
    parser.add_argument("--cutoff", type=float, required=True, help="Å")
    parser.add_argument("--channels", type=int, required=True, help="feature channels of each l ≤ 2")
    parser.add_argument("--layers", type=int, required=True, help="message-passing layers")
    parser.add_argument("--epochs", type=int, required=True, help="passes over the training crystals")
    parser.add_argument("--batch-size", type=int, default=4, help="crystals a step (default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=0.003, help="top of one cycle (default: %(default)s)")
    parser.add_argument("--loss", choices=["lengths", "squares"], default="lengths", help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="CSV of one row")
    parser.add_argument("--beside", type=Path, help="row of benchmark_si29.py on the same fold, to print ratios to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)

    seen, test = split(read_crystals(args.dataset), args.split, args.folds, args.member, args.seed)
    elements = sorted({symbol for atoms in [*seen, *test] for symbol in atoms.symbols})
    mean, scale = normalisation(seen)
    network = TensorNequIP(
        elements,
        args.cutoff,
        features={
            "node_irreps": " + ".join(f"{args.channels}x{kind}" for kind in ("0e", "1o", "2e", "0o", "1e", "2o")),
            "edge_irreps": "0e + 1o + 2e",
        },
        layers=args.layers,
        target_tensor_irreps="0e + 1e + 2e",
        target_method="direct",
        prune_last_layer=False,
    )
    graphs = [AtomicGraph.from_ase(atoms, args.cutoff) for atoms in seen]
    masks = [torch.tensor(labelled(ms(atoms))) for atoms in seen]
    targets = [(components(labels_of([atoms])) - mean) / scale for atoms in seen]
    network.pre_fit_all_components(graphs)
    optimiser = torch.optim.AdamW(network.parameters(), lr=args.learning_rate, weight_decay=1e-3)
    steps = args.epochs * -(-len(seen) // args.batch_size)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.learning_rate, total_steps=steps, pct_start=0.1)
    began = time.monotonic()
    for epoch in range(args.epochs):
        order = np.random.default_rng([args.seed, epoch]).permutation(len(seen))
        for start in range(0, len(seen), args.batch_size):
            chosen = order[start : start + args.batch_size]
            found = network.predict(to_batch([graphs[i] for i in chosen]), ["tensor"])["tensor"]
            mask = torch.cat([masks[i] for i in chosen])
            difference = found[mask] - torch.cat([targets[i] for i in chosen])
            loss = difference.square().mean() if args.loss == "squares" else mean_lengths(difference, PARTS)
            if not torch.isfinite(loss):
                raise InputError(f"the loss is not finite in epoch {epoch + 1}: lower the learning rate")
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            cycle.step()
        left = (time.monotonic() - began) / (epoch + 1) * (args.epochs - epoch - 1)
        print(f"epoch {epoch + 1}/{args.epochs}, {left:.0f} s to go", file=sys.stderr, flush=True)
    took = time.monotonic() - began

    def predict() -> np.ndarray:
        tensors = []
        with torch.no_grad():
            for atoms in test:
                found = network.predict(AtomicGraph.from_ase(atoms, args.cutoff), ["tensor"])["tensor"]
                tensors.append(TENSOR.to_cartesian(found * scale + mean).numpy()[labelled(ms(atoms))])
        return np.concatenate(tensors)

    predict()  # its network is compiled as it runs
    began = time.monotonic()
    errors = tensor_errors(labels_of(test), predict())
    rate = sum(map(len, test)) / (time.monotonic() - began)
    row = {"split": args.split, "fold": args.member, "kind": "TensorNequIP", "snapshots": len(seen)}
    row |= {"test_atoms": len(labels_of(test)), **errors, "seconds": took, "atoms_per_s": rate}
    table = pd.DataFrame([row])
    print(table.iloc[0].to_string(float_format="{:.3f}".format))
    if args.beside:
        print(beside(row, args.beside))
    with atomic_path(args.out) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    run_script(main)
