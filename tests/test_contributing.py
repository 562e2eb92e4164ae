"""The recipes of docs/contributing.md do what they say, in a copy of the tree."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
DQN = ROOT / "fixtures" / "valid" / "dqn" / "checkpoint"
BLOCK = re.compile(r"<!-- (?P<place>[^>]+) -->\n```python\n(?P<text>.*?)```\n", re.DOTALL)
RECIPES = {match["place"]: match["text"] for match in BLOCK.finditer(PAGE)}


@pytest.fixture
def tree(tmp_path):
    """A copy of the package as it is installed, with cli and schema inside."""
    package = tmp_path / "tree" / "ckptfmt"
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "ckptfmt", package, ignore=ignored)
    shutil.copytree(ROOT / "cli", package / "cli", ignore=ignored)
    shutil.copytree(ROOT / "schema", package / "schema", ignore=ignored)
    return package.parent


@pytest.fixture
def run(tree, tmp_path):
    def run(program: str) -> str:
        start = f"import sys; sys.path.insert(0, {str(tree)!r}); sys.path_importer_cache.clear()\n"
        check = f"import ckptfmt; assert ckptfmt.__file__.startswith({str(tree)!r}), ckptfmt.__file__\n"
        done = subprocess.run(
            [sys.executable, "-P", "-S", "-c", start + f"sys.path += {sys.path!r}\n" + check + program],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.stderr == ""
        return done.stdout.strip()

    return run


def append(path: Path, before: str, text: str) -> None:
    """Put lines behind the first one that begins with `before`."""
    content = path.read_text(encoding="utf-8")
    start = content.index(before)
    place = content.index("\n", start) + 1
    path.write_text(content[:place] + text + content[place:], encoding="utf-8")


def test_every_folder_of_the_house_is_on_the_page():
    folders = {path.name for path in (ROOT / "ckptfmt").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert [name for name in sorted(folders) if f"`ckptfmt/{name}/`" not in PAGE and f"`{name}/`" not in PAGE] == []


def test_every_file_on_the_page_is_there():
    made = {place.partition(",")[0] for place in RECIPES if "," not in place}
    named = set(re.findall(r"`((?:ckptfmt|cli|schema|fixtures|docs|tests)/[\w./-]+\.\w+)`", PAGE))
    assert sorted(name for name in named - made if not (ROOT / name).exists() and "NAME" not in name) == []


def test_a_family_is_one_file(tree, run):
    (place,) = [place for place in RECIPES if place.startswith("ckptfmt/families/")]
    (tree / place).write_text(RECIPES[place], encoding="utf-8")
    said = run("""
import numpy
from ckptfmt.families import registry
from ckptfmt.families.linear_q import LinearConfig
config = LinearConfig(inputs=4, n_action=2)
arrays = {"weight": numpy.zeros((2, 4), "f4"), "bias": numpy.zeros(2, "f4")}
ckptfmt.save("out", arrays, config).close()
with ckptfmt.open("out") as checkpoint:
    print(checkpoint.config == config, checkpoint.manifest.architecture.to_dict())
print(ckptfmt.validate("out").problems, "linear-q" in registry.names())
try:
    ckptfmt.save("bad", {**arrays, "bias": numpy.zeros(3, "f4")}, config)
except ckptfmt.CkptError as e:
    print(e.what)
try:
    LinearConfig(inputs=0, n_action=2)
except ckptfmt.CkptError as e:
    print(e)
import runpy
made = dict(runpy.run_path("tree/ckptfmt/schema/make_schemas.py")["schemas"]())
print(made["linear-q"]["required"], "torch" in sys.modules)
""")
    assert said.splitlines() == [
        "True {'family': 'linear-q', 'name': 'linear'}",
        "() True",
        "the tensors are not those of a linear network: bias is 3, the config demands 2",
        "$.config.inputs: inputs must be a whole number of 1 or more, not 0",
        "['inputs', 'n_action'] False",
    ]


def test_a_field_is_one_line(tree, run):
    (line,) = [text for place, text in RECIPES.items() if place.endswith(", Resume")]
    append(tree / "ckptfmt" / "format" / "entries.py", "    lacks: tuple[str, ...]", line)
    said = run(f"""
import dataclasses, pathlib
from ckptfmt.format.manifest import Manifest, Resume, render_manifest
from ckptfmt.format.parse import parse_manifest
for case in sorted(pathlib.Path({str(ROOT / "fixtures" / "valid")!r}).iterdir()):
    data = (case / "checkpoint" / "manifest.json").read_bytes()
    manifest = parse_manifest(data, where="m")
    assert render_manifest(manifest) == data, case
    assert ckptfmt.validate(case / "checkpoint").valid, case
resume = Resume(has=("optimizer",), lacks=())
print(Resume.from_dict(resume.to_dict()).note == "", resume.to_dict())
noted = dataclasses.replace(resume, note="slow")
print(noted.to_dict(), Resume.from_dict(noted.to_dict()) == noted)
import runpy
made = dict(runpy.run_path("tree/ckptfmt/schema/make_schemas.py")["schemas"]())
print(made["manifest"]["$defs"]["resume"]["properties"]["note"], made["manifest"]["$defs"]["resume"]["required"])
""")
    assert said.splitlines() == [
        "True {'has': ['optimizer'], 'lacks': []}",
        "{'has': ['optimizer'], 'lacks': [], 'note': 'slow'} True",
        "{'type': 'string', 'description': 'What to know before it is resumed. Since 1.1.'} ['has', 'lacks']",
    ]


def test_a_digest_is_one_entry(tree, run, tmp_path):
    (entry,) = [text for place, text in RECIPES.items() if place.endswith(", _ALGORITHMS")]
    append(tree / "ckptfmt" / "format" / "digest.py", "_ALGORITHMS", entry)
    shutil.copytree(DQN, tmp_path / "a")
    said = run("""
import dataclasses, hashlib
from ckptfmt.store.write import update_manifest
from ckptfmt.format.manifest import render_manifest
from ckptfmt.format.parse import parse_manifest
with ckptfmt.open("a") as checkpoint:
    named = {
        name: dataclasses.replace(entry, digest="sha512:" + hashlib.sha512(checkpoint.read(name)).hexdigest())
        for name, entry in checkpoint.manifest.weights.tensors.items()
    }
    entry = dataclasses.replace(checkpoint.manifest.weights, tensors=named)
    changed = dataclasses.replace(checkpoint.manifest, files={"weights.safetensors": entry}).sealed()
open("a/manifest.json", "wb").write(render_manifest(changed))
print(ckptfmt.validate("a").problems)
with ckptfmt.open("a") as checkpoint:
    checkpoint.verify()
data = bytearray(open("a/weights.safetensors", "rb").read())
data[-1] ^= 1
open("a/weights.safetensors", "wb").write(data)
print([problem.code for problem in ckptfmt.validate("a").errors])
""")
    assert said.splitlines() == ["()", "['weights.digest']"]
