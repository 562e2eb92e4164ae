"""From a config to a network: each family of this package has a builder, those of others come by entry points."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import torch
from torch import nn

from ckptfmt.errors import CkptError, printable
from ckptfmt.families.config import Config
from ckptfmt.families.registry import carries_distribution, modules_of, told
from ckptfmt.rl import families
from ckptfmt.rl.device import parse_device

__all__ = ["GROUP", "create_model_from_config"]

GROUP = "ckptfmt.builders"


def create_model_from_config(model_config: Config, device: str | torch.device = "cpu") -> Any:
    """Build the network that `model_config` describes, freshly initialised, on `device`.

    The device `meta` gives a network of shapes alone. Raises `CkptError` for a device that is not there, and for a
    family of another package that brings no builder.
    """
    build = _builder(model_config.family)
    with torch.device("meta") if str(device) == "meta" else parse_device(device):
        network: nn.Module = build(model_config)
    return network


def _builder(family: str) -> Any:
    if module := modules_of(families).get(family):
        return import_module(f"{families.__name__}.{module}").build
    for entry in filter(carries_distribution, entry_points(group=GROUP, name=family)):
        try:
            return entry.load()
        except (Exception, GeneratorExit, SystemExit) as e:  # a stranger's module may raise anything
            raise CkptError(
                f"the builder of the family {printable(family, 60)} cannot be imported: {told(e)}",
                fix=f"mend or uninstall {printable(entry.value, 80)}",
                code="install.plug-in",
            ) from e
    raise CkptError(
        f"nothing that is installed builds networks of the family {printable(family, 60)}",
        fix="pass the network these weights belong to as model=",
        code="config.family",
    )
