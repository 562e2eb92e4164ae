"""What an export gives where it is loaded, held against what the checkpoint's own network gives."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ckptfmt.errors import ConversionError
from ckptfmt.rl.load import load_open_checkpoint
from ckptfmt.share.export.target import environment_scale
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["BATCH", "compare_outputs", "compared", "differs", "draw_actions", "draw_seen", "raw", "same_bits"]

# A batch as trainings use: a wrong activation or scale shows in the first of them.
BATCH = 32


def draw_seen(config: Any) -> Tensor:
    """Return a batch of what a network may see: frames of random pixels, uint8, or rows of numbers, float32."""
    generator = torch.Generator().manual_seed(0)
    shape = (BATCH, *config.input_shape)
    if len(config.input_shape) == 3:
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return torch.randn(shape, generator=generator)


def draw_actions(config: Any) -> Tensor:
    """Return a real action for each of what `draw_seen` returns, between -1 and 1."""
    return torch.rand(BATCH, config.action_dim, generator=torch.Generator().manual_seed(1)) * 2 - 1


def raw(checkpoint: Checkpoint, seen: Tensor) -> Tensor:
    """Return what the network itself is given of what is seen: divided where the environment divides it."""
    outside = environment_scale(checkpoint)
    return seen if outside == 1 else seen / outside


def compare_outputs(
    checkpoint: Checkpoint, seen: Tensor, theirs: Mapping[str, Tensor], path: str, **given: Tensor
) -> str:
    """Compare outputs, by their names, of a batch of what is seen with those of the checkpoint's own network.

    Returns what was compared and how equal it is; raises `ConversionError` where they differ.
    """
    model: Any = load_open_checkpoint(checkpoint)[0]
    with torch.no_grad():
        ours = model.outputs(raw(checkpoint, seen), **given)
    return compared(ours, theirs, seen, path)


def compared(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], seen: Tensor, path: str) -> str:
    """Compare the outputs of two networks by their names; raise `ConversionError` where they differ."""
    farthest = 0.0
    for name, given in theirs.items():
        our, their = ours[name].detach(), given.detach()
        if our.shape != their.shape:
            raise differs(f"its {_words(name)} have the shape {tuple(their.shape)}, not {tuple(our.shape)}", path)
        apart = float((our - their).abs().max())
        # Other kernels add in another order; 24 bits of a sum of some thousand terms are good to about this.
        if not torch.allclose(our, their, rtol=1e-4, atol=1e-4 * float(our.abs().max())):
            raise differs(f"its {_words(name)} differ by up to {apart:.3g}", path)
        farthest = max(farthest, apart)
    kind = "frames" if seen.dim() > 3 else "observations"
    count = f"{seen.shape[1]} times {len(seen)}" if seen.dim() in (3, 5) else len(seen)
    what = f"{', '.join(map(_words, theirs))} of {count} {kind} equal"
    return f"{what}, bit for bit" if farthest == 0 else f"{what} but for {farthest:.1e}"


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are of the same dtype, shape and bytes: 0.0 is not -0.0, a NaN is itself."""
    alike = a.dtype == b.dtype and a.shape == b.shape
    # A tensor without dimensions cannot be viewed as bytes.
    return alike and torch.equal(*(t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b)))


def differs(what: str, path: str) -> ConversionError:
    """Return the error for an export that is not the network of the checkpoint."""
    where = os.path.basename(path)
    return ConversionError(what, where=where, fix="please report it; nothing was exported", code="export.differs")


def _words(name: str) -> str:
    return "Q-values" if name == "q_values" else name.replace("_", " ")
