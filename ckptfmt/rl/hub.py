"""Networks loaded by the Hugging Face hub's own mixin, from a folder or a repository that `ckpt export` made."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ckptfmt.errors import CkptError, missing_package
from ckptfmt.families import registry
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.families.noisy import reset_noise

try:
    from huggingface_hub import PyTorchModelHubMixin
except ImportError as e:
    raise missing_package(e, "Agent") or e from None

__all__ = ["Agent"]


class Agent(nn.Module, PyTorchModelHubMixin):
    """The network of an exported folder, as `network`.

    `Agent.from_pretrained(FOLDER_OR_REPOSITORY, strict=True)` builds it from config.json and loads model.safetensors.
    That proves nothing of the file: `ckptfmt.load_model_checkpoint` verifies every tensor.
    """

    def __init__(self, family: str, config: Mapping[str, Any], name: str = "", model_type: str = "") -> None:
        super().__init__()
        found = registry.find(family)
        if found is None:
            raise CkptError(
                f"its network is of the family {family!r}, which is not installed",
                fix="install the package that brings this family",
                code="config.family",
            )
        self.settings = found.config.from_dict(config)
        self.network: nn.Module = create_model_from_config(self.settings)

    def forward(self, x: Tensor) -> Any:
        """Return what the network's paper defines, see `network.forward`."""
        return self.network(x)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the tensors under the names that they have in the file."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load tensors by the names that they have in the file; noise that it leaves out is drawn anew."""
        result = self.network.load_state_dict(state_dict, strict=False, assign=assign)
        optional = Blueprint.of(self.settings).optional()
        drawn = [name for name in result.missing_keys if name in optional]
        if drawn:
            reset_noise(self.network)
        missing = [name for name in result.missing_keys if name not in optional]
        if strict and (missing or result.unexpected_keys):
            raise RuntimeError(f"the file has not {missing[:3]} and has also {list(result.unexpected_keys)[:3]}")
        return type(result)(missing, result.unexpected_keys)
