"""The schemas describe what the code writes and reads: all of it, and nothing else."""

import copy
import json
import random
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ckptfmt.codes import codes
from ckptfmt.convert.convert import convert
from ckptfmt.errors import CkptError, UnsupportedVersion
from ckptfmt.families import registry
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.blueprint import read_blueprint
from ckptfmt.families.encoder import Encoder
from ckptfmt.format.digest import canonical_json
from ckptfmt.format.dtypes import DTYPES
from ckptfmt.format.manifest import (
    KINDS,
    ORIGINS,
    Architecture,
    ConversionEntry,
    FileEntry,
    Lineage,
    Manifest,
    Resume,
    Source,
    TensorEntry,
    Transform,
)
from ckptfmt.format.schemas import load_schema, schema_names, schema_text
from ckptfmt.format.versions import check_version
from ckptfmt.look.anatomy import summarize_source
from ckptfmt.look.diff import diff
from ckptfmt.look.stats import checkpoint_stats
from ckptfmt.look.summary import summarize_checkpoint
from ckptfmt.look.validate import counts, validate
from ckptfmt.look.validate.conformance import departures
from ckptfmt.store.checkpoint import Checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent
FIXTURES = ROOT / "fixtures"
VALID = sorted((FIXTURES / "valid").iterdir())
INVALID = sorted((FIXTURES / "invalid").iterdir())
FOREIGN = sorted((FIXTURES / "foreign").rglob("*.pth"))


@pytest.mark.parametrize("name", schema_names())
def test_a_schema_is_a_schema_and_refers_to_nothing_outside(name):
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    references = [node["$ref"] for node in nodes(schema) if "$ref" in node]
    assert all(reference.startswith("#/$defs/") for reference in references)
    used = {reference.removeprefix("#/$defs/") for reference in references}
    assert used == set(schema["$defs"])


@pytest.mark.parametrize("name", schema_names())
def test_everything_in_a_schema_is_described(name):
    schema = load_schema(name)
    named = [item for node in nodes(schema) for item in node.get("properties", {}).items()]
    described = {key for key, value in named if "description" in value}
    # Those of if and then narrow a field that is described where it stands by itself.
    assert {key for key, _ in named} == described
    assert all("description" in value for value in schema["$defs"].values())


def test_the_manifest_has_no_open_ends():
    for node in nodes(load_schema("manifest")):
        if node.get("type") == "object" and "additionalProperties" not in node:
            assert "properties" not in node, node
            assert set(node) <= {"type", "minProperties", "maxProperties"}, node


