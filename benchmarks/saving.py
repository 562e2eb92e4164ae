"""Rows 6 to 8: saves and loads within a training process: `python -m benchmarks.saving KIND FOLDER ROUNDS …`."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.bench import Bench, Row
from benchmarks.measure import Comparison, Result, compare, timed

__all__ = ["ROWS"]


def _save(bench: Bench) -> list[Result]:
    found = bench.inside("saving", "state_dict", bench.folder, str(bench.rounds(5)), str(bench.size(1024, 4)))
    work = "save of a 1 GiB state dict: hashed, synced, atomic"
    return [
        Result.of(6, work, "safetensors save_file + fsync", 1.15, found["safetensors"]),
        Result.of(6, work, "huggingface_hub save_torch_state_dict + fsync", 1.15, found["huggingface_hub"]),
    ]


def _save_model(bench: Bench) -> list[Result]:
    found = bench.inside("saving", "model", bench.folder, str(bench.rounds(15)), str(bench.size(512, 16)))
    against = "torch.save + fsync"
    return [
        Result.of(
            7, "save_model_checkpoint, 27 MB Rainbow, whole call", f"{against} of file and folder", 1.3, found["save"]
        ),
        Result.of(7, "the same beside a training on one core", f"{against} beside it", 1.5, found["beside"]),
        Result.of(7, "the same beside a training on all cores", f"{against} beside it", 1.5, found["crowded"]),
        Result.of(7, "the same, quiet", "one SHA-256 of as many bytes", 1.5, found["limit"]),
        Result.of(7, "the same in the background: the caller waits", "torch.save", 0.12, found["background"]),
    ]


def _load_model(bench: Bench) -> list[Result]:
    found = bench.inside("saving", "load", bench.folder, str(bench.rounds(15)), str(bench.size(512, 16)))
    against = "build + torch.load + load_state_dict"
    return [Result.of(8, "load_model_checkpoint, 27 MB Rainbow, verified", against, 0.5, found["load"])]


ROWS = (Row(6, _save), Row(7, _save_model), Row(8, _load_model))


def state_dict(folder: str, rounds: int, mib: int) -> dict[str, Comparison]:
    """Compare `ckptfmt.save` with what safetensors and huggingface_hub write, flushed as well."""
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import save_file

    import ckptfmt
    from benchmarks.data import state_dict as make_state_dict

    state: dict[str, Any] = make_state_dict(mib)
    path, theirs = os.path.join(folder, "save"), os.path.join(folder, "theirs")
    file = os.path.join(theirs, "model.safetensors")

    def settle() -> None:
        for used in (path, theirs):
            shutil.rmtree(used, ignore_errors=True)
        os.mkdir(theirs)
        os.sync()

    def ours() -> None:
        ckptfmt.save(path, state).close()

    def safetensors() -> None:
        save_file(state, file)
        _sync(file)

    def huggingface_hub() -> None:
        save_torch_state_dict(state, theirs)
        _sync(file)

    peers = (safetensors, huggingface_hub)
    found = {peer.__name__: _beside(ours, peer, rounds, settle) for peer in peers}
    settle()
    return found


def model(folder: str, rounds: int, hidden: int) -> dict[str, Comparison]:
    """Compare `save_model_checkpoint`, and a manager in the background, with torch.save."""
    import torch

    import ckptfmt

    network, config = _rainbow(hidden)
    path, theirs = os.path.join(folder, "rainbow"), os.path.join(folder, "rainbow.pth")

    def ours() -> None:
        ckptfmt.save_model_checkpoint(network, config, {"frame_idx": 1}, path, overwrite=True)

    def torch_save() -> None:
        torch.save({"model_state_dict": network.state_dict(), "frame_idx": 1}, theirs)

    def torch_save_and_sync() -> None:
        torch_save()
        _sync(theirs)
        _sync(folder)

    whole = _beside(ours, torch_save_and_sync, rounds, os.sync)
    stored = bytes(os.path.getsize(theirs))
    limit = _beside(ours, lambda: hashlib.sha256(stored).digest(), rounds, os.sync)
    with _training(1):
        beside = _beside(ours, torch_save_and_sync, rounds, os.sync)
    with _training(len(os.sched_getaffinity(0))):
        crowded = _beside(ours, torch_save_and_sync, rounds, os.sync)
    steps = iter(range(1_000_000))
    with ckptfmt.CheckpointManager(os.path.join(folder, "run"), keep_last=2, background=True) as manager:

        def save_later() -> None:
            manager.save(next(steps), network.state_dict(), config, {"frame_idx": 1})

        def settle() -> None:
            manager.wait()
            os.sync()

        background = _beside(save_later, torch_save, rounds, settle)
    return {"save": whole, "limit": limit, "beside": beside, "crowded": crowded, "background": background}


def load(folder: str, rounds: int, hidden: int) -> dict[str, Comparison]:
    """Compare `load_model_checkpoint` with what training code does without it."""
    import torch

    import ckptfmt

    network, config = _rainbow(hidden)
    path, theirs = os.path.join(folder, "rainbow"), os.path.join(folder, "rainbow.pth")
    ckptfmt.save_model_checkpoint(network, config, {"frame_idx": 1}, path, overwrite=True)
    torch.save({"model_state_dict": network.state_dict(), "frame_idx": 1}, theirs)

    def torch_load() -> None:
        again = ckptfmt.create_model_from_config(config)
        again.load_state_dict(torch.load(theirs, map_location="cpu", weights_only=True)["model_state_dict"])
        again.eval()

    return {
        "load": compare(lambda: timed(lambda: ckptfmt.load_model_checkpoint(path)), lambda: timed(torch_load), rounds)
    }


def _beside(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, before: Callable[[], None] | None = None
) -> Comparison:
    return compare(lambda: timed(ours), lambda: timed(theirs), rounds, before)


@contextlib.contextmanager
def _training(cores: int) -> Iterator[None]:
    """Keep cores busy as trainings do, each in a process of its own, until the block is left."""
    processes = [subprocess.Popen([sys.executable, "-c", _TRAINS], stdout=subprocess.PIPE) for _ in range(cores)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


_TRAINS = """
import torch
torch.set_num_threads(1)
net = torch.nn.Sequential(torch.nn.Conv2d(4, 32, 8, 4), torch.nn.ReLU(), torch.nn.Conv2d(32, 64, 4, 2))
optimizer = torch.optim.Adam(net.parameters())
print("trains", flush=True)
while True:
    loss = net(torch.rand(32, 4, 84, 84)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def _rainbow(hidden: int) -> tuple[Any, Any]:
    """Return a network with all extensions and its config; 512 hidden units make 27 MB."""
    import ckptfmt

    config = ckptfmt.ModelConfig(
        input_shape=(4, 84, 84),
        n_action=6,
        hidden_size=hidden,
        dueling_dqn=True,
        distributional_dqn=True,
        noisy_networks=True,
        n_atoms=51,
        v_min=-10.0,
        v_max=10.0,
    )
    return ckptfmt.create_model_from_config(config), config


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_KINDS: dict[str, Callable[[str, int, int], dict[str, Comparison]]] = {f.__name__: f for f in (state_dict, model, load)}

if __name__ == "__main__":
    _found = _KINDS[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    json.dump({name: asdict(both) for name, both in _found.items()}, sys.stdout)
