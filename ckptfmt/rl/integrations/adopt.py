"""Take a live network of another code base for one of the eight, once it is shown to be that network."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from ckptfmt.errors import ConversionError
from ckptfmt.families.answer import Candidate, Placement
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.atari_dqn.support import atoms
from ckptfmt.families.evidence import Facts
from ckptfmt.families.facts import Given
from ckptfmt.families.spaces import played_spaces
from ckptfmt.families.tell import classify
from ckptfmt.rl.alike import check_alike
from ckptfmt.rl.families.atari_dqn import QNetwork
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.networks import named_tensors, unwrap

__all__ = ["Adopted", "adopt"]

_FRAMES = 4
_SCALES = (255.0, 1.0)
# Two ways to compute the same sums differ in the last digits; another scale or layer differs in the first.
_CLOSE = 1e-3


@dataclass(frozen=True)
class Adopted:
    """A network of another code base under canonical names: `state_dict` gives its weights as they are now.

    It can be given to `save_model_checkpoint` in place of a model, together with its `config`.
    """

    network: nn.Module
    config: ModelConfig
    placements: tuple[Placement, ...]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the network's tensors by canonical name; they are not copied."""
        return _place(named_tensors(self.network), self.placements, self.config)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put weights by canonical names into the network; raise `WeightsError` where they are of another one."""
        check_alike(tensors, self.state_dict(), "weights")
        own = named_tensors(self.network)
        for placement in self.placements:
            tensor = own[placement.source]
            target = tensor[slice(*placement.rows)] if placement.rows else tensor
            target.copy_(tensors[placement.name].view_as(target))


def adopt(
    network: nn.Module,
    env: Any,
    *,
    q_values: Callable[[Tensor], Tensor] | None = None,
    settings: Mapping[str, Any] | None = None,
    **facts: Unpack[Given],
) -> Adopted:
    """Return `network` as one of the eight, shown by equal Q-values on frames that are drawn at random.

    `env` (single or vector) says how many actions there are and what the frames are like. Where the network's
    `forward` does not return (batch, n_action) Q-values, `q_values` computes them from frames (batch,
    channels, height, width) of 0 to 255. `facts` are what weights cannot say, as for `ckptfmt.convert`; whether
    the network scales its frames is found by trying. `settings` are further fields of `ModelConfig`. Raises
    `ConversionError` where it is none of the eight, or computes something else than they would.
    """
    played = played_spaces(env)
    known = {"n_action": played.n_action, "input_shape": played.input_shape, **facts}
    candidate = _classify(network, known)
    assert candidate.config is not None
    config = ModelConfig.from_dict({**candidate.config.to_dict(), **(settings or {})})
    scales = (facts["input_scale"],) if "input_scale" in facts else _SCALES
    adopted = [Adopted(network, config.replace(input_scale=scale), candidate.placements) for scale in scales]
    return _proven(adopted, q_values or network)


def _classify(network: nn.Module, facts: Mapping[str, Any]) -> Candidate:
    tensors = named_tensors(network)

    def values(name: str) -> list[float]:
        return [float(number) for number in tensors[name].flatten().tolist()]

    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    answer = classify(shapes, values=values, facts=Facts(**facts))
    if answer.options == ("architecture",) and len(answer.candidates) == 1:
        # That its rows are Q-values is what the caller says, and what equal answers show.
        answer = classify(shapes, values=values, facts=Facts(**facts, architecture=answer.candidates[0].name))
    if answer.chosen is None or answer.refusal:
        options = ", ".join(f"{name}=" for name in answer.options)
        raise ConversionError(
            f"the network is none of the eight architectures: {answer.refusal}",
            where=type(network).__name__,
            fix=f"give {options}" if options else "save its state_dict with no config",
        )
    return answer.chosen


def _place(tensors: Mapping[str, Tensor], placements: Iterable[Placement], config: ModelConfig) -> dict[str, Tensor]:
    placed = {}
    for placement in placements:
        tensor = tensors[placement.source]
        tensor = tensor[slice(*placement.rows)] if placement.rows else tensor
        placed[placement.name] = tensor.squeeze() if placement.squeeze else tensor
    if config.n_atoms is not None and "support" not in placed:
        placed["support"] = torch.tensor(atoms(config))
    return placed


@torch.no_grad()
def _proven(adopted: list[Adopted], q_values: Callable[[Tensor], Tensor]) -> Adopted:
    """Return the one that computes what the network computes."""
    network = unwrap(adopted[0].network)
    like = next(network.parameters())
    generator = torch.Generator().manual_seed(0)
    shape = (_FRAMES, *adopted[0].config.input_shape)
    frames = torch.randint(0, 256, shape, generator=generator).to(like.device, like.dtype)
    was_training = network.training
    network.eval()
    try:
        wanted = q_values(frames)
    finally:
        network.train(was_training)
    same = [item for item in adopted if _agree(wanted, _rebuild(item, like.device).get_q_values(frames))]
    name = type(network).__name__
    if not same:
        raise ConversionError(
            f"the network has the tensors of {adopted[0].config.get_architecture_name()} "
            "and computes other Q-values from them",
            where=name,
            fix="give q_values= where its forward returns something else, or save its state_dict with no config",
        )
    if len(same) > 1:
        raise ConversionError(
            "its Q-values do not show what it divides its input by", where=name, fix="give input_scale="
        )
    return same[0]


def _rebuild(adopted: Adopted, device: torch.device) -> QNetwork:
    model: QNetwork = create_model_from_config(adopted.config, "meta").eval()
    tensors = {name: tensor.to(device) for name, tensor in adopted.state_dict().items()}
    model.load_state_dict(tensors, strict=False, assign=True)
    return model


def _agree(wanted: Any, found: Tensor) -> bool:
    if not isinstance(wanted, Tensor) or wanted.shape != found.shape:
        return False
    size = float(wanted.abs().max())
    return bool((wanted - found).abs().max() <= _CLOSE * size)
