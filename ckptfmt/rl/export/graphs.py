"""Graphs of networks that run without this package and without torch's classes: ONNX, and torch's own."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from ckptfmt.errors import CkptError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.rl.export.check import compare_values, draw_frames
from ckptfmt.rl.load import load_open_checkpoint
from ckptfmt.share.export.target import Outline, Target, environment_scale, left_out, require_config
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["ONNX", "PT2"]

# The newest set of operators that onnxruntime has had since 2024.
_OPSET = 20


class _Values(nn.Module):
    """Q-values, and beside them the distribution of returns where the network has one."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        scores = self.network(frames)
        if not self.network.config.distributional_dqn:
            return (scores,)
        return (scores * self.network.support).sum(dim=2), scores


def _names(config: ModelConfig) -> tuple[str, ...]:
    return ("q_values", "probabilities") if config.distributional_dqn else ("q_values",)


def _outline(library: str, loads_with: str) -> Any:
    def outline(checkpoint: Checkpoint, dest: str) -> Outline:
        config = require_config(checkpoint, library)
        outputs = " and ".join(_names(config))
        summary = f"{library} graph, frames -> {outputs}, any batch"
        noise = ("noise of the layers",) if config.noisy_networks else ()
        return Outline(summary, loads_with.format(dest=dest), ("config", *noise, *left_out(checkpoint)))

    return outline


def _model_and_frames(checkpoint: Checkpoint) -> tuple[nn.Module, Tensor]:
    model, config, _ = load_open_checkpoint(checkpoint)
    assert isinstance(config, ModelConfig)
    return _Values(model).eval(), draw_frames(config)[:2].float()


def _write_onnx(checkpoint: Checkpoint, file: BinaryIO) -> None:
    model, frames = _model_and_frames(checkpoint)
    config = require_config(checkpoint, "ONNX")
    with _quiet():
        program = torch.onnx.export(
            model,
            (frames,),
            dynamo=True,
            opset_version=_OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=["frames"],
            output_names=list(_names(config)),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    # Where the exporter found it says nothing of the network, and the paths of this machine stay here.
    for node in program.model.graph:
        node.metadata_props.clear()
    file.write(program.model_proto.SerializeToString())


def _check_onnx(checkpoint: Checkpoint, path: str) -> str:
    """Run the graph with onnxruntime, on batches of 32 and of 1."""
    import onnxruntime

    config = require_config(checkpoint, "ONNX")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = draw_frames(config)
    outside = environment_scale(checkpoint)
    given = (frames.float() / outside).numpy()
    values = torch.from_numpy(session.run(["q_values"], {"frames": given})[0])
    alone = torch.from_numpy(session.run(["q_values"], {"frames": given[:1]})[0])
    if alone.shape != (1, config.n_action):
        raise CkptError("the graph takes batches of one size only", where=path, code="export.differs")
    return compare_values(checkpoint, frames, values, path)


def _write_pt2(checkpoint: Checkpoint, file: BinaryIO) -> None:
    model, frames = _model_and_frames(checkpoint)
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        program = torch.export.export(model, (frames,), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:
        # Where each operation was called stays here: it names folders of this machine.
        node.meta.pop("stack_trace", None)
    whole = io.BytesIO()
    torch.export.save(program, whole)
    file.write(whole.getvalue())


def _check_pt2(checkpoint: Checkpoint, path: str) -> str:
    config = require_config(checkpoint, "torch.export")
    frames = draw_frames(config)
    outside = environment_scale(checkpoint)
    with open(path, "rb") as file:
        program = torch.export.load(io.BytesIO(file.read()))
    with torch.no_grad():
        values = program.module()(frames.float() / outside)[0]
    return compare_values(checkpoint, frames, values, path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' remarks on their own insides from who asked for a file."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


ONNX = Target(
    "onnx",
    _outline("ONNX", 'onnxruntime.InferenceSession("{dest}")'),
    _write_onnx,
    "ckptfmt.rl.export.graphs:_check_onnx",
)
PT2 = Target(
    "pt2",
    _outline("torch.export", 'torch.export.load("{dest}").module()'),
    _write_pt2,
    "ckptfmt.rl.export.graphs:_check_pt2",
)
