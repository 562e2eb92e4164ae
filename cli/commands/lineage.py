"""ckpt lineage: where it came from."""

import json
import os

import click

from ckptfmt.look.lineage import Ancestor, Descent, ancestors

from ..complete import checkpoints
from ..options import argument, command, exit_zero, option
from ..output import Output
from ..text import short_digest

__all__ = ["lineage"]

_FURTHEST = 30


@command(
    examples=[
        "ckpt lineage runs/breakout-042",
        "ckpt lineage runs/breakout-042 --in runs --graph dot",
    ]
)
@argument("path", "A checkpoint.", metavar="CHECKPOINT", type=click.Path(), shell_complete=checkpoints)
@option("--in", "folders", multiple=True, type=click.Path(), metavar="DIR", help="Search this folder for parents too.")
@option("--graph", type=click.Choice(["text", "dot"]), default="text", help="Print a tree, or a graph for Graphviz.")
@exit_zero
def lineage(output: Output, path: str, folders: tuple[str, ...], graph: str) -> int:
    """Show which checkpoints a checkpoint was made from.

    Parents are found by their digests, next to the checkpoint and in the folders of --in. Exit 1 if a parent is
    named and not found.
    """
    nodes: list[Ancestor] = []
    for node in ancestors(path, folders):
        if graph == "text":
            output.line(_branch(len(nodes)), "  ".join(_words(node)))
        nodes.append(node)
    found = Descent(tuple(nodes))
    output.result(found.to_dict())
    for line in _dot(found) if graph == "dot" else ():
        output.line(line)
    return 0 if found.complete else 1


def _branch(depth: int) -> str:
    """Return what stands before an ancestor: further in than a screen is wide the tree does not grow."""
    return "  " * min(depth - 1, _FURTHEST) + "└ " if depth else ""


def _words(node: Ancestor) -> list[str]:
    if node.path is None:
        return [f"missing {node.digest}"]
    words = [node.path]
    words += [f"{node.step:,.0f} steps"] if node.step is not None else []
    words += [f"return {node.mean:.1f}"] if node.mean is not None else []
    words += [node.kind or "of unknown origin"]
    return words if node.source is None else [*words, f"from {node.source}"]


def _dot(found: Descent) -> list[str]:
    lines = ["digraph lineage {"]
    for number, node in enumerate(found.nodes):
        label = os.path.basename(node.path) if node.path else f"missing {short_digest(node.digest)}"
        lines.append(f"  n{number} [label={json.dumps(label)}];")
    for number, edge in enumerate(found.edges):
        lines.append(f"  n{number + 1} -> n{number} [label={json.dumps(edge['kind'])}];")
    return [*lines, "}"]
