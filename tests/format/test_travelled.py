"""Checkpoints that travelled: links into caches, and what they must not lead to."""

import json
import os
import shutil
from pathlib import Path

import pytest

import ckptfmt
from ckptfmt.errors import WeightsError
from ckptfmt.format.files import MANIFEST, WEIGHTS, open_file, open_folder
from ckptfmt.format.travelled import LfsPointer, pointer
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.repair import repair

SOUND = Path(__file__).parents[2] / "fixtures" / "valid" / "dqn" / "checkpoint"
ONE, TWO = "3a" * 32, "52" * 32


def hub(root: Path) -> Path:
    """A folder as huggingface_hub's `snapshot_download` makes it."""
    snapshot = root / "models--user--dqn" / "snapshots" / ("0" * 40)
    return linked(snapshot, {MANIFEST: f"../../blobs/{ONE}", WEIGHTS: f"../../blobs/{TWO}"})


def dvc(root: Path) -> Path:
    cache = root / "repo/.dvc/cache/files/md5"
    return linked(root / "repo/models/dqn", {MANIFEST: cache / "3a" / ONE[:30], WEIGHTS: cache / "52" / TWO[:30]})


def annex(root: Path) -> Path:
    def key(name: str, digest: str) -> str:
        whole = f"SHA256E-s123--{digest}{name}"
        return f"../../.git/annex/objects/Xx/Yy/{whole}/{whole}"

    return linked(root / "repo/models/dqn", {MANIFEST: key(".json", ONE), WEIGHTS: key(".safetensors", TWO)})


def linked(folder: Path, links: dict[str, object]) -> Path:
    folder.mkdir(parents=True)
    for name, target in links.items():
        real = Path(os.path.normpath(folder / str(target)))
        real.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOUND / name, real)
        (folder / name).symlink_to(str(target))
    return folder


@pytest.mark.parametrize("kind", [hub, dvc, annex])
def test_a_folder_of_links_into_a_cache_is_read_like_any_other(tmp_path, kind):
    folder = kind(tmp_path)
    with Checkpoint(folder) as found, Checkpoint(SOUND) as sound:
        assert found.manifest == sound.manifest
        found.verify()
    assert ckptfmt.validate(folder).problems == ()


def test_another_file_of_the_cache_is_a_companion(tmp_path):
    folder = hub(tmp_path)
    (folder / "../../blobs" / ("11" * 20)).write_text("# A model")
    (folder / "README.md").symlink_to("../../blobs/" + "11" * 20)
    assert ckptfmt.validate(folder).problems == ()


@pytest.mark.parametrize(
    "target",
    [
        "/etc/hostname", "../../../../secret", "../../blobs/none", "../../blobs", "/dev/zero", "../../blobs/pipe",
        "../../../other/blobs/" + TWO, "weights.safetensors",
    ],
)  # fmt: skip
def test_a_link_to_anything_else_is_refused(tmp_path, target):
    folder = hub(tmp_path)
    (tmp_path / "secret").write_bytes((SOUND / WEIGHTS).read_bytes())
    (tmp_path / "other/blobs").mkdir(parents=True)
    (tmp_path / "other/blobs" / TWO).write_bytes((SOUND / WEIGHTS).read_bytes())
    os.mkfifo(folder / "../../blobs/pipe")
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(target)
    descriptor = open_folder(folder)
    try:
        with pytest.raises(WeightsError) as refusal:
            open_file(descriptor, WEIGHTS, where="run")
    finally:
        os.close(descriptor)
    assert str(refusal.value) == (
        f"run/{WEIGHTS}: is not a regular file: it is a link that does not lead into a download cache; "
        "copy the folder so that links become files: cp -rL OLD NEW"
    )
    assert refusal.value.code == "layout.not-regular"


def test_a_pipe_that_is_called_like_a_file_of_a_cache_is_not_opened(tmp_path):
    folder = hub(tmp_path)
    blob = folder / "../../blobs" / TWO
    blob.unlink()
    os.mkfifo(blob)
    assert [problem.code for problem in ckptfmt.validate(folder).problems] == ["layout.not-regular"]


def test_what_was_opened_stays_open_when_the_cache_is_emptied(tmp_path):
    folder = hub(tmp_path)
    with Checkpoint(folder) as found, Checkpoint(SOUND) as sound:
        shutil.rmtree(tmp_path / "models--user--dqn" / "blobs")
        found.verify()
        assert {name: found.read(name) for name in found.names()} == {name: sound.read(name) for name in sound.names()}


def test_a_pointer_is_told_and_whether_it_is_the_right_one(tmp_path):
    shutil.copytree(SOUND, tmp_path / "run")
    listed = json.loads((SOUND / MANIFEST).read_text())["files"][WEIGHTS]
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{listed['sha256']}\nsize {listed['bytes']}\n"
    (tmp_path / "run" / WEIGHTS).write_text(text)
    with Checkpoint(tmp_path / "run") as checkpoint:
        assert [problem.code for problem in checkpoint.warnings] == ["weights.lfs-pointer"]
        with pytest.raises(LfsPointer) as refusal:
            checkpoint.verify()
    assert str(refusal.value) == (
        f"{tmp_path}/run/{WEIGHTS}: is a Git LFS pointer to these very bytes, which were not fetched; run: git lfs pull"
    )
    assert pointer(text.encode(), "0" * 64, where="").what.startswith("is a Git LFS pointer to other bytes than")
    assert pointer(text.replace("\n", "\r\n").encode(), listed["sha256"], where="") is not None
    assert pointer(b"version https://git-lfs.github.com/spec/v1\n", "0" * 64, where="") is None


@pytest.mark.parametrize("change", [lambda text: text.replace(b"\n", b"\r\n"), lambda text: text.rstrip(b"\n")])
def test_repair_gives_back_the_very_manifest_whose_line_ends_were_changed(tmp_path, change):
    shutil.copytree(SOUND, tmp_path / "run")
    written = (SOUND / MANIFEST).read_bytes()
    (tmp_path / "run" / MANIFEST).write_bytes(change(written))
    with pytest.raises(ckptfmt.CkptError) as refusal:
        Checkpoint(tmp_path / "run")
    assert refusal.value.code == "manifest.line-ends"
    done = repair(tmp_path / "run", tmp_path / "mended")
    assert (done.rebuilt, done.restored, done.written) == ("", {}, str(tmp_path / "mended"))
    assert (tmp_path / "mended" / MANIFEST).read_bytes() == written


def test_a_byte_that_was_changed_too_is_no_matter_of_line_ends(tmp_path):
    shutil.copytree(SOUND, tmp_path / "run")
    text = (SOUND / MANIFEST).read_bytes().replace(b"\n", b"\r\n").replace(b"  ", b"   ", 1)
    (tmp_path / "run" / MANIFEST).write_bytes(text)
    assert [problem.code for problem in ckptfmt.validate(tmp_path / "run").problems] == ["manifest.form"]
