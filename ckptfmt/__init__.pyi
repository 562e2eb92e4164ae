from ckptfmt import families as families
from ckptfmt.convert.batch import convert_many as convert_many
from ckptfmt.convert.convert import convert as convert
from ckptfmt.convert.convert import migrate_old_checkpoint as migrate_old_checkpoint
from ckptfmt.errors import AssumedWarning as AssumedWarning
from ckptfmt.errors import CkptError as CkptError
from ckptfmt.families.atari_dqn.config import ModelConfig as ModelConfig
from ckptfmt.families.tell import classify as classify
from ckptfmt.look.diff import diff as diff
from ckptfmt.look.many import summarize_many as summarize_many
from ckptfmt.look.many import validate_many as validate_many
from ckptfmt.look.summarize import summarize as summarize
from ckptfmt.look.validate import validate as validate
from ckptfmt.report import report as report
from ckptfmt.rl.families.factory import create_model_from_config as create_model_from_config
from ckptfmt.rl.load import load_legacy_checkpoint as load_legacy_checkpoint
from ckptfmt.rl.load import load_model_checkpoint as load_model_checkpoint
from ckptfmt.rl.save import save_model_checkpoint as save_model_checkpoint
from ckptfmt.rl.settle import settle as settle
from ckptfmt.rl.training.train import Trainer as Trainer
from ckptfmt.share.export import export as export
from ckptfmt.share.sign import sign as sign
from ckptfmt.share.sign import verify as verify
from ckptfmt.store.checkpoint import Checkpoint as Checkpoint
from ckptfmt.store.checkpoint import open as open
from ckptfmt.store.clean import clean as clean
from ckptfmt.store.manager import CheckpointManager as CheckpointManager
from ckptfmt.store.repair import repair as repair
from ckptfmt.store.save import save as save
from ckptfmt.store.upgrade import upgrade as upgrade

__version__: str
__all__ = [
    "AssumedWarning",
    "Checkpoint",
    "CheckpointManager",
    "CkptError",
    "ModelConfig",
    "Trainer",
    "__version__",
    "classify",
    "clean",
    "convert",
    "convert_many",
    "create_model_from_config",
    "diff",
    "export",
    "families",
    "load_legacy_checkpoint",
    "load_model_checkpoint",
    "migrate_old_checkpoint",
    "open",
    "repair",
    "report",
    "save",
    "save_model_checkpoint",
    "settle",
    "sign",
    "summarize",
    "summarize_many",
    "upgrade",
    "validate",
    "validate_many",
    "verify",
]
