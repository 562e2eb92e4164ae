"""The public face: verbs and types that load when they are used."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import ckptfmt

ROOT = Path(__file__).resolve().parent.parent
WITH_TORCH = {
    "create_model_from_config",
    "load_legacy_checkpoint",
    "load_model_checkpoint",
    "save_model_checkpoint",
}
VERBS_NAMED_LIKE_MODULES = ("convert",)


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    return done.stdout.strip()


def test_public_names_are_there_without_torch():
    names = sorted(set(ckptfmt.__all__) - WITH_TORCH)
    assert run(f"import ckptfmt, sys; [getattr(ckptfmt, n) for n in {names}]; print('torch' in sys.modules)") == "False"


@pytest.mark.parametrize("name", sorted(WITH_TORCH))
def test_names_that_need_torch_import_it_when_they_are_used(name):
    pytest.importorskip("torch", reason="torch is not installed")
    assert callable(getattr(ckptfmt, name))


def test_importing_the_package_imports_nothing_else():
    assert run("import ckptfmt, sys; print([m for m in sys.modules if m.startswith('ckptfmt.')])") == "[]"


@pytest.mark.parametrize("name", VERBS_NAMED_LIKE_MODULES)
def test_a_verb_stays_a_verb_when_its_module_is_imported(name):
    program = f"import ckptfmt, ckptfmt.{name}; print(ckptfmt.{name}.__name__, callable(ckptfmt.{name}))"
    assert run(program) == f"{name} True"
    assert run(f"import ckptfmt.convert.batch; import ckptfmt; print(callable(ckptfmt.{name}))") == "True"
    assert run(f"from ckptfmt.{name} import {name} as verb; import ckptfmt; print(verb is ckptfmt.{name})") == "True"


def test_a_name_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="module 'ckptfmt' has no attribute 'opne'"):
        _ = ckptfmt.opne


def test_type_checkers_see_the_same_names():
    stub = (ROOT / "ckptfmt" / "__init__.pyi").read_text()
    declared = {line.rpartition(" as ")[2] for line in stub.splitlines() if " as " in line}
    assert declared | {"__version__"} == set(ckptfmt.__all__)


def test_the_package_fits_on_one_screen():
    assert len((ROOT / "ckptfmt" / "__init__.py").read_text().splitlines()) < 60


def test_without_torch_the_error_says_how_to_get_it():
    hide = "import sys; sys.modules['torch'] = None; " if importlib.util.find_spec("torch") else ""
    program = hide + "import ckptfmt\ntry: ckptfmt.load_model_checkpoint\nexcept ImportError as e: print(e)"
    assert run(program) == 'load_model_checkpoint needs torch, which is not installed; run: pip install "ckptfmt[rl]"'
