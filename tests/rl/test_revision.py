"""The revision of the code around a training, read without running what a repository names."""

import os
import subprocess
import sys

import pytest

from ckptfmt.rl.revision import code_revision

EVIL = """
[core]
    fsmonitor = touch {canary}; false
    hooksPath = {hooks}
    sshCommand = touch {canary}
    pager = touch {canary}
    editor = touch {canary}
    worktree = /
[filter "evil"]
    clean = touch {canary}; cat
    process = touch {canary}
[include]
    path = /dev/zero
[alias]
    status = !touch {canary}
    rev-parse = !touch {canary}
"""
SAVE = """
import sys
import torch
import ckptfmt
ckptfmt.save_model_checkpoint(torch.nn.Linear(2, 2), None, None, sys.argv[1])
"""


def git(folder, *words):
    command = ["git", "-c", "user.name=a", "-c", "user.email=b", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "train.py").write_text(SAVE)
    (folder / ".gitattributes").write_text("*.py filter=evil\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    return folder


def test_the_commit_of_a_branch(repository):
    (repository / "deep/er").mkdir(parents=True)
    assert code_revision(str(repository / "deep/er")) == {"commit": git(repository, "rev-parse", "HEAD")}


def test_the_commit_of_a_packed_branch(repository):
    git(repository, "checkout", "-qb", "feature/a.b")
    git(repository, "pack-refs", "--all")
    assert code_revision(str(repository)) == {"commit": git(repository, "rev-parse", "HEAD")}


def test_the_commit_that_is_checked_out_by_itself(repository):
    git(repository, "checkout", "-q", "--detach")
    assert code_revision(str(repository)) == {"commit": git(repository, "rev-parse", "HEAD")}


@pytest.mark.parametrize("packed", [False, True])
def test_the_commit_of_a_linked_work_tree(repository, tmp_path, packed):
    git(repository, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    (tmp_path / "linked/x").write_text("x")
    git(tmp_path / "linked", "add", "x")
    git(tmp_path / "linked", "commit", "-qm", "two")
    if packed:
        git(repository, "pack-refs", "--all")
    commit = git(tmp_path / "linked", "rev-parse", "HEAD")
    assert commit != git(repository, "rev-parse", "HEAD")
    assert code_revision(str(tmp_path / "linked")) == {"commit": commit}


def test_where_there_is_no_repository_nothing_is_said(tmp_path):
    assert code_revision(str(tmp_path / "not there")) == {}


def test_a_branch_without_a_commit_says_nothing(tmp_path):
    git(tmp_path, "init", "-q")
    assert code_revision(str(tmp_path)) == {}


@pytest.mark.parametrize(
    "head",
    [
        "ref: ../../secret",
        "ref: refs/../../secret",
        "ref: refs/heads/../../../secret",
        "ref: /etc/passwd",
        "ref: refs/heads/a\nb",
        "ref: refs//heads",
        "ref:",
        "",
        "x" * 100_000,
        "ref: " + "refs/" * 2000,
        "\x00",
    ],
)
def test_a_head_that_points_out_of_its_folder_says_nothing(tmp_path, head):
    (tmp_path / "secret").write_text("a" * 40)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text(head)
    assert code_revision(str(tmp_path)) == {}


@pytest.mark.parametrize("name", [".git", ".git/HEAD", ".git/commondir", ".git/packed-refs", ".git/refs/heads/main"])
@pytest.mark.parametrize("kind", ["fifo", "zero", "folder"])
def test_odd_files_do_not_hold_it(tmp_path, name, kind):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name not in (".git", ".git/HEAD"):
        (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    assert code_revision(str(tmp_path)) == {}


def test_a_save_in_a_hostile_repository_runs_nothing_of_it(repository, tmp_path):
    canary, hooks = tmp_path / "canary", tmp_path / "hooks"
    hooks.mkdir()
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    for path in (program, hooks / "post-index-change", hooks / "fsmonitor-watchman"):
        path.write_text(f"#!/bin/sh\ntouch {canary}\n")
        path.chmod(0o755)
    with open(repository / ".git/config", "a") as config:
        config.write(EVIL.format(canary=canary, hooks=hooks))
    (repository / "train.py").write_text(SAVE + "# changed\n")
    environment = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "GIT_DIR": str(repository / ".git"),
        "GIT_SSH_COMMAND": f"touch {canary}",
        "GIT_EXTERNAL_DIFF": f"touch {canary}",
    }
    command = [sys.executable, "-P", "train.py", str(tmp_path / "saved")]
    subprocess.run(command, cwd=repository, env=environment, check=True)
    assert (tmp_path / "saved/manifest.json").exists()
    assert not canary.exists()
