"""Take a live network of another code base for one of a known family, once it is shown to be that network."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from ckptfmt.errors import ConversionError
from ckptfmt.families.alternatives import variants
from ckptfmt.families.answer import Candidate, Classification, Placement
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.atari_dqn.support import atoms
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.evidence import Facts
from ckptfmt.families.facts import Given
from ckptfmt.families.spaces import spaces_of
from ckptfmt.families.tell import classify
from ckptfmt.format.record import record
from ckptfmt.rl.alike import check_alike
from ckptfmt.rl.families.atari_dqn import QNetwork
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.networks import named_tensors, unwrap

__all__ = ["Adopted", "adopt"]

# Observations that are drawn: each answer is some numbers, and two networks agree on none by chance.
_FRAMES = 4
# What frames are divided by inside of a network, or not.
_SCALES = (255.0, 1.0)
# Two ways to compute the same sums differ in the last digits; another scale or layer differs in the first.
_CLOSE = 1e-3
# What a network is taken for whose caller says that it gives Q-values.
_PLAIN = "q-network/dqn"


@record(slots=False)
class Adopted:
    """A network of another code base under canonical names: `state_dict` gives its weights as they are now.

    It can be given to `save_model_checkpoint` in place of a model, together with its `config`.
    """

    network: nn.Module
    config: Any
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
    outputs: Callable[[Tensor], Mapping[str, Tensor]] | None = None,
    settings: Mapping[str, Any] | None = None,
    **facts: Unpack[Given],
) -> Adopted:
    """Return `network` as one of a known family, shown by equal answers to observations that are drawn at random.

    `env` (single or vector) says which actions there are and what is seen. Where the network's `forward` does not
    return what that of the family does, `q_values` computes Q-values (batch, n_action) of observations (batch, …),
    images of 0 to 255, or `outputs` some of what the family's networks give, by its names (recurrent ones are given
    (time, batch, …)). `facts` are what weights cannot say, as for `ckptfmt.convert`; whether the network scales its
    frames is found by trying, and so are activation, squashing and the like where the network is made of blocks.
    `settings` are further fields of the config. Raises `ConversionError` where it is of no known family, computes
    something else than such a network would, or its answers leave a field open.
    """
    played = spaces_of(env)
    seen = {"input_shape": played.input_shape} if len(played.input_shape) == 3 else {}
    known = {"n_action": played.n_action, **seen, **facts}
    more = {"action_dim": played.action_dim, "choices": played.choices, **(settings or {})}
    candidate = _classify(network, known, more, speaks=q_values is not None)
    assert candidate.config is not None
    config = type(candidate.config).from_dict({**candidate.config.to_dict(), **(settings or {})})
    tried = [
        Adopted(network, variant, candidate.placements)
        for variant in _variants(config, candidate, {**facts, **(settings or {})})
    ]
    if q_values is not None:
        outputs = _named(q_values)
    return _proven(tried, outputs or network)


def _variants(config: Any, candidate: Candidate, said: Mapping[str, Any]) -> Iterable[Any]:
    if isinstance(config, ModelConfig):
        scales = (said["input_scale"],) if "input_scale" in said else _SCALES
        return [config.replace(input_scale=scale) for scale in scales]
    open_ = (name for name, origin in candidate.origin.items() if origin == "assumed" and name not in said)
    return variants(config, open_)


def _named(q_values: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Mapping[str, Tensor]]:
    return lambda x: {"q_values": q_values(x)}


def _classify(network: nn.Module, facts: Mapping[str, Any], more: Mapping[str, Any], *, speaks: bool) -> Candidate:
    tensors = named_tensors(network)

    def values(name: str) -> list[float]:
        return [float(number) for number in tensors[name].flatten().tolist()]

    shapes = {name: tensor.shape for name, tensor in tensors.items()}

    def asked(**said: Any) -> Classification:
        plain = {name: value for name, value in facts.items() if value is not None}
        given = {name: value for name, value in more.items() if value is not None}
        return classify(shapes, values=values, facts=Facts(**{**plain, **said}, more=given))

    answer = asked()
    if answer.options == ("architecture",) and len(answer.candidates) == 1:
        # That its rows are Q-values is what the caller says, and what equal answers show.
        answer = asked(architecture=answer.candidates[0].name)
    if speaks and (answer.chosen is None or answer.refusal):
        plain = asked(architecture=_PLAIN)
        answer = plain if plain.chosen else answer
    if answer.chosen is None or answer.refusal:
        options = ", ".join(f"{name}=" for name in answer.options)
        raise ConversionError(
            f"the network is of no known family: {answer.refusal}",
            where=type(network).__name__,
            fix=f"give {options}" if options else "save its state_dict with no config",
        )
    return answer.chosen


def _place(tensors: Mapping[str, Tensor], placements: Iterable[Placement], config: Any) -> dict[str, Tensor]:
    placed = {}
    for placement in placements:
        tensor = tensors[placement.source]
        tensor = tensor[slice(*placement.rows)] if placement.rows else tensor
        # As in files: a lone element keeps one dimension.
        placed[placement.name] = (
            (tensor.squeeze() if tensor.numel() > 1 else tensor.view(1)) if placement.squeeze else tensor
        )
    if getattr(config, "n_atoms", None) is not None and "support" not in placed:
        placed["support"] = torch.tensor(atoms(config))
    return placed


@torch.no_grad()
def _proven(tried: list[Adopted], asked: Callable[[Tensor], Any]) -> Adopted:
    """Return the one that computes what the network computes."""
    network = unwrap(tried[0].network)
    like = next(network.parameters())
    seen = _observations(tried[0].config, like)
    was_training = network.training
    network.eval()
    try:
        wanted = asked(seen)
    finally:
        network.train(was_training)
    same = [item for item in tried if _agree(wanted, _rebuild(item, like.device), seen)]
    name, config = type(network).__name__, tried[0].config
    said = "Q-values" if hasattr(_rebuild(tried[0], like.device), "get_q_values") else "answers"
    if not same:
        ask = "q_values=" if said == "Q-values" else "outputs="
        raise ConversionError(
            f"the network has the tensors of {Blueprint.of(config).name} and computes other {said} from them",
            where=name,
            fix=f"give {ask} where its forward returns something else, or save its state_dict with no config",
        )
    if len(same) > 1:
        plain = [item.config.to_dict() for item in same]
        open_ = [field for field in plain[0] if any(other[field] != plain[0][field] for other in plain)]
        if open_ == ["input_scale"]:
            raise ConversionError(
                f"its {said} do not show what it divides its input by", where=name, fix="give input_scale="
            )
        raise ConversionError(
            f"its {said} do not show {' and '.join(open_)}", where=name, fix="give these fields among the settings"
        )
    return same[0]


def _observations(config: Any, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = tuple(config.input_shape)
    if len(shape) == 3:
        return torch.randint(0, 256, (_FRAMES, *shape), generator=generator).to(like.device, like.dtype)
    lead = (_FRAMES, _FRAMES) if create_model_from_config(config, "meta").is_recurrent else (_FRAMES,)
    # Wide enough that what is clamped, squashed or bent shows it.
    return (4 * torch.randn(*lead, *shape, generator=generator)).to(like.device, like.dtype)


def _rebuild(adopted: Adopted, device: torch.device) -> Any:
    model = create_model_from_config(adopted.config, "meta").eval()
    tensors = {name: tensor.to(device) for name, tensor in adopted.state_dict().items()}
    model.load_state_dict(tensors, strict=False, assign=True)
    return model


def _agree(wanted: Any, model: Any, seen: Tensor) -> bool:
    if isinstance(wanted, Mapping):
        found = model.outputs(seen)
        return bool(wanted) and all(name in found and _close(value, found[name]) for name, value in wanted.items())
    found = model.get_q_values(seen) if isinstance(model, QNetwork) else model(seen)
    one, other = (list(item) if isinstance(item, tuple | list) else [item] for item in (wanted, found))
    return len(one) == len(other) and all(map(_close, one, other))


def _close(wanted: Any, found: Tensor) -> bool:
    if not isinstance(wanted, Tensor) or wanted.shape != found.shape:
        return False
    size = float(wanted.abs().max())
    return bool((wanted - found).abs().max() <= _CLOSE * size)