def nodes(schema):
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from nodes(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from nodes(value)


DOCUMENTS = {
    None: Manifest,
    "architecture": Architecture,
    "conversion": ConversionEntry,
    "file": FileEntry,
    "lineage": Lineage,
    "resume": Resume,
    "source": Source,
    "tensor": TensorEntry,
    "transform": Transform,
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schema_has_the_fields_that_the_code_has(name):
    schema = load_schema("manifest")
    described = set((schema["$defs"][name] if name else schema)["properties"])
    assert described == {field.name for field in fields(DOCUMENTS[name])} - {"unknown"}


def test_the_schema_of_a_family_has_the_fields_of_its_config():
    schema = load_schema("atari-dqn")
    assert set(schema["properties"]) == {field.name for field in fields(ModelConfig)}
    assert set(schema["$defs"]["encoder"]["properties"]) == {field.name for field in fields(Encoder)} | {"name"}


def test_the_schema_has_the_words_that_the_code_has():
    defs = load_schema("manifest")["$defs"]
    assert defs["tensor"]["properties"]["dtype"]["enum"] == list(DTYPES)
    assert defs["lineage"]["properties"]["kind"]["enum"] == list(KINDS)
    assert load_schema("manifest")["properties"]["config_origin"]["additionalProperties"]["enum"] == list(ORIGINS)


@pytest.mark.parametrize("case", VALID, ids=lambda case: case.name)
def test_what_is_written_is_what_the_schema_says(case):
    raw = json.loads((case / "checkpoint" / "manifest.json").read_text())
    assert list(departures(raw)) == []
    assert not list(Draft202012Validator(load_schema("manifest")).iter_errors(raw))


def reads(raw) -> bool | None:
    """Return whether the parser takes a manifest; None where it does not for what no schema can tell."""
    try:
        check_version(raw.get("format_version"), where="")
        canonical_json(raw)
        manifest = Manifest.from_dict(raw)
        read_blueprint(manifest, where="")
    except (CkptError, UnsupportedVersion) as e:
        return None if any(words in e.what for words in OF_TWO_FIELDS) else False
    return (manifest.architecture is None) == (manifest.config is None)


# Where one field is held against another; and 2^53 as a free-form integer, which schemas take for a float.
OF_TWO_FIELDS = (
    "the config describes", "too small for these", "must be less than v_max", "but describes", "no canonical form",
)  # fmt: skip
ODDITIES = [
    None, True, False, 0, 1, -1, 3, 2**31, 2**53, 4.0, 0.5, -0.5, 1e300, "", "x", "nature", "dqn", "1.0", "1.0\n",
    "0" * 64, "sha256:" + "0" * 64, "2026-01-01T00:00:00Z", "٢026-01-01T00:00:00Z", [], [1], [1, 2], [1, 2, 3], ["a"],
    [[1]], {}, {"a": 1}, {"$float": "inf"}, {"$float": "x"}, {"$float": "inf", "b": 1}, {"$int": "9007199254740993"},
    {"$int": "7"}, {"a": {"$float": "nan"}}, {"a": {"$int": 5}}, {"a": [{"$float": 1}]}, [{"$float": "nan"}], [{}],
]  # fmt: skip


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutants(raw, rng, count):
    """Yield manifests in which one value is another, gone, or accompanied by one more."""
    every = [path for path in places(raw) if path]
    for _ in range(count):
        mutant = copy.deepcopy(raw)
        *path, last = rng.choice(every)
        place = mutant
        for key in path:
            place = place[key]
        match rng.randrange(8):
            case 0:
                del place[last]
            case 1 if isinstance(place, dict):
                place[rng.choice(["odd", "name", "$float", "a.b"])] = rng.choice(ODDITIES)
            case _:
                place[last] = copy.deepcopy(rng.choice(ODDITIES))
        yield mutant


@pytest.mark.parametrize("case", VALID, ids=lambda case: case.name)
def test_schema_and_parser_agree_about_every_mutant(case):
    raw = json.loads((case / "checkpoint" / "manifest.json").read_text())
    agreed = {True: 0, False: 0}
    for mutant in mutants(raw, random.Random(case.name), 120):
        found = [f"{problem.where}: {problem.message}" for problem in departures(mutant)]
        assert reads(mutant) in (None, not found), (found, json.dumps(mutant))
        agreed[not found] += 1
    assert min(agreed.values()) > 3


def test_an_oddity_in_any_place_of_a_full_manifest_is_judged_alike():
    raw = full_manifest()
    assert reads(raw)
    assert list(departures(raw)) == []
    rng = random.Random(7)
    for path in places(raw):
        # A few for each place: all of them take a minute, and found no more.
        for oddity in rng.sample(ODDITIES, 5) if path else ():
            mutant = copy.deepcopy(raw)
            place = mutant
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = oddity
            found = [f"{problem.where}: {problem.message}" for problem in departures(mutant)]
            assert reads(mutant) in (None, not found), (path, oddity, found)


def test_a_line_feed_behind_a_digest_is_no_part_of_it():
    raw = full_manifest()
    raw["files"]["weights.safetensors"]["sha256"] += "\n"
    assert reads(raw) is False
    (problem,) = departures(raw)
    assert problem.where == "manifest.json $.files.weights.safetensors.sha256"


def full_manifest():
    """Return a manifest with every field that there is."""
    raw = json.loads((FIXTURES / "valid" / "everything" / "checkpoint" / "manifest.json").read_text())
    tensors = raw["files"]["weights.safetensors"]["tensors"]
    raw["files"]["weights.safetensors"] |= {
        "tensors": dict([next(iter(tensors.items()))]),
        "tied": {"t": "conv.0.bias"},
    }
    source = {
        "name": "a",
        "bytes": 1,
        "sha256": "0" * 64,
        "container": "torch-zip",
        "pickle_protocol": 2,
        "globals": ["a"],
    }
    transform = {"name": "a", "source": "b", "rows": [0, 1], "squeezed": False}
    raw["conversion"] = {
        "source": source, "found_at": "", "layout": "", "renamed": {"a": "b"}, "transformed": [transform],
        "made": ["d"], "dropped": ["c"], "left": ["e"], "tied": [["a", "b"]], "verified": True,
    }  # fmt: skip
    return raw


def test_depth_is_no_trouble_for_the_schema():
    raw = json.loads((FIXTURES / "valid" / "dqn" / "checkpoint" / "manifest.json").read_text())
    raw["extra"] = nested = {}
    for _ in range(62):
        nested["a"] = nested = {}
    assert list(departures(raw)) == []


# --- answers


def answer(command: str, result, code: int = 0) -> dict:
    return {
        "ckpt": "0.1.0",
        "command": command,
        "ok": code == 0,
        "exit": code,
        "result": json.loads(json.dumps(result)),
    }


def undocumented(document) -> list[str]:
    """Return departures from the schema of answers, and the fields that it does not know."""
    return [
        f"{error.json_path}: {error.message}" for error in (*OPEN.iter_errors(document), *CLOSED.iter_errors(document))
    ]


def closed(schema):
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(item) for key, item in schema.items()}
    if "properties" in schema and "required" in schema and "description" in schema:
        made["additionalProperties"] = False
    return made


OPEN = Draft202012Validator(load_schema("report"))
CLOSED = Draft202012Validator(closed(load_schema("report")))


@pytest.mark.parametrize("case", [*VALID, *INVALID], ids=lambda case: case.name)
def test_answers_of_validate_are_described(case):
    try:
        report = validate(case / "checkpoint")
    except CkptError as e:
        document = {"ckpt": "0", "command": "validate", "ok": False, "exit": 2, "error": e.to_dict()}
    else:
        result = {"checkpoints": [{**report.to_dict(), "path": "x"}], "counts": counts([report])}
        document = answer("validate", result, int(not report.valid))
    assert undocumented(document) == []


@pytest.mark.parametrize("case", VALID, ids=lambda case: case.name)
def test_answers_of_inspect_are_described(case):
    with Checkpoint(case / "checkpoint") as checkpoint:
        summary = summarize_checkpoint(checkpoint)
        assert undocumented(answer("inspect", summary.to_dict())) == []
        full = summary.with_stats(checkpoint_stats(checkpoint)).to_dict()
    assert undocumented(answer("inspect", full)) == []


def test_answers_of_diff_are_described():
    for a in VALID:
        for b in VALID:
            found = diff(a / "checkpoint", b / "checkpoint")
            assert undocumented(answer("diff", found.to_dict(), int(not found.same))) == []


@pytest.mark.skipif(not FOREIGN, reason="fixtures/foreign holds no legacy file")
def test_answers_about_legacy_files_are_described(tmp_path):
    for i, source in enumerate(FOREIGN):
        assert undocumented(answer("inspect", summarize_source(source).to_dict())) == []
        for dry_run in (True, False):
            facts = json.loads((source.parent / "expected.json").read_text()).get("facts", {})
            conversion = convert(source, tmp_path / str(i), dry_run=dry_run, **facts)
            assert undocumented(answer("convert", conversion.to_dict())) == []


def test_lines_of_training_and_of_many_files_are_described():
    step = {"step": 1, "episodes": 0, "epsilon": 1.0, "loss": None, "return_mean": "nan", "return_std": None}
    error = {"code": "source.damaged", "what": "is empty", "where": "a.pth", "fix": ""}
    lines = [
        {**step, "steps_per_second": 10.5},
        {"saved": "runs/x", "digest": "sha256:0"},
        {"source": "a.pth", "dest": "out/a", "status": "failed", "conversion": None, "error": error},
    ]
    for line in lines:
        assert list(OPEN.iter_errors(line)) == []


def test_an_answer_has_a_result_or_an_error_and_not_both():
    assert undocumented(answer("diff", {"a": 1}, 1)) != []
    assert undocumented({**answer("x", {}), "error": {"code": "a", "what": "b", "where": "", "fix": ""}}) != []
    assert undocumented({"ckpt": "0", "command": "x", "ok": True, "exit": 0}) != []


@pytest.mark.parametrize(
    ("name", "version", "line"),
    [
        ("manifest", 9, "there are no schemas of version 9 of the format; use version 1"),
        ("../codes", 1, f"there is no schema '../codes'; use one of {', '.join(schema_names())}"),
    ],
)
def test_an_unknown_schema_is_refused_in_one_sentence(name, version, line):
    with pytest.raises(UnsupportedVersion) as caught:
        schema_text(name, version)
    assert str(caught.value) == line


def test_every_family_has_a_schema():
    assert schema_names() == ("manifest", "report", *registry.own())


def test_codes_have_the_severities_that_answers_may_have():
    known = load_schema("report")["$defs"]["problem"]["properties"]["severity"]["enum"]
    assert {code.severity for code in codes().values()} == {*known, "fatal"}


def test_the_schemas_are_those_that_the_code_makes():
    made = subprocess.run(
        [sys.executable, "-P", ROOT / "schema" / "make_schemas.py", "--check"], capture_output=True, text=True
    )
    assert (made.returncode, made.stderr) == (0, "")
