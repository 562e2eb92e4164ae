"""Real repositories, real git: its diff, its log, its merges."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.share.gitdriver import describe, install
from ckptfmt.store.write import update_manifest

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
pytestmark = needs_git


@pytest.fixture
def git(tmp_path, monkeypatch):
    """Run git in a new repository, away from whoever runs the tests."""
    repository = tmp_path / "repo"
    repository.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "home").mkdir()

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(["git", *words], cwd=repository, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.folder = repository
    run("init", "-q", "-b", "main")
    run("config", "user.name", "Somebody")
    run("config", "user.email", "somebody@example.org")
    return run


def save(path: Path, scale: float = 1.0) -> None:
    random = np.random.default_rng(0)
    tensors = {"fc.weight": (random.normal(size=(4, 8)) * scale).astype(np.float32), "fc.bias": np.zeros(4, np.float32)}
    ckptfmt.save(path, tensors, training_info={"frames": 10}, overwrite=True).close()


def evaluate(path: Path, seed: int) -> None:
    entry = {"return": {"mean": float(seed)}, "seed": seed}
    update_manifest(path, lambda manifest: replace(manifest, evaluation=(*manifest.evaluation, entry)))


@pytest.fixture
def repository(git):
    save(git.folder / "agent")
    install(git.folder)
    git("add", ".")
    git("commit", "-qm", "An agent")
    return git


def test_git_diff_tells_how_far_each_tensor_moved(repository):
    save(repository.folder / "agent", scale=1.5)
    told = repository("diff", "--", "agent/weights.safetensors")
    assert "diff --ckpt agent/weights.safetensors" in told
    row = next(line for line in told.splitlines() if line.startswith("~ fc.weight"))
    assert row.split()[2:4] == ["0.5000", "1.0000"]
    assert "fc.bias" not in told


def test_git_diff_of_a_manifest_leaves_the_tensors_to_their_own_file(repository):
    evaluate(repository.folder / "agent", seed=3)
    told = repository("diff", "--", "agent/manifest.json")
    changed = [line for line in told.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == ['+evaluation [{"return": {"mean": 3.0}, "seed": 3}]']


def test_git_log_shows_one_line_a_tensor(repository):
    told = repository("log", "-p", "--", "agent/weights.safetensors")
    rows = [line for line in told.splitlines() if line.startswith("+fc.")]
    assert [row.split()[:3] for row in rows] == [["+fc.bias", "F32", "4"], ["+fc.weight", "F32", "4×8"]]
    assert "mean +0 std 0 min 0 max 0" in rows[0]


def branches(repository, one, other) -> None:
    repository("checkout", "-qb", "other")
    other(repository.folder / "agent")
    repository("commit", "-qam", "On the other branch")
    repository("checkout", "-q", "main")
    one(repository.folder / "agent")
    repository("commit", "-qam", "On main")


def test_two_evaluations_of_one_network_are_merged(repository):
    branches(repository, lambda path: evaluate(path, 1), lambda path: evaluate(path, 2))
    repository("merge", "-q", "--no-edit", "other")
    with ckptfmt.open(repository.folder / "agent") as checkpoint:
        assert [entry["seed"] for entry in checkpoint.manifest.evaluation] == [1, 2]
    assert ckptfmt.validate(repository.folder / "agent").valid


def test_two_networks_are_a_conflict_and_stay_as_they_were(repository):
    branches(repository, lambda path: save(path, 2.0), lambda path: save(path, 3.0))
    ours = (repository.folder / "agent" / "manifest.json").read_bytes()
    told = repository("merge", "--no-edit", "other", code=1)
    assert "two different networks; take one folder as a whole: git checkout --ours or --theirs" in told
    assert "CONFLICT (content): Merge conflict in agent/manifest.json" in told
    assert (repository.folder / "agent" / "manifest.json").read_bytes() == ours
    repository("checkout", "--theirs", "--", "agent")
    assert ckptfmt.validate(repository.folder / "agent").valid


def test_one_field_changed_on_both_sides_is_a_conflict_that_names_it(repository):
    def frames(count):
        return lambda path: update_manifest(path, lambda m: replace(m, training_info={"frames": count}))

    branches(repository, frames(11), frames(12))
    told = repository("merge", "--no-edit", "other", code=1)
    assert "$.training_info.frames was changed on both sides" in told


def test_other_fields_of_one_object_are_merged(repository):
    def add(name):
        change = {"frames": 10, name: True}
        return lambda path: update_manifest(path, lambda m: replace(m, training_info=change))

    branches(repository, add("a"), add("b"))
    repository("merge", "-q", "--no-edit", "other")
    with ckptfmt.open(repository.folder / "agent") as checkpoint:
        assert checkpoint.training_info == {"frames": 10, "a": True, "b": True}


def test_a_pointer_of_git_lfs_is_shown_as_what_it_is(git, tmp_path):
    oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
    (tmp_path / "weights.safetensors").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12345\n"
    )
    lines = list(describe(tmp_path / "weights.safetensors"))
    assert lines == [f"git-lfs sha256:{oid}, the content was not fetched; run: git lfs pull"]


def test_installing_twice_adds_nothing_and_other_lines_stay(git):
    (git.folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.md text\n")
    first = install(git.folder)
    text = (git.folder / ".gitattributes").read_text()
    assert text == (
        "*.safetensors filter=lfs -text\n"
        "*.md text\n"
        "manifest.json diff=ckpt merge=ckpt\n"
        "*.safetensors diff=ckpt-weights -merge\n"
    )
    assert (len(first.added), install(git.folder).added) == (2, ())
    assert (git.folder / ".gitattributes").read_text() == text
    shown = git("check-attr", "filter", "diff", "--", "a/weights.safetensors")
    assert shown == "a/weights.safetensors: filter: lfs\na/weights.safetensors: diff: ckpt-weights\n"


def test_for_all_repositories_the_users_own_files_are_written(git, tmp_path):
    done = install(git.folder, everywhere=True)
    assert done.attributes == os.path.join(tmp_path, "home", "config", "git", "attributes")
    assert not (git.folder / ".gitattributes").exists()
    assert git("config", "--global", "merge.ckpt.name") == "checkpoints of one network, their evaluations united\n"


def test_outside_of_a_repository_nothing_is_written(git, tmp_path):
    with pytest.raises(CkptError) as caught:
        install(tmp_path)
    assert caught.value.code == "git.refused"
    assert not (tmp_path / ".gitattributes").exists()


def test_a_file_that_is_no_checkpoint_does_not_end_git_diff(repository):
    (repository.folder / "agent" / "weights.safetensors").write_text("not tensors at all")
    told = repository("diff", "--", "agent/weights.safetensors")
    assert "cannot be compared: " in told


def test_a_driver_that_finds_no_file_does_not_end_git_diff(git):
    command = [sys.executable, "-P", "-m", "ckptfmt", "git", "diff", "p", "gone", "x", "y", "gone-too", "z", "w"]
    done = subprocess.run(command, cwd=git.folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("diff --ckpt p\ncannot be compared: ")


def test_lines_that_git_lfs_put_behind_ours_give_way_to_them(git):
    install(git.folder)
    with open(git.folder / ".gitattributes", "a") as file:
        file.write("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
    assert git("check-attr", "diff", "--", "a/weights.safetensors") == "a/weights.safetensors: diff: lfs\n"
    assert install(git.folder).added == ()
    assert git("check-attr", "diff", "filter", "--", "a/weights.safetensors") == (
        "a/weights.safetensors: diff: ckpt-weights\na/weights.safetensors: filter: lfs\n"
    )


def foreign(git, **lines: str) -> None:
    """Write the manifest of a web application."""
    said = {"name": "app", "a": "1", "b": "2", "c": "3", "start": "/", **lines}
    (git.folder / "manifest.json").write_text(json.dumps(said, indent=1) + "\n")


def test_a_manifest_of_another_program_is_merged_and_shown_as_git_does_it(repository):
    foreign(repository)
    repository("add", ".")
    repository("commit", "-qm", "A web application")
    branches(
        repository,
        lambda path: foreign(repository, name="ours"),
        lambda path: foreign(repository, start="theirs"),
    )
    repository("merge", "-q", "--no-edit", "other")
    said = json.loads((repository.folder / "manifest.json").read_text())
    assert (said["name"], said["start"]) == ("ours", "theirs")
    assert '+ "name": "ours",' in repository("log", "-p", "--", "manifest.json")
    repository("branch", "-qD", "other")
    branches(repository, lambda path: foreign(repository, a="x"), lambda path: foreign(repository, a="y"))
    repository("merge", "--no-edit", "other", code=1)
    text = (repository.folder / "manifest.json").read_text()
    assert '<<<<<<< ours\n "a": "x",\n=======\n "a": "y",\n>>>>>>> theirs\n' in text


def test_a_broken_file_in_a_history_does_not_end_the_log(repository):
    agent = repository.folder / "agent"
    (agent / "weights.safetensors").write_bytes(b"cut")
    (agent / "manifest.json").write_text("<<<<<<< HEAD\n")
    repository("commit", "-qam", "Broken")
    told = repository("log", "-p")
    assert "+cannot be shown: " in told
    assert "+<<<<<<< HEAD" in told
    assert "+fc.weight  F32 4×8" in told


def test_who_only_reads_needs_no_name_to_read_a_history(repository):
    for name in ("user.name", "user.email"):
        repository("config", "--unset", name)
    repository("config", "user.useConfigOnly", "true")
    assert "+fc.weight  F32 4×8" in repository("log", "-p")
    assert repository("notes", "--ref", "textconv/ckpt", "list") == ""


HOSTILE = {
    "a pipe": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a huge file": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_strangers_attributes_are_refused_in_one_sentence(git, what):
    HOSTILE[what](git.folder / ".gitattributes")
    with pytest.raises(CkptError) as caught:
        install(git.folder)
    assert "\n" not in str(caught.value)
    assert "ckpt" not in (git.folder / ".git" / "config").read_text()


def test_attributes_that_are_no_text_stay_as_they_are(git):
    (git.folder / ".gitattributes").write_bytes(b"caf\xe9.txt text\r\n*.md\x0btext\r\n")
    assert len(install(git.folder).added) == 2
    assert (git.folder / ".gitattributes").read_bytes().startswith(b"caf\xe9.txt text\n*.md\x0btext\nmanifest.json")
    assert install(git.folder).added == ()


def test_ones_own_attributes_behind_a_link_are_written_where_they_lie(git, tmp_path):
    (tmp_path / "dotfiles").write_text("*.md text\n")
    place = tmp_path / "home" / "config" / "git" / "attributes"
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "dotfiles")
    install(git.folder, everywhere=True)
    assert (tmp_path / "dotfiles").read_text().startswith("*.md text\nmanifest.json diff=ckpt")
    assert place.is_symlink()


def wide(path: Path, last: int) -> Path:
    """A manifest whose facts all lie below long keys, many levels down."""
    facts: dict = {f"fact-{number}": 0 for number in range(10_005)} | {"last": last}
    for level in range(40):
        facts = {f"{level:02d}" + "k" * 148: facts}
    path.write_text(json.dumps({"format": "ckptfmt", "extra": facts}))
    return path


def test_a_manifest_of_very_many_facts_is_shown_in_bounded_lines_that_hide_no_change(tmp_path):
    one, other = (list(describe(wide(tmp_path / f"{last}-manifest.json", last))) for last in (1, 2))
    assert len(one) == 10_001
    assert max(map(len, one)) < 1_300
    assert one[0] == 'format "ckptfmt"'
    assert one[-1].startswith("and 7 more, sha256 ")
    assert [a for a, b in zip(one, other, strict=True) if a != b] == one[-1:]


def test_what_is_no_regular_file_is_said_at_once(tmp_path):
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_text("{}")
    what = "is not a regular file: it is a device, pipe or folder"
    assert ckpt("git", "textconv", pipe) == (0, f"cannot be shown: {what}\n")
    where = f"{pipe}: {what}; put a copy of the plain file in its place"
    diff = (0, f"diff --ckpt p\ncannot be compared: {where}\n")
    assert ckpt("git", "diff", "p", pipe, "x", "y", file, "z", "w") == diff
    assert ckpt("git", "diff", "p", file, "x", "y", pipe, "z", "w") == diff
    assert ckpt("git", "merge", file, pipe, file, "p") == (2, f"error: {where}\n")
    assert ckpt("git", "merge", file, file, pipe, "p") == (2, f"error: {where}\n")


@pytest.fixture
def lfs(git):
    """A repository that keeps its tensors in Git LFS, with one checkpoint in it."""
    if shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed")
    git("lfs", "install", "--local")
    git("lfs", "track", "*.safetensors")
    save(git.folder / "agent")
    install(git.folder)
    git("add", ".")
    git("commit", "-qm", "An agent")
    assert git("lfs", "ls-files").split()[2] == "agent/weights.safetensors"
    return git


def ckpt(*words: object) -> tuple[int, str]:
    """Run ckpt; return its exit code and all that it said."""
    command = [sys.executable, "-P", "-m", "ckptfmt", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_with_lfs_the_drivers_see_the_content_and_the_object_is_the_manifests_digest(lfs):
    with ckptfmt.open(lfs.folder / "agent") as checkpoint:
        digest = checkpoint.manifest.files["weights.safetensors"].sha256
    assert f"oid sha256:{digest}" in lfs("show", "--no-ext-diff", "--no-textconv", "HEAD:agent/weights.safetensors")
    assert "+fc.weight  F32 4×8" in lfs("log", "-p", "--", "agent/weights.safetensors")
    save(lfs.folder / "agent", scale=1.5)
    told = lfs("diff", "--", "agent/weights.safetensors")
    row = next(line for line in told.splitlines() if line.startswith("~ fc.weight"))
    assert row.split()[2:4] == ["0.5000", "1.0000"]


def test_with_lfs_evaluations_of_one_network_are_merged_and_two_networks_are_not(lfs):
    branches(lfs, lambda path: evaluate(path, 1), lambda path: evaluate(path, 2))
    lfs("merge", "-q", "--no-edit", "other")
    assert ckptfmt.validate(lfs.folder / "agent").valid
    lfs("branch", "-qD", "other")
    branches(lfs, lambda path: save(path, 2.0), lambda path: save(path, 3.0))
    told = lfs("merge", "--no-edit", "other", code=1)
    assert "two different networks; take one folder as a whole" in told
    lfs("checkout", "--theirs", "--", "agent")
    assert ckptfmt.validate(lfs.folder / "agent").valid


def test_a_clone_without_its_objects_says_so_everywhere_until_they_are_pulled(lfs, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
    lfs("clone", "-q", f"file://{lfs.folder}", str(clone))
    agent = clone / "agent"
    fix = "is a Git LFS pointer to these very bytes, which were not fetched; run: git lfs pull"
    code, said = ckpt("validate", agent)
    assert (code, fix.partition(";")[0] in said, "git lfs pull" in said) == (1, True, True)
    assert said.count("Git LFS pointer") == 1
    code, said = ckpt("inspect", agent)
    assert (code, "git lfs pull" in said) == (0, True)
    code, said = ckpt("diff", agent, lfs.folder / "agent")
    assert (code, "git lfs pull" in said) == (2, True)
    install(clone)
    (agent / "weights.safetensors").write_bytes((lfs.folder / "agent" / "weights.safetensors").read_bytes()[:-1] + b"x")
    told = lfs("-C", str(clone), "diff", "--", "agent/weights.safetensors")
    assert "the content was not fetched; run: git lfs pull" in told
    lfs("-C", str(clone), "checkout", "--", "agent")
    code, said = ckpt("inspect", "--source", agent / "weights.safetensors")
    assert (code, "git lfs pull" in said) == (2, True)
    code, said = ckpt("export", agent, tmp_path / "net.pth", "--to", "torch", "--no-check")
    assert (code, "git lfs pull" in said) == (2, True)
    log = ("-C", str(clone), "log", "-p", "--", "agent/weights.safetensors")
    assert "the content was not fetched; run: git lfs pull" in lfs(*log)
    lfs("-C", str(clone), "lfs", "install", "--local")
    monkeypatch.delenv("GIT_LFS_SKIP_SMUDGE")
    lfs("-C", str(clone), "lfs", "pull")
    assert "+fc.weight  F32 4×8" in lfs(*log)
    assert ckpt("validate", agent)[0] == 0
