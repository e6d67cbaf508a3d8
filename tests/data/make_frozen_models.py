"""Make frozen/: an untrained model of each backbone and quantity, with what it predicts for a synthetic structure.

Models of a version must be read, and mean the same, by every later state of that version. To be run again only when the
version in scripts/insilico_nmr/__init__.py changes: python tests/data/make_frozen_models.py
"""

import sys
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))

from insilico_nmr.backbones import BACKBONES  # noqa: E402
from insilico_nmr.dataset import write_frames  # noqa: E402
from insilico_nmr.networks import TensorArchitecture  # noqa: E402
from insilico_nmr.quantities import QUANTITIES  # noqa: E402
from insilico_nmr.tensor_model import Description, Normalisation, TensorModel, save_model  # noqa: E402

SIZE = TensorArchitecture(cutoff=4.0, features=4, interactions=2, radial=6, harmonics=4)
# Far larger than real ones: an untrained network predicts little, and a file holds eight decimals.
SCALES = {"efg": Normalisation(0.0, (1e3,)), "ms": Normalisation(150.0, (1e3, 1e3, 1e3))}

if __name__ == "__main__":
    rng = np.random.default_rng(4)
    corners = np.array([[x, y, z] for x in range(2) for y in range(2) for z in range(2)])
    symbols = ["Li" if corner.sum() % 2 else "S" for corner in corners]
    atoms = Atoms(symbols, scaled_positions=corners / 2, cell=[5.2, 5.4, 5.0], pbc=True)
    atoms.positions += rng.normal(0, 0.15, (8, 3))
    for backbone in BACKBONES:
        for quantity in QUANTITIES:
            torch.manual_seed(4)
            model = TensorModel(Description(quantity, backbone, SIZE, (3, 16), {3: SCALES[quantity]}))
            folder = HERE / "frozen" / f"{backbone}_{quantity}"
            save_model(folder, model, {})
            labelled = atoms.copy()
            labelled.arrays[quantity] = model.predict(atoms)
            write_frames(folder / "predicted.extxyz", [labelled])
