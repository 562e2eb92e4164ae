"""One network trained by several processes; the first one writes, the others wait until it is down.

torchrun --standalone --nproc-per-node=2 docs/recipes/ddp.py runs/ddp
"""

import sys

import torch
from torch import distributed, nn

from ckptfmt import ModelConfig, create_model_from_config, save_model_checkpoint


def train(folder, rank):
    config = ModelConfig(n_action=3, input_shape=(4, 36, 36), hidden_size=32, input_scale=255, dueling_dqn=True)
    network = nn.parallel.DistributedDataParallel(create_model_from_config(config))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    torch.manual_seed(rank)  # every process learns from data of its own
    for step in range(1, 21):
        frames, wanted = torch.randint(0, 256, (8, 4, 36, 36)), torch.rand(8, 3)
        loss = nn.functional.mse_loss(network(frames), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            manifest = save_model_checkpoint(network, config, {"frame_idx": step}, f"{folder}/step-{step}")
            # One write, since torchrun mixes what its processes print.
            sys.stdout.write(f"rank {rank}, step {step}: {manifest.content_digest[:14]}\n")


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    train(sys.argv[1], distributed.get_rank())
    distributed.destroy_process_group()
