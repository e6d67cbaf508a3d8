"""Import SchNetPack 2.1.1 under the pinned PyTorch: import this module before `schnetpack`.

SchNetPack takes the type variable `T_co` from torch.utils.data.dataloader, which newer PyTorch no longer has there.
"""

from typing import TypeVar

import torch.utils.data.dataloader as dataloader

if not hasattr(dataloader, "T_co"):
    dataloader.T_co = TypeVar("T_co", covariant=True)
