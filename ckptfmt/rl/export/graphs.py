"""Graphs of networks that run without this package and without torch's classes: ONNX, and torch's own."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from ckptfmt.errors import missing_package
from ckptfmt.rl.export.compare import BATCH, compared, raw
from ckptfmt.rl.export.graph import Graph, graph_of
from ckptfmt.rl.load import load_open_checkpoint
from ckptfmt.share.export.target import Outline, Target, left_out, require_config
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["ONNX", "PT2"]

# The newest set of operators that onnxruntime has had since 2024.
_OPSET = 20
_LIBRARIES = {"onnx": "ONNX", "pt2": "torch.export"}
_LOADS = {"onnx": 'onnxruntime.InferenceSession("{dest}")', "pt2": 'torch.export.load("{dest}").module()'}


def _outline(to: str) -> Any:
    write = {"onnx": _write_onnx, "pt2": _write_pt2}[to]

    def outline(checkpoint: Checkpoint, dest: str, algorithm: str) -> Outline:
        config: Any = require_config(checkpoint, _LIBRARIES[to])
        if to == "onnx":
            _require_exporter()
        graph = graph_of(config)
        noisy = getattr(config, "is_noisy", getattr(config, "noisy_networks", False))
        summary = f"{_LIBRARIES[to]} graph, {', '.join(graph.inputs)} -> {', '.join(graph.outputs)}, any batch"
        before = getattr(config, "normalizer_place", "inside") == "before"
        parts = {"noise of the layers": noisy, "what normalises the observations before the network": before}
        out = ("config", *(part for part, there in parts.items() if there), *left_out(checkpoint))
        return Outline(summary, _LOADS[to].format(dest=dest), lambda file: write(checkpoint, graph, file), out)

    return outline


def _require_exporter() -> None:
    """Raise `MissingPackage` where torch's exporter would end for want of a package of its own."""
    for name in ("onnx", "onnxscript"):
        if find_spec(name) is None and (missing := missing_package(ImportError(name=name), "export to onnx")):
            raise missing


def _module(checkpoint: Checkpoint, graph: Graph) -> nn.Module:
    return graph.module(load_open_checkpoint(checkpoint)[0]).eval()


def _write_onnx(checkpoint: Checkpoint, graph: Graph, file: BinaryIO) -> None:
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        program = torch.onnx.export(
            _module(checkpoint, graph),
            # Two and not one: the exporter takes a size of 1 for fixed.
            graph.examples(2),
            dynamo=True,
            opset_version=_OPSET,
            dynamic_shapes=(tuple({axis: batch} for axis in graph.inputs.values()),),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    # Where the exporter found it says nothing of the network, and the paths of this machine stay here.
    for node in program.model.graph:
        node.metadata_props.clear()
    file.write(program.model_proto.SerializeToString())


def _write_pt2(checkpoint: Checkpoint, graph: Graph, file: BinaryIO) -> None:
    batch = torch.export.Dim("batch", min=1)
    shapes = (tuple({axis: batch} for axis in graph.inputs.values()),)
    with _quiet():
        program = torch.export.export(_module(checkpoint, graph), graph.examples(2), dynamic_shapes=shapes)
    for node in program.graph.nodes:
        # Where each operation was called stays here: it names folders of this machine.
        node.meta.pop("stack_trace", None)
    whole = io.BytesIO()
    torch.export.save(program, whole)
    file.write(whole.getvalue())


def _check_onnx(checkpoint: Checkpoint, path: str, outline: Outline) -> str:
    """Run the graph with onnxruntime, on batches of 32 and of 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]

    def run(given: Sequence[Tensor]) -> list[Tensor]:
        fed = dict(zip(names, (tensor.numpy() for tensor in given), strict=True))
        return [torch.from_numpy(found) for found in session.run(None, fed)]

    return _compared(checkpoint, run, path)


def _check_pt2(checkpoint: Checkpoint, path: str, outline: Outline) -> str:
    """Run the program with torch, on batches of 32 and of 1."""
    with open(path, "rb") as file:
        module = torch.export.load(io.BytesIO(file.read())).module()
    return _compared(checkpoint, lambda given: list(module(*given)), path)


def _compared(checkpoint: Checkpoint, run: Callable[[Sequence[Tensor]], list[Tensor]], path: str) -> str:
    graph = graph_of(checkpoint.config)
    module = _module(checkpoint, graph)
    said = ""
    # One as in play, and many as in training: a batch that was fixed by mistake shows.
    for count in (1, BATCH):
        seen, *rest = graph.examples(count)
        given = (raw(checkpoint, seen), *rest)
        with torch.no_grad():
            ours, theirs = (dict(zip(graph.outputs, found, strict=True)) for found in (module(*given), run(given)))
        # Which action is best follows from the logits, and a tie of two may fall either way.
        told = {name: tensor for name, tensor in theirs.items() if tensor.is_floating_point()}
        said = compared(ours, told, seen, path)
    return said


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


ONNX = Target("onnx", _outline("onnx"), "ckptfmt.rl.export.graphs:_check_onnx")
PT2 = Target("pt2", _outline("pt2"), "ckptfmt.rl.export.graphs:_check_pt2")
