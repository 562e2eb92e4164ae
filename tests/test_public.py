"""The public face: verbs and types that load when they are used."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ckptfmt.cli.wording import OPTIONS

import ckptfmt
from ckptfmt.codes import codes
from ckptfmt.format.files import MANIFEST, SAFETENSORS, is_companion

ROOT = Path(__file__).resolve().parent.parent
WITH_TORCH = {
    "Trainer",
    "create_model_from_config",
    "load_legacy_checkpoint",
    "load_model_checkpoint",
    "save_model_checkpoint",
    "settle",
}
# The public surface: these names of the package, and below the packages and modules that documents import from.
PROMISED = [
    "AssumedWarning",
    "Checkpoint",
    "CheckpointManager",
    "CkptError",
    "ModelConfig",
    "Trainer",
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
OF_PARTS = {
    "ckptfmt.errors": {"AssumedWarning", "CkptError"},
    "ckptfmt.families.answer": {"Candidate", "Placement"},
    "ckptfmt.families.claim": {"Proposal", "Witness"},
    "ckptfmt.families.config": {"Config", "positive"},
    "ckptfmt.families.registry": {"Family"},
    "ckptfmt.families.skeleton": {"Skeleton"},
    "ckptfmt.format.document": {"value"},
    "ckptfmt.rl.envs": {"Environment", "describe_env", "make_env"},
    "ckptfmt.rl.hub": {"Agent"},
    "ckptfmt.rl.integrations.adopt": {"adopt"},
    "ckptfmt.rl.integrations.lightning": {"SaveCheckpoints"},
    "ckptfmt.rl.integrations.sb3": {"SaveCheckpoints", "resume"},
    "ckptfmt.rl.peers": {"Ranks"},
    "ckptfmt.rl.state": {"TrainingState"},
    "ckptfmt.rl.training.exact": {"assert_resume_exact"},
}
# How many things a package names for the rest of the house; what it does not name is its own.
FEW = 8
VERBS_NAMED_LIKE_MODULES = ("convert", "report")
# Names whose packages come with an extra of their own, and that package.
WITH_EXTRAS = {"report": "jinja2", "sign": "cryptography", "verify": "cryptography"}
WORDS = re.compile(r"([a-z]+)\.[a-z][a-z0-9-]*")
# A file of Orbax, by which a folder of it is known; it begins as a code does.
ORBAX = "manifest.ocdbt"
OPTION = re.compile(r"(?<![\w-])--[a-z]")
KEYWORD = re.compile(r"\b([a-z][a-z_]*)=(?![={])")
# Keywords of functions that no command calls with a choice of the user's.
OF_PYTHON_ALONE = {"allow_nan", "model", "q_values"}
# What a layer of torch prints of itself.
OF_TORCH = {"weights_only", "out_features", "std_init", "checkpoint_id"}
# Commands of other programs.
OF_OTHERS = re.compile(r"\b(git|az) [a-z]")
# Attributes that git knows.
OF_GIT = {"diff", "merge"}


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    return done.stdout.strip()


def test_public_names_are_there_without_torch():
    names = sorted(set(ckptfmt.__all__) - WITH_TORCH - WITH_EXTRAS.keys())
    assert run(f"import ckptfmt, sys; [getattr(ckptfmt, n) for n in {names}]; print('torch' in sys.modules)") == "False"


@pytest.mark.parametrize("name", sorted(WITH_TORCH))
def test_names_that_need_torch_import_it_when_they_are_used(name):
    pytest.importorskip("torch", reason="torch is not installed")
    assert callable(getattr(ckptfmt, name))


@pytest.mark.parametrize("name", WITH_EXTRAS)
def test_names_that_need_an_extra_say_which(name):
    package = WITH_EXTRAS[name]
    extra = {"jinja2": "web", "cryptography": "sign"}[package]
    hide = f"import sys; sys.modules['{package}'] = None; import ckptfmt\n"
    program = f"{hide}try: ckptfmt.{name}\nexcept ImportError as e: print(e)"
    assert run(program) == f'{name} needs {package}, which is not installed; run: pip install "ckptfmt[{extra}]"'


def test_importing_the_package_imports_nothing_else():
    assert run("import ckptfmt, sys; print([m for m in sys.modules if m.startswith('ckptfmt.')])") == "[]"


@pytest.mark.parametrize("name", VERBS_NAMED_LIKE_MODULES)
def test_a_verb_stays_a_verb_when_its_module_is_imported(name):
    if name in WITH_EXTRAS:
        pytest.importorskip(WITH_EXTRAS[name], reason=f"{WITH_EXTRAS[name]} is not installed")
    program = f"import ckptfmt, ckptfmt.{name}; print(ckptfmt.{name}.__name__, callable(ckptfmt.{name}))"
    assert run(program) == f"{name} True"
    assert run(f"import ckptfmt.convert.batch; import ckptfmt; print(callable(ckptfmt.{name}))") == "True"
    assert run(f"from ckptfmt.{name} import {name} as verb; import ckptfmt; print(verb is ckptfmt.{name})") == "True"


def test_a_name_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="module 'ckptfmt' has no attribute 'opne'"):
        _ = ckptfmt.opne


def test_the_public_names_are_those_that_are_promised():
    assert sorted(ckptfmt.__all__) == sorted(["__version__", *PROMISED])


def packages() -> dict[str, ast.Module]:
    found = sorted((ROOT / "ckptfmt").rglob("*/__init__.py"))
    return {".".join(path.parent.relative_to(ROOT).parts): ast.parse(path.read_text()) for path in found}


@pytest.mark.parametrize("name", packages())
def test_a_package_names_its_few_things_or_none(name):
    tree = packages()[name]
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign) and "__all__" in ast.unparse(node)]
    assert len(lists) == 1
    named = ast.literal_eval(lists[0])
    assert len(named) <= FEW
    assert named or not any(isinstance(node, ast.ImportFrom) for node in tree.body)


def test_a_module_is_of_a_package_or_one_of_the_four():
    loose = {path.name for path in (ROOT / "ckptfmt").glob("*.py")}
    assert loose == {"__init__.py", "__main__.py", "codes.py", "errors.py"}


def imported() -> Iterator[tuple[str, str, str]]:
    """Yield (document, module, name) of what documents take out of the library."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.py"))]:
        for module, names in re.findall(
            r"^(?:>>> )?from (ckptfmt[\w.]*) import ([\w, ]+)", path.read_text(), re.MULTILINE
        ):
            yield from ((path.name, module, name.split(" as ")[0].strip()) for name in names.split(","))


