"""A network in a line of words: what it sees, what it gives, and what lies between, each family in its own terms."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["sketch"]

_BODY = "trunk"
# What a block is made of, by its kind.
_SIZES = {"mlp": "sizes", "convs": "convs", "residual": "channels", "cell": "size"}


def sketch(config: Mapping[str, Any]) -> str:
    """Return what the config of a network made of blocks says, "" where it is of another kind.

    >>> sketch({"observation": [4], "n_action": 2, "trunk": [{"kind": "mlp", "sizes": [64, 64]}], "activation": "tanh"})
    '4 -> 2 actions, trunk mlp 64 64, tanh'
    """
    seen = config.get("observation")
    if not isinstance(seen, Sequence) or isinstance(seen, str):
        return ""
    scale = config.get("input_scale", 1)
    divided = f" / {scale:g}" if isinstance(scale, int | float) and scale != 1 else ""
    words = [f"{'×'.join(map(str, seen))}{divided} -> {', '.join(_gives(config))}", *_bodies(config)]
    return ", ".join([*words, str(config.get("activation", ""))]).rstrip(", ")


def _gives(config: Mapping[str, Any]) -> Iterator[str]:
    nouns = {"n_action": "action", "action_dim": "real number", "n_quantiles": "quantile", "n_atoms": "atom"}
    found = {name: config[name] for name in nouns if isinstance(config.get(name), int)}
    choices = config.get("choices")
    if isinstance(choices, Sequence) and not isinstance(choices, str):
        yield f"choices of {' and '.join(map(str, choices))}"
    elif not {"n_action", "action_dim"} & found.keys():
        yield "a value"
    for name, count in found.items():
        yield f"{count:,} {nouns[name]}{'' if count == 1 else 's'}"


def _bodies(config: Mapping[str, Any]) -> Iterator[str]:
    for name, body in config.items():
        if not name.endswith(_BODY) or not isinstance(body, Sequence) or not body:
            continue
        part = name.removesuffix(f"_{_BODY}")
        count = config.get("n_critics") if part == "critic" else None
        part = f"{count} critics" if isinstance(count, int) and count > 1 else part
        yield f"{part} {' '.join(_block(block) for block in body if isinstance(block, Mapping))}"


def _block(block: Mapping[str, Any]) -> str:
    kind = str(block.get("kind", ""))
    sizes = block.get(_SIZES.get(kind, ""), ())
    listed = sizes if isinstance(sizes, Sequence) and not isinstance(sizes, str) else (sizes,)
    numbers = [str(size.get("channels", "")) if isinstance(size, Mapping) else str(size) for size in listed]
    return " ".join([str(block.get("cell", kind)), *numbers])
