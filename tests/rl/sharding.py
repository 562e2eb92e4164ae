"""Save the same tensors with torch.distributed.checkpoint, by three processes: `python sharding.py FOLDER`."""

import sys
from typing import Any

import torch
from torch import multiprocessing
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint import FileSystemWriter, HuggingFaceStorageWriter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

RANKS = 3


def tensors() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(3)
    return {
        "rows": torch.randn(7, 3, generator=draw),
        "few": torch.randn(2, 5, generator=draw),
        "columns": torch.randn(6, 10, generator=draw),
        "deep": torch.randn(3, 4, 5, 6, generator=draw),
        "counts": torch.arange(11),
        "half": torch.randn(9, 4, generator=draw).half(),
        "brain": torch.randn(5, 5, generator=draw).bfloat16(),
        "mask": torch.arange(9) % 2 == 0,
        "same": torch.randn(4, 4, generator=draw),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
    }


SHARDED = {"rows": 0, "few": 0, "columns": 1, "deep": 3, "counts": 0, "half": 0, "brain": 1, "mask": 0, "empty": 0}


def save(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    state: dict[str, Any] = {
        name: distribute_tensor(tensor, mesh, [Shard(SHARDED[name])]) if name in SHARDED else tensor
        for name, tensor in tensors().items()
    }
    said = {"model": state, "step": 7, "args": {"lr": 1e-3, "layers": [1, 2]}}
    dcp.save(said, storage_writer=FileSystemWriter(f"{folder}/classic"))
    dcp.save(said, storage_writer=FileSystemWriter(f"{folder}/many", single_file_per_rank=False))
    dcp.save(state, storage_writer=HuggingFaceStorageWriter(path=f"{folder}/shards", save_distributed=True))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    multiprocessing.spawn(save, (sys.argv[1],), nprocs=RANKS)
