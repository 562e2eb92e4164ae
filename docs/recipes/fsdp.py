"""A network spread over the processes of torchrun: saved by all of them, read again by any number.

torchrun --standalone --nproc-per-node=4 docs/recipes/fsdp.py save runs/spread
torchrun --standalone --nproc-per-node=3 docs/recipes/fsdp.py load runs/spread
"""

import sys

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import ckptfmt
from ckptfmt.rl.state import TrainingState

UNUSED = ["target", "schedulers", "generators", "environments", "replay"]


def spread(config):
    network = ckptfmt.create_model_from_config(config)
    fully_shard(network, mesh=init_device_mesh("cpu", (distributed.get_world_size(),)))
    return network, torch.optim.Adam(network.parameters(), lr=1e-3)


def save(folder, config):
    network, optimizer = spread(config)
    network(torch.randint(0, 256, (8, 4, 84, 84))).square().mean().backward()
    optimizer.step()
    state = TrainingState(optimizer=optimizer, counters={"step": 1}, unused=UNUSED)
    # A network of this size would be gathered by rank 0, unless told.
    return ckptfmt.save_model_checkpoint(network, config, {"frame_idx": 8}, folder, state=state, sharded=True)


def load(folder, config):
    network, optimizer = spread(config)
    state = TrainingState(optimizer=optimizer, unused=UNUSED)
    # Each process reads what it holds, and no more.
    ckptfmt.load_model_checkpoint(folder, model=network)
    with ckptfmt.open(folder) as checkpoint:
        state.restore(checkpoint)
        return checkpoint.manifest


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    config = ckptfmt.ModelConfig(n_action=6, dueling_dqn=True)
    manifest = {"save": save, "load": load}[sys.argv[1]](sys.argv[2], config)
    # One write, since torchrun mixes what its processes print.
    sys.stdout.write(f"rank {distributed.get_rank()}: {manifest.content_digest[:14]}\n")
    distributed.destroy_process_group()
