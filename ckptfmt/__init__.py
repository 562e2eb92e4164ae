"""Checkpoints for deep reinforcement learning that explain, prove and rebuild themselves.

>>> ckptfmt.convert("dqn_best.pth", "out")          # a checkpoint of a legacy file, without running it
>>> ckptfmt.validate("out").valid                   # every byte checked, every problem named
>>> ckptfmt.open("out").tensors["conv.0.weight"]    # nothing is read that was not verified
>>> ckptfmt.diff("out", "other").same               # what changed, in the manifest and in the weights
>>> ckptfmt.save("new", tensors, config)            # whole or not at all
"""

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

# Where each public name lives, a line for each part of the house; `__init__.pyi` says the same to type checkers.
_HOMES = {
    name: module
    for line in (
        "errors: AssumedWarning CkptError",
        "families: families; families.tell: classify; families.atari_dqn.config: ModelConfig",
        "store.checkpoint: Checkpoint open; store.save: save; store.clean: clean; store.repair: repair",
        "store.manager: CheckpointManager; store.upgrade: upgrade",
        "convert: convert migrate_old_checkpoint; convert.batch: convert_many",
        "look.summarize: summarize; look.many: summarize_many validate_many; look.validate: validate",
        "look.diff: diff; report: report",
        "share.export: export; share.sign: sign verify",
        "rl.families.factory: create_model_from_config; rl.training.train: Trainer; rl.settle: settle",
        "rl.load: load_legacy_checkpoint load_model_checkpoint; rl.save: save_model_checkpoint",
    )
    for module, _, names in (part.strip().partition(": ") for part in line.split(";"))
    for name in names.split()
}
__all__ = ["__version__", *_HOMES]


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Importing the module `ckptfmt.convert` binds it here by a name that belongs to the verb.
        # `families` is a package and stays one: it holds nothing of its own name.
        bound = name in _HOMES and isinstance(value, ModuleType)
        super().__setattr__(name, getattr(value, name, value) if bound else value)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(f"{__name__}.{_HOMES[name]}")
    except ImportError as e:
        raise import_module(f"{__name__}.errors").missing_package(e, name) or e from None
    globals()[name] = value = home if name == "families" else getattr(home, name)
    return value


sys.modules[__name__].__class__ = _Package
