"""What a save by four ranks takes, beside torch's own distributed checkpoint: `python -m benchmarks.ranks [REPEATS]`.

A network of 122 MB lies over four processes on gloo (FSDP2). Ours is hashed, flushed to the disk and read back; DCP
only writes and flushes, so it is measured once more with what SHA-256 of each file costs, which each rank reads back
for it. Printed are the seconds of the slowest rank, medians of saves in turn, with ours once more by gathering.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_SCRIPT = """
import hashlib, shutil, sys, time
import torch
torch.set_num_threads(1)
import torch.distributed.checkpoint as dcp
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
import ckptfmt

distributed.init_process_group("gloo")
rank, folder, repeats = distributed.get_rank(), sys.argv[1], int(sys.argv[2])
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(2000, 5001), nn.ReLU(), nn.Linear(5001, 3999), nn.BatchNorm1d(3999), nn.Linear(3999, 100))
for layer in net:
    if any(True for _ in layer.parameters()):
        fully_shard(layer, mesh=init_device_mesh("cpu", (4,)))
fully_shard(net, mesh=init_device_mesh("cpu", (4,)))

def ours(path, sharded):
    ckptfmt.save_model_checkpoint(net, None, None, path, sharded=sharded)

def theirs(path):
    dcp.save(net.state_dict(), checkpoint_id=path)  # sync_files is its default

def theirs_hashed(path):
    theirs(path)
    with open(f"{path}/__{rank}_0.distcp", "rb") as file:
        hashlib.file_digest(file, "sha256")
    distributed.barrier()

ways = {
    "ours": lambda path: ours(path, True),
    "DCP": theirs,
    "DCP+SHA": theirs_hashed,
    "gathered": lambda path: ours(path, False),
}
took = {name: [] for name in ways}
for turn in range(repeats + 1):
    for name, save in ways.items():
        path = f"{folder}/{name}-{turn}"
        distributed.barrier()
        begin = time.perf_counter()
        save(path)
        seconds = torch.tensor([time.perf_counter() - begin])
        distributed.all_reduce(seconds, op=distributed.ReduceOp.MAX)
        if turn:
            took[name].append(seconds.item())
        distributed.barrier()
        if rank == 0:
            shutil.rmtree(path)
        distributed.barrier()
if rank == 0:
    size = sum(t.numel() * t.element_size() for t in net.state_dict().values())
    sys.stdout.write(f"bytes {size}\\n")
    for name, seconds in took.items():
        sys.stdout.write(f"{name} {' '.join(f'{s:.3f}' for s in seconds)}\\n")
del net
distributed.destroy_process_group()
"""


def main(repeats: int) -> None:
    """Measure in a folder of the temporary files, and print a line for each way."""
    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
        script = Path(folder) / "save.py"
        script.write_text(_SCRIPT)
        command = [
            sys.executable,
            "-P",
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=4",
            str(script),
        ]
        done = subprocess.run([*command, folder, str(repeats)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        size, *lines = done.stdout.splitlines()
        print(f"{int(size.split()[1]) / 1e6:.0f} MB, 4 ranks")
        found = {name: [float(one) for one in rest] for name, *rest in map(str.split, lines)}
        for name, seconds in found.items():
            median = statistics.median(seconds)
            shares = [median / statistics.median(found[other]) for other in ("DCP", "DCP+SHA")]
            spread = f"{min(seconds):.3f} to {max(seconds):.3f}"
            print(f"{name:9} {median:.3f} s  ({spread})  {shares[0]:.2f} x DCP, {shares[1]:.2f} x DCP+SHA")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
