"""Imports point one way; heavy packages are imported where they are needed and nowhere else."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A module may import from its own line or from a line above it. `a/` stands for a whole package.
LEVELS = (
    ("ckptfmt", "errors", "codes"),
    ("remote/",),
    ("format/",),
    ("families/",),
    ("store/",),
    ("legacy/",),
    ("convert/",),
    ("look/",),
    ("report/", "share/"),
    ("web/",),
    ("rl/",),
    ("cli/", "__main__"),
)
# Packages from outside, and the parts of ours that may name them.
GUESTS = {
    "torch": ("rl/",),
    "gymnasium": ("rl/",),
    "ale_py": ("rl/",),
    "tensorboard": ("rl/",),
    "imageio_ffmpeg": ("rl/",),
    "yaml": ("rl/", "convert/companions"),
    "stable_baselines3": ("rl/",),
    "sb3_contrib": ("rl/",),
    "lightning": ("rl/",),
    "numpy": (
        "format/numeric",
        "legacy/containers/hdf5",
        "format/tensors",
        "store/arrays",
        "store/slices",
        "store/manager/",
        "look/",
        "report/",
        "rl/",
        "web/",
    ),
    "jinja2": ("report/compiled", "report/render"),
    "markupsafe": ("report/", "web/"),
    "starlette": ("web/",),
    "uvicorn": ("cli/commands/serve",),
    "jsonschema": ("look/validate/",),
    "blake3": ("format/digest",),
    "backports": ("format/frames",),
    "compression": ("format/frames",),
    "rfc8785": ("format/digest",),
    "pebble": ("convert/",),
    "click": ("cli/",),
    "distributed": ("cli/executors",),
    "cryptography": ("share/_keys",),
    "obstore": ("remote/store",),
    "h5py": ("legacy/containers/hdf5",),
    "huggingface_hub": ("remote/hub", "share/hub", "rl/"),
}
FORBIDDEN = ("pickle", "_pickle", "pickletools", "marshal", "shelve", "cloudpickle", "dill", "joblib")


def modules() -> dict[str, Path]:
    found = {}
    for folder, prefix in ((ROOT / "ckptfmt", "ckptfmt"), (ROOT / "cli", "ckptfmt.cli")):
        for path in folder.rglob("*.py"):
            name = ".".join((prefix, *path.relative_to(folder).with_suffix("").parts))
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, name: str) -> set[str]:
    found = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for inner in ast.walk(node):
                if isinstance(inner, ast.ImportFrom | ast.Import):
                    inner.names = []
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.names:
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            module = f"{base}.{node.module}" if node.level and node.module else base if node.level else node.module
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def part(name: str) -> str:
    """`ckptfmt.legacy.containers.zip` is `legacy/`, `ckptfmt.save` is `save`, `ckptfmt` itself `ckptfmt`."""
    words = name.split(".")
    if len(words) == 1:
        return "ckptfmt"
    package = (ROOT / "ckptfmt" / words[1]).is_dir() or words[1] == "cli"
    return words[1] + "/" if package else words[1]


def within(name: str, places: tuple[str, ...]) -> bool:
    """Say whether a module is one of these, or lies in one that ends in a slash."""
    inside = name.partition(".")[2].replace(".", "/")
    return (
        any(inside == place or f"{inside}/".startswith(place) for place in places if place.endswith("/"))
        or inside in places
    )


def level(name: str) -> int:
    found = [i for i, line in enumerate(LEVELS) if part(name) in line]
    assert found, f"{name} has no place in the levels"
    return found[0]


MODULES = modules()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_one_way(name):
    ours = {other for other in imports(MODULES[name], name) if other in MODULES and other != "ckptfmt"}
    assert [other for other in sorted(ours) if level(other) > level(name)] == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_guests_are_named_only_where_they_belong(name):
    tops = {other.partition(".")[0] for other in imports(MODULES[name], name)}
    assert [guest for guest in sorted(tops & GUESTS.keys()) if not within(name, GUESTS[guest])] == []
    assert tops.isdisjoint(FORBIDDEN)


def needs(name: str) -> set[str]:
    """The modules that one imports, at its top or later; a module of a package is not the package's own."""
    found = {other for other in imports(MODULES[name], name) if other in MODULES and other != name}
    return {other for other in found if not any(more.startswith(f"{other}.") for more in found)} - {"ckptfmt"}


def test_no_module_needs_one_that_needs_it():
    """Not even later, in a function: an import that waits saves time, it hides no circle."""
    left = {name: needs(name) for name in MODULES}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    assert {name: sorted(others & left.keys()) for name, others in left.items()} == {}


def test_every_line_of_the_levels_is_in_use():
    parts = {part(name) for name in MODULES}
    assert [entry for line in LEVELS for entry in line if entry not in parts] == []


def test_the_reader_of_imports_sees_relative_and_nested_ones(tmp_path):
    file = tmp_path / "m.py"
    file.write_text("from ..b import c\nfrom . import d\ndef f():\n    import torch.nn\n")
    assert imports(file, "ckptfmt.a.m") == {"ckptfmt.b", "ckptfmt.b.c", "ckptfmt.a", "ckptfmt.a.d", "torch.nn"}
