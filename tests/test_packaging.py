"""What reaches site-packages: `ckptfmt` alone, with every folder of it and the schemas."""

import importlib.metadata
import importlib.util
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_folder_with_code_is_listed_as_a_package(project):
    folders = {"ckptfmt": "ckptfmt", "cli": "ckptfmt.cli", "schema": "ckptfmt.schema"}
    found = {
        ".".join((package, *path.parent.relative_to(ROOT / folder).parts))
        for folder, package in folders.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == found


def test_no_code_lies_in_a_folder_that_is_no_package():
    strays = [
        path.relative_to(ROOT)
        for folder in ("ckptfmt", "cli", "schema")
        for path in (ROOT / folder).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    ]
    assert strays == []


@pytest.mark.parametrize("name", ["cli", "schema", "tests", "fixtures", "docs"])
def test_nothing_but_ckptfmt_is_importable_by_its_folder_name(name):
    spec = importlib.util.find_spec(name)
    origins = [] if spec is None else [str(spec.origin), *map(str, spec.submodule_search_locations or [])]
    assert not [origin for origin in origins if "site-packages" in origin and "ckptfmt" in origin]


def test_the_installed_files_all_belong_to_ckptfmt():
    tops = {file.parts[0] for file in importlib.metadata.files("ckptfmt") or []}
    allowed = ("ckptfmt", "__editable__", "..", "__pycache__")
    assert [top for top in tops if not top.startswith(allowed)] == []


def test_the_version_is_a_literal_that_the_build_reads(project):
    import ckptfmt

    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "ckptfmt.__version__"}
    assert importlib.metadata.version("ckptfmt") == ckptfmt.__version__


def test_every_pin_lies_inside_the_ranges_of_the_project(project):
    from packaging.requirements import Requirement

    pins = dict(
        line.strip().lower().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    extras = [item for group in project["project"]["optional-dependencies"].values() for item in group]
    wanted = [Requirement(item) for item in (*project["project"]["dependencies"], *extras)]
    unpinned = [r.name for r in wanted if r.name != "ckptfmt" and r.name.lower() not in pins]
    outside = [r.name for r in wanted if r.name.lower() in pins and not r.specifier.contains(pins[r.name.lower()])]
    assert (unpinned, outside) == ([], [])
