"""Settings of all tests."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# A shell starts background jobs deaf to Ctrl-C, and they hand that on; the commands under test must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline would be a timing assertion; the same examples everywhere make a failure repeatable.
settings.register_profile("ckptfmt", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ckptfmt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--passed-to", metavar="FILE", help="Write the names of the tests that passed into this file.")
    parser.addoption("--without", metavar="FILE", help="Leave the tests out that a file names.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
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
