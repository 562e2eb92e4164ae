"""Settings of all tests."""

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# A shell starts background jobs deaf to Ctrl-C, and they hand that on; the commands under test must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline would be a timing assertion; the same examples everywhere make a failure repeatable.
settings.register_profile("ckptfmt", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ckptfmt")

# Files that take minutes come first: of two processes, one would run them at the end while the other has nothing to do.
_LONG = frozenset({"test_faults.py", "test_benchmarks.py", "test_train.py", "test_ranks.py"})
# The user that owns nothing.
_NOBODY = 65534


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--passed-to", metavar="FILE", help="Write the names of the tests that passed into this file.")
    parser.addoption("--without", metavar="FILE", help="Leave the tests out that a file names.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in _LONG)
    if not (given := config.getoption("--without")):
        return
    done = set(Path(given).read_text().splitlines())
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in done])
    items[:] = [item for item in items if item.nodeid not in done]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    # The workers of xdist have no terminal, so this runs once.
    if given := config.getoption("--passed-to"):
        passed = [report.nodeid for report in terminalreporter.stats.get("passed", ())]
        Path(given).write_text("".join(f"{name}{os.linesep}" for name in passed))


@pytest.fixture(scope="session")
def tensors() -> dict[str, np.ndarray]:
    """A small network: nature trunk on 36×36, 16 hidden units, 4 actions."""
    shapes = {
        "conv.0.weight": (32, 4, 8, 8),
        "conv.0.bias": (32,),
        "conv.2.weight": (64, 32, 4, 4),
        "conv.2.bias": (64,),
        "conv.4.weight": (64, 64, 3, 3),
        "conv.4.bias": (64,),
        "fc.0.weight": (16, 64),
        "fc.0.bias": (16,),
        "fc.2.weight": (4, 16),
        "fc.2.bias": (4,),
    }
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def signing(tmp_path: Path) -> Path:
    """A folder with private.pem and public.pem, a pair of P-256 keys that openssl made."""
    make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "private.pem"]
    subprocess.run(make, check=True, capture_output=True)
    take = ["openssl", "ec", "-in", tmp_path / "private.pem", "-pubout", "-out", tmp_path / "public.pem"]
    subprocess.run(take, check=True, capture_output=True)
    return tmp_path


@pytest.fixture
def locked():
    """Give what takes rights on a folder below the current one away, from root too while the test runs."""
    folders, user = [], os.geteuid()

    def lock(folder, mode=0):
        folders.append(folder)
        folder.chmod(mode)
        if user == 0:
            Path.cwd().chmod(0o755)
            os.seteuid(_NOBODY)

    yield lock
    os.seteuid(user)
    for folder in folders:
        folder.chmod(0o755)