def test_documents_take_what_is_public():
    taken = [item for item in imported() if not item[1].startswith("ckptfmt.cli")]
    assert len(taken) > 20
    public = {"ckptfmt": set(PROMISED), **OF_PARTS}
    assert [item for item in taken if item[2] not in public.get(item[1], ())] == []


@pytest.mark.parametrize("module", sorted(OF_PARTS))
def test_what_is_public_of_a_part_is_in_its_list(module):
    path = ROOT.joinpath(*module.split("."))
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign) and "__all__" in ast.unparse(node)]
    assert set(ast.literal_eval(lists[0])) >= OF_PARTS[module]


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


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("ckptfmt", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def stated(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield what stands where a code belongs: `code=`, the first argument of a Problem, `code` of a class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (keyword.value for keyword in node.keywords if keyword.arg == "code")
            if isinstance(node.func, ast.Name) and node.func.id == "Problem":
                yield from node.args[:1]
        elif isinstance(node, ast.ClassDef):
            plain = (item for item in node.body if isinstance(item, ast.Assign))
            yield from (item.value for item in plain if ast.unparse(item.targets[0]) == "code")
        elif isinstance(node, ast.FunctionDef):
            positional = [*node.args.posonlyargs, *node.args.args]
            names = [*positional, *node.args.kwonlyargs]
            defaults = [None] * (len(positional) - len(node.args.defaults)) + node.args.defaults
            defaults += node.args.kw_defaults
            yield from (
                value for name, value in zip(names, defaults, strict=True) if name.arg == "code" and value is not None
            )


def strings(tree: ast.AST) -> Iterator[str]:
    keys = {id(node.slice) for node in ast.walk(tree) if isinstance(node, ast.Subscript)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in keys:
            yield node.value


def used() -> dict[str, str]:
    """Every code in use, and where: what stands where a code belongs, and what begins like one of the registry."""
    spaces = {code.partition(".")[0] for code in codes()}
    found: dict[str, str] = {}
    for place, tree in sources():
        certain = {text for value in stated(tree) for text in strings(value) if text}
        likely = {text for text in strings(tree) if (words := WORDS.fullmatch(text)) and words[1] in spaces}
        likely = {text for text in likely if text not in (*SAFETENSORS, MANIFEST, ORBAX) and not is_companion(text)}
        found |= dict.fromkeys(certain | likely, place)
    return found


def test_every_code_in_use_is_in_the_registry():
    assert {code: place for code, place in used().items() if code not in codes()} == {}


def test_every_code_of_the_registry_is_in_use():
    assert set(codes()) - set(used()) == set()


def test_a_code_is_a_name_or_a_literal_and_never_put_together():
    made = [f"{place}: {ast.unparse(value)}" for place, tree in sources() for value in stated(tree) if joined(value)]
    assert made == []


def joined(value: ast.expr) -> bool:
    return any(isinstance(node, ast.JoinedStr | ast.BinOp) for node in ast.walk(value))


def test_nothing_is_decided_by_a_code():
    """Where a caller acts differently there is a class for it."""
    found = []
    for place, tree in sources():
        for node in ast.walk(tree):
            parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            parts += [node.subject] if isinstance(node, ast.Match) else []
            errors = [part for part in parts if isinstance(part, ast.Attribute) and part.attr == "code"]
            found += [f"{place}: {ast.unparse(part)}" for part in errors]
    assert found == []


def test_an_error_of_no_class_of_its_own_has_a_code():
    bare = [
        f"{place}:{node.lineno}"
        for place, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "CkptError"
        # Without a name stands what another process said; it had its code there.
        and not {"code", None} & {keyword.arg for keyword in node.keywords}
        # Those that are made to be printed as a sentence, and thrown away.
        and place != "cli/wording.py"
    ]
    assert bare == []


def literals(path: Path) -> list[str]:
    """Return the strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef)
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents
    ]


def library() -> list[Path]:
    """Every module but those of pages, whose literals are SVG: attributes there look like keywords."""
    return sorted(path for path in (ROOT / "ckptfmt").rglob("*.py") if path.parent.name != "report")


def test_no_message_of_the_library_names_an_option():
    """Which it would be is for the command line to say: `ckptfmt.cli.wording` does."""
    named = {
        path.name: text
        for path in library()
        for text in literals(path)
        if " " in text and OPTION.search(text) and not OF_OTHERS.search(text)
    }
    assert named == {}


def test_every_keyword_that_a_message_names_is_known_here():
    named = {name for path in library() for text in literals(path) if " " in text for name in KEYWORD.findall(text)}
    assert named - set(OPTIONS) - OF_PYTHON_ALONE - OF_TORCH - OF_GIT == set()


def test_the_reference_of_the_library_tells_each_public_name():
    text = (ROOT / "docs" / "api.md").read_text()
    told = re.findall(r"^\.\. (?:auto\w+|py:function):: ckptfmt\.(\w+)", text, re.M)
    assert sorted(told) == sorted(set(ckptfmt.__all__) - {"__version__"})
    assert "`ckptfmt.__version__`" in text
