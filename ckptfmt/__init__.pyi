from ckptfmt.architecture.classify import classify as classify
from ckptfmt.checkpoint import Checkpoint as Checkpoint
from ckptfmt.checkpoint import open as open
from ckptfmt.config import ModelConfig as ModelConfig
from ckptfmt.convert import convert as convert
from ckptfmt.convert import migrate_old_checkpoint as migrate_old_checkpoint
from ckptfmt.diff import diff as diff
from ckptfmt.errors import CkptError as CkptError
from ckptfmt.manager import CheckpointManager as CheckpointManager
from ckptfmt.rl.factory import create_model_from_config as create_model_from_config
from ckptfmt.rl.load import load_legacy_checkpoint as load_legacy_checkpoint
from ckptfmt.rl.load import load_model_checkpoint as load_model_checkpoint
from ckptfmt.rl.save import save_model_checkpoint as save_model_checkpoint
from ckptfmt.save import save as save
from ckptfmt.validate import validate as validate

__version__: str
__all__ = [
    "Checkpoint",
    "CheckpointManager",
    "CkptError",
    "ModelConfig",
    "__version__",
    "classify",
    "convert",
    "create_model_from_config",
    "diff",
    "load_legacy_checkpoint",
    "load_model_checkpoint",
    "migrate_old_checkpoint",
    "open",
    "save",
    "save_model_checkpoint",
    "validate",
]
