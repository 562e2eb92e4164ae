"""What a file cannot say of its network and a person or the file's own config can: one list of such facts.

The keywords of `convert`, `adopt` and `load_legacy_checkpoint`, the options of the command line, and what is looked for
in the config of a source all come from here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypedDict, get_type_hints

__all__ = ["DECLARED", "FACTS", "Given", "Reading", "known"]


class Given(TypedDict, total=False):
    """The facts, each with what it is."""

    architecture: Annotated[
        str, "Architecture of the network, for example dueling; none keeps the weights without one."
    ]
    n_action: Annotated[int, "Number of actions."]
    n_atoms: Annotated[int, "Number of atoms of a distributional network (C51)."]
    v_min: Annotated[float, "Lowest return of the support of a distributional network."]
    v_max: Annotated[float, "Highest return of the support of a distributional network."]
    input_shape: Annotated[tuple[int, int, int], "Channels, height and width of an observation."]
    input_scale: Annotated[float, "What the network divides its input by; 255 for raw bytes."]
    dueling_join: Annotated[str, "How a dueling network combines value and advantage."]


class Reading(Given, total=False):
    """The facts, and how a foreign file is read for them."""

    key: Annotated[str | None, "Which network to take, if the file holds several."]
    allow_unsafe: Annotated[
        bool, "Do not refuse a pickle that names functions used by attacks; they are still not run."
    ]
    settings: Annotated[Mapping[str, Any] | None, "Any other field of the config."]


# What each fact is, by its name, in the order in which help lists them.
FACTS: Mapping[str, str] = MappingProxyType(
    {name: hint.__metadata__[0] for name, hint in get_type_hints(Given, include_extras=True).items()}
)
# The facts that stand under the same name in the config of a source, where they can be held against its weights.
DECLARED = tuple(name for name in FACTS if name != "architecture")


def known(config: Mapping[str, Any], names: tuple[str, ...] = DECLARED) -> dict[str, Any]:
    """Return the facts that a config says."""
    return {name: config[name] for name in names if config.get(name) is not None}
