"""The entry point: the table of commands, and the answers for which nothing else is loaded.

Help and version are asked for by people who wait, by shells and by tests; loading the library that parses
command lines, and what it loads, would take most of that time. For all else `group` is loaded.
"""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from ckptfmt import __version__

from .help import HELP_NAMES, definitions

__all__ = ["COMMANDS", "Ended", "main", "overview"]

# Help prints this table without importing a command; a test holds it against their docstrings.
COMMANDS = {
    "Look": {
        "inspect": "Show what a checkpoint, or another program's file, holds.",
        "validate": "Check that checkpoints are intact, down to every byte.",
        "diff": "Show what changed between two checkpoints.",
        "play": "Play episodes with the network of a checkpoint.",
        "serve": "Serve pages about the checkpoints in a folder, read only.",
        "lineage": "Show which checkpoints a checkpoint was made from.",
        "report": "Write one page about a checkpoint, or about two.",
        "verify": "Check the signature of a checkpoint.",
        "families": "List the known families of networks, or show one in full.",
        "schema": "Print the JSON Schema of manifests, --json answers or configs.",
    },
    "Change": {
        "clean": "List or remove what interrupted saves left behind.",
        "compress": "Compress checkpoints; their digests stay the same.",
        "decompress": "Undo ckpt compress.",
        "settle": "Find out by playing what a conversion had to assume.",
        "repair": "Repair a damaged checkpoint, from intact ones of the same run.",
        "evaluate": "Play episodes and record their returns in the manifest.",
        "merge": "Merge a checkpoint that lies in parts into whole files.",
        "git": "Make git diff, log and merge understand checkpoints.",
        "sign": "Sign a checkpoint with a private key.",
        "upgrade": "Upgrade checkpoints to the newest version of the format.",
    },
    "Make": {
        "convert": "Convert another program's file, without running anything in it.",
        "export": "Export the network of a checkpoint for another library.",
        "push": "Copy a checkpoint into a bucket or to the hub.",
        "pull": "Copy a checkpoint to this machine, verified as it arrives.",
        "pack": "Archive a whole run in one file.",
        "unpack": "Unpack an archive that ckpt pack made, bit for bit.",
        "train": "Train a network on an environment, or resume a training.",
        "completion": "Print the script that lets your shell complete ckpt commands.",
    },
}
# As `failure` has it, which takes longer to import than all that is here.
_INTERRUPTED = 130
_ABOUT = "Checkpoints for deep reinforcement learning that explain, prove and rebuild themselves."
# A closed pipe ends a command at once. These are told by an exception instead: one must save first, the others
# talk to processes and browsers that may go away.
_HANDLES_PIPES = ("train", "serve", "convert", "play")


class Ended(SystemExit):
    """A signal asked the program to end; other modules that do so are not obeyed."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line `words` (those of the process unless given) and return the exit code."""
    given = list(sys.argv[1:] if words is None else words)
    # A program that gives the words has signals of its own, and pipes that must not end it.
    if words is None:
        _listen_to_signals(given)
    if _answered(given):
        return 0
    # Nothing that is loaded at the start is garbage, and looking for some takes a tenth of it.
    gc.disable()
    try:
        code: int = import_module(f"{__package__}.group").run(given)
    except KeyboardInterrupt:  # while modules were loaded, before anything could be half done
        sys.stderr.write("error: stopped by Ctrl-C\n")
        return _INTERRUPTED
    finally:
        if words is None and given[:1] != ["train"]:
            # The process ends here. Python would look through all that was loaded once more, for up to 40 ms.
            # Environments of a training are collected: ALE's bindings print all that they still hold at the end.
            gc.freeze()
        gc.enable()
    return code


def overview() -> str:
    """Return the help of `ckpt` itself."""
    sections = [f"{name}:\n{definitions(list(rows.items()))}" for name, rows in COMMANDS.items()]
    options = definitions([("--version", "Print the version."), (", ".join(HELP_NAMES), "Print this help.")])
    more = "Help on one command: ckpt COMMAND --help"
    usage = "Usage: ckpt COMMAND [OPTIONS] ARGUMENTS..."
    return "\n\n".join([_ABOUT, usage, *sections, f"Options:\n{options}", more])


def _answered(words: list[str]) -> bool:
    """Answer what needs no command; return False where there is no such question or nobody to hear the answer."""
    if words == ["--version"]:
        text = f"ckpt {__version__}"
    elif len(words) == 1 and words[0] in HELP_NAMES:
        text = overview()
    else:
        return False
    if os.environ.get("_CKPT_COMPLETE") or sys.stdout is None:
        return False
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except (OSError, ValueError):  # the long way says what is wrong
        return False
    return True


def _listen_to_signals(words: Sequence[str]) -> None:
    if not any(word in _HANDLES_PIPES for word in words[:1]):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _terminated)


def _terminated(number: int, _: object) -> None:
    """End as the signal asks, but let what is half written be cleared away first."""
    # As shells say that a signal ended a program.
    raise Ended(128 + number)
