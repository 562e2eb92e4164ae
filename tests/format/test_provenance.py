import subprocess
import sys

import pytest

from ckptfmt import __version__
from ckptfmt.format.provenance import created_by, instant


def test_the_fixed_clock_of_reproducible_builds_is_used(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert instant() == "1970-01-01T00:00:00Z"


def test_the_versions_at_work_are_named():
    made = created_by()
    assert made["ckptfmt"] == __version__
    assert made["python"] == ".".join(map(str, sys.version_info[:3]))
    assert made["platform"].startswith(sys.platform)


@pytest.mark.parametrize("name", ["torch", "numpy"])
def test_what_is_not_loaded_is_neither_named_nor_imported(name):
    code = (
        "import sys, ckptfmt.format.provenance\n"
        "made = ckptfmt.format.provenance.created_by()\n"
        f"assert {name!r} not in made and {name!r} not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
