"""Fuzz for a time, guided by coverage (needs atheris: pip install 'ckptfmt[fuzz]').

    python tests/fuzz/run.py --seconds 600                # every target in turn, the time shared among them
    python tests/fuzz/run.py --seconds 60 --corpus DIR archive pickle

A run begins with the fixtures, and with what --corpus kept of earlier runs. It exits 1 where a promise was
broken and names the files with the inputs; each belongs into fixtures/hostile, with the answer it must get.
"""

import argparse
import atexit
import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

# Coverage is seen in modules that are imported under this.
with atheris.instrument_imports(include=["ckptfmt"]):
    sys.path.insert(0, str(Path(__file__).parent))
    import targets

_LONGEST = 1 << 16


def fuzz(name: str, corpus: Path, found: Path, seconds: int) -> None:
    """Be the process that fuzzes one target; libFuzzer ends it."""
    guard = targets.Guard()
    target = targets.TARGETS[name]
    for i, data in enumerate(targets.seeds(name)):
        # What the package loads when it is first used is loaded before the guard looks.
        with contextlib.suppress(targets.CkptError):
            target(data)
        (corpus / f"seed-{i}").write_bytes(data)
    sys.addaudithook(guard.audit)
    atexit.register(shutil.rmtree, targets.WORK, ignore_errors=True)
    options = [f"-max_total_time={seconds}", f"-max_len={_LONGEST}", "-timeout=20", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={found}/{name}-", str(corpus)], guard_input(guard, target))
    atheris.Fuzz()


def guard_input(guard: targets.Guard, target: object) -> object:
    """Return what libFuzzer calls with each input."""
    return lambda data: guard.check(target, data) and None  # type: ignore[arg-type]


def main() -> int:
    """Fuzz the targets one after another, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps interesting inputs")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="where inputs that break a promise go")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(targets.TARGETS)}; all where none is given")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.targets or list(targets.TARGETS)
    if unknown := [name for name in names if name not in targets.TARGETS]:
        parser.error(f"there is no target {unknown[0]}")
    if given.child:
        fuzz(names[0], given.corpus, given.found, given.seconds)
    shutil.rmtree(targets.WORK, ignore_errors=True)
    given.found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            corpus = (given.corpus or Path(scratch)) / name
            corpus.mkdir(parents=True, exist_ok=True)
            share = str(max(1, given.seconds // len(names)))
            own = ["--child", "--seconds", share, "--corpus", corpus, "--found", given.found, name]
            subprocess.run([sys.executable, "-P", __file__, *map(str, own)], check=False)
    inputs = sorted(given.found.iterdir())
    for path in inputs:
        print(f"broken: {path}")
    return 1 if inputs else 0


if __name__ == "__main__":
    raise SystemExit(main())
