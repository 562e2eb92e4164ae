"""A checkpoint is written into a bucket whole or not at all, and nothing that was committed is ever replaced."""

import dataclasses
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

import ckptfmt
from ckptfmt.convert.batch import convert_many
from ckptfmt.errors import CkptError, Locked, NotACheckpoint, TargetExists, WeightsError, WriteError
from ckptfmt.format.far import tombstone
from ckptfmt.remote.address import parse
from ckptfmt.remote.bucket import BucketFolder
from ckptfmt.remote.failure import StoreError
from ckptfmt.remote.store import open_store
from ckptfmt.share.pull import pull
from ckptfmt.share.push import push, push_all
from ckptfmt.store.remote import publish as publishing
from ckptfmt.store.remote.write import publish_near
from ckptfmt.store.write import remove_checkpoint, update_manifest
from tests.remote.conftest import ckpt, make_checkpoint
from tests.remote.proxy import LOSE, PASS

TENSORS = {"a": numpy.arange(1000, dtype="f4"), "b": numpy.ones((3, 5), "f8")}


@pytest.fixture(params=["s3", "azure"])
def url(request):
    """The URL of a folder of the test's own, in each kind of store."""
    root = request.getfixturevalue("bucket" if request.param == "s3" else "azure")
    return f"{root}/{os.urandom(6).hex()}"


def names(url):
    place = parse(url)
    return sorted(key.removeprefix(f"{place.key}/") for key, _ in open_store(place).list(place.key))


def test_a_save_into_a_store_opens_and_validates(url):
    with ckptfmt.save(f"{url}/a", TENSORS, training_info={"step": 3}) as checkpoint:
        assert numpy.array_equal(checkpoint.tensors["a"], TENSORS["a"])
    assert ckptfmt.validate(f"{url}/a").problems == ()
    assert names(url) == ["a/manifest.json", "a/weights.safetensors"]


def test_a_checkpoint_in_a_store_is_never_replaced(url):
    ckptfmt.save(url, TENSORS).close()
    before = ckptfmt.open(url).manifest
    for overwrite in (False, True):
        with pytest.raises(TargetExists) as caught:
            ckptfmt.save(url, {"a": numpy.zeros(5)}, overwrite=overwrite)
        assert str(caught.value) == (
            f"{url}: holds a checkpoint, and one in a store is never replaced; choose another URL"
        )
    assert ckptfmt.open(url).manifest == before


def test_what_an_upload_left_is_in_the_way_until_it_is_taken_over(url, checkpoint):
    place = parse(url)
    open_store(place).put(f"{place.key}/weights.safetensors", b"half", "a dead writer")
    open_store(place).put(f"{place.key}/replay.safetensors", b"half", "a dead writer")
    with pytest.raises(TargetExists, match="holds files of an upload that did not finish, or is still running"):
        push(checkpoint, url)
    push(checkpoint, url, overwrite=True)
    assert ckptfmt.validate(url).problems == ()
    assert names(url) == ["manifest.json", "weights.safetensors"]


def test_a_take_over_that_died_is_taken_over(url, checkpoint):
    place = parse(url)
    open_store(place).put(f"{place.key}/manifest.json", tombstone("0123456789abcdef"), "dead too")
    with pytest.raises(CkptError) as caught:
        ckptfmt.open(url)
    assert caught.value.code == "remote.unfinished"
    push(checkpoint, url, overwrite=True)
    assert ckptfmt.validate(url).problems == ()


def test_a_writer_that_sleeps_while_it_is_taken_over_loses(url, tmp_path, monkeypatch):
    sleeper, other = make_checkpoint(tmp_path / "sleeper", 1), make_checkpoint(tmp_path / "other", 2)
    commit = publishing._Upload.commit

    def late(self, manifest):
        if not self.take_over:
            push(other, url, overwrite=True)
        commit(self, manifest)

    monkeypatch.setattr(publishing._Upload, "commit", late)
    with pytest.raises(Locked) as caught:
        push(sleeper, url)
    assert caught.value.code == "write.lost"
    assert ckptfmt.validate(url).valid
    assert ckptfmt.open(url).training_info == {"step": 2}


def test_of_two_that_take_over_one_wins_and_its_checkpoint_is_whole(url, tmp_path, monkeypatch):
    place = parse(url)
    open_store(place).put(f"{place.key}/weights.safetensors", b"half", "a dead writer")
    first, second = make_checkpoint(tmp_path / "first", 1), make_checkpoint(tmp_path / "second", 2)
    look, inside = publishing._Upload._still_ours, []

    def interrupted(self):
        if not inside:
            inside.append(True)
            push(second, url, overwrite=True)
        look(self)

    monkeypatch.setattr(publishing._Upload, "_still_ours", interrupted)
    with pytest.raises(CkptError):
        push(first, url, overwrite=True)
    assert ckptfmt.validate(url).problems == ()
    assert ckptfmt.open(url).training_info == {"step": 2}


def other_form(path):
    """A checkpoint none of whose files has a name of `make_checkpoint`'s: they are compressed."""
    ckptfmt.save(
        path,
        {"a": numpy.zeros(100_000, "f4")},
        training_info={"step": 9},
        compress=True,
        state={"m": numpy.zeros(99_999)},
    ).close()
    return path


def test_of_two_writers_whose_files_have_other_names_one_wins_and_nothing_lies_beside_its_files(
    url, tmp_path, monkeypatch
):
    first, second = make_checkpoint(tmp_path / "first", 1), other_form(tmp_path / "second")
    send, inside = publishing._Upload.send, []

    def interrupted(self, name, file):
        if not inside:
            inside.append(True)
            with pytest.raises(CkptError):
                push(second, url)
        return send(self, name, file)

    monkeypatch.setattr(publishing._Upload, "send", interrupted)
    push(first, url)
    assert ckptfmt.validate(url).problems == ()
    assert names(url) == ["manifest.json", "weights.safetensors"]


@pytest.mark.parametrize("late", [False, True])
def test_what_comes_late_from_an_upload_that_lost_does_not_stand_in_for_files_of_the_checkpoint(url, tmp_path, late):
    """A put of a dead writer arrives after the commit of whoever took over; it has a name that was free."""
    plain, packed = make_checkpoint(tmp_path / "plain", 1), other_form(tmp_path / "packed")
    mine, stray = (packed, plain) if late else (plain, packed)
    push(mine, url)
    place = parse(url)
    for file in stray.glob("*.safetensors*"):
        if not (mine / file.name).exists():
            open_store(place).put(f"{place.key}/{file.name}", file.read_bytes(), "0123456789abcdef")
    report = ckptfmt.validate(url)
    assert report.valid
    assert {problem.message for problem in report.problems} <= {"was left by an upload that lost, and is passed over"}
    with ckptfmt.open(url) as far, ckptfmt.open(mine) as near:
        far.verify()
        assert far.manifest == near.manifest
    pull(url, tmp_path / "back")
    assert ckptfmt.validate(tmp_path / "back").problems == ()
    update_manifest(url, lambda manifest: dataclasses.replace(manifest, extra={"note": 1}))
    assert ckptfmt.validate(url).valid


def test_a_manifest_that_was_copied_and_changed_keeps_its_files(url, checkpoint):
    place, store = parse(url), open_store(parse(url))
    push(checkpoint, url)
    manifest = f"{place.key}/manifest.json"
    store.put(manifest, (checkpoint / "manifest.json").read_bytes(), "", over=store.look(manifest))
    update_manifest(url, lambda manifest: dataclasses.replace(manifest, extra={"note": 1}))
    assert ckptfmt.validate(url).problems == ()


def test_files_of_somebody_else_are_not_removed_by_a_take_over(url, checkpoint):
    place, store = parse(url), open_store(parse(url))
    store.put(f"{place.key}/thesis.tex", b"years of work", "")
    with pytest.raises(TargetExists) as caught:
        push(checkpoint, url, overwrite=True)
    assert str(caught.value) == (
        f"{url}: holds 'thesis.tex', which is no part of a checkpoint, and would be lost; move it away"
    )
    assert names(url) == ["thesis.tex"]


def test_what_fails_after_the_commit_says_that_it_was_committed(url, checkpoint, monkeypatch):
    listed, calls = BucketFolder.list, []

    def fails(self):
        calls.append(True)
        if len(calls) == 3:
            raise StoreError("the store failed (500)", where=self.where)
        return listed(self)

    monkeypatch.setattr(BucketFolder, "list", fails)
    with pytest.raises(StoreError) as caught:
        push(checkpoint, url)
    assert str(caught.value) == (
        f"{url}: was committed, but could not be read back: the store failed (500); look with: ckpt validate URL"
    )
    monkeypatch.undo()
    assert ckptfmt.validate(url).problems == ()


def test_who_takes_over_cannot_commit_over_the_tombstone_of_whoever_took_over_from_it(url, tmp_path, monkeypatch):
    place = parse(url)
    open_store(place).put(f"{place.key}/weights.safetensors", b"half", "a dead writer")
    first, second = make_checkpoint(tmp_path / "first", 1), make_checkpoint(tmp_path / "second", 2)
    commit, begun = publishing._Upload.commit, []

    def late(self, manifest):
        begun.append((self, manifest))
        if len(begun) == 1:
            push(second, url, overwrite=True)
        else:
            # The second has replaced the first's files, and has not committed.
            with pytest.raises(Locked):
                commit(*begun[0])
        commit(self, manifest)

    monkeypatch.setattr(publishing._Upload, "commit", late)
    with pytest.raises(Locked):
        push(first, url, overwrite=True)
    assert ckptfmt.validate(url).problems == ()
    assert ckptfmt.open(url).training_info == {"step": 2}


def test_no_put_of_an_upload_that_was_taken_over_replaces_a_file_of_a_checkpoint(bucket, tmp_path, monkeypatch):
    """S3 tells versions by their bytes: what the third sends is the version that the second was about to replace."""
    url = f"{bucket}/run"
    first, second = make_checkpoint(tmp_path / "first", 1), make_checkpoint(tmp_path / "second", 2)
    place, store = parse(url), open_store(parse(url))
    weights = (first / "weights.safetensors").read_bytes()
    store.put(f"{place.key}/weights.safetensors", weights, "0123456789abcdef")
    put, late, said = publishing._Upload._put, [], []

    def delayed(self, name, body, word, over):
        if name == "weights.safetensors" and over is not None and not late:
            late.append((self, name, body, word, over))
            try:
                push(first, url, overwrite=True)
            except CkptError as e:
                said.append(e)
        return put(self, name, body, word, over)

    monkeypatch.setattr(publishing._Upload, "_put", delayed)
    with pytest.raises(Locked):
        push(second, url, overwrite=True)
    # Whether the third was told of success or not: what is there is what it was told.
    assert [e.code for e in said] == ["write.lost"]
    with pytest.raises(NotACheckpoint):
        ckptfmt.open(url)


def push_half(checkpoint, url, monkeypatch):
    """Push all files of a checkpoint, and end before the commit."""

    def end(self, manifest):
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(publishing._Upload, "commit", end)
        with pytest.raises(OSError, match="killed"):
            push(checkpoint, url, overwrite=True)


def test_an_upload_is_taken_over_again_and_again_with_the_same_bytes(url, checkpoint, monkeypatch):
    """As trainings do that are killed at the same step, and are exact."""
    place, store = parse(url), open_store(parse(url))
    for _ in range(4):
        push_half(checkpoint, url, monkeypatch)
    assert store.read_all(f"{place.key}/manifest.json", 1000)[0].endswith(b',"over":""}\n') or url.startswith("az")
    push(checkpoint, url, overwrite=True)
    assert ckptfmt.validate(url).problems == ()


def test_an_upload_is_taken_over_again_and_again_with_other_bytes(url, tmp_path, monkeypatch):
    """As trainings do that are killed at the same step, and are not."""
    for seed in range(8):
        checkpoint = make_checkpoint(tmp_path / str(seed), seed, kilobytes=1)
        push_half(checkpoint, url, monkeypatch)
        with pytest.raises(NotACheckpoint):
            ckptfmt.open(url)
    push(make_checkpoint(tmp_path / "last", 99), url, overwrite=True)
    assert ckptfmt.validate(url).problems == ()


def test_a_large_file_is_sent_in_parts_and_verifies(url, tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "_WHOLE", 1 << 20)
    folder = tmp_path / "large"
    ckptfmt.save(folder, {"a": numpy.random.default_rng(0).standard_normal((3, 1 << 20))}).close()
    sent = []
    push(folder, url, progress=sent.append)
    assert ckptfmt.validate(url).problems == ()
    assert names(url) == ["manifest.json", "weights.safetensors"]
    assert sum(sent) == (folder / "weights.safetensors").stat().st_size
    assert len(sent) > 2


def test_a_large_file_takes_the_place_of_what_a_dead_writer_left(url, tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "_WHOLE", 1 << 20)
    place = parse(url)
    open_store(place).put(f"{place.key}/weights.safetensors", b"half", "a dead writer")
    folder = tmp_path / "large"
    ckptfmt.save(folder, {"a": numpy.random.default_rng(0).standard_normal((1, 1 << 20))}).close()
    push(folder, url, overwrite=True)
    assert ckptfmt.validate(url).problems == ()
    assert names(url) == ["manifest.json", "weights.safetensors"]


def test_a_large_file_whose_naming_is_done_and_not_answered_is_no_defeat(proxied, proxy, tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "_WHOLE", 1 << 20)
    ckptfmt.save(tmp_path / "large", {"a": numpy.random.default_rng(0).standard_normal((1, 1 << 20))}).close()
    ends = []

    def rule(method, path):
        if method == "POST" and "uploadId" in path:
            ends.append(path)
        # The first ends the upload, the second the copy that gives it its name.
        return LOSE if len(ends) == 2 and path == ends[-1] else PASS

    proxy.rule = rule
    push(tmp_path / "large", f"{proxied}/run")
    assert len(ends) > 2
    assert ckptfmt.validate(f"{proxied}/run").problems == ()


def test_a_file_that_changes_while_it_is_sent_is_not_committed(url, checkpoint, monkeypatch):
    parts = publishing.file_parts

    def disturbed(descriptor, size):
        yield from parts(descriptor, size)
        with (checkpoint / "weights.safetensors").open("ab") as file:
            file.write(b"x")

    monkeypatch.setattr("ckptfmt.store.remote.write.file_parts", disturbed)
    with pytest.raises(WriteError, match="was changed while it was sent"):
        publish_near(str(checkpoint), url)
    with pytest.raises(NotACheckpoint, match="an upload to this URL was not finished, or is going on"):
        ckptfmt.open(url)


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (None, "is missing; delete what lies there and push it again"),
        (100, "has 100 bytes, the manifest says {:,}; delete what lies there and push it again"),
    ],
)
def test_what_is_there_already_is_looked_at_before_it_is_said(bucket, checkpoint, cut, said):
    url = f"{bucket}/{os.urandom(6).hex()}"
    (checkpoint / "README.md").write_text("an agent")
    pushed = push(checkpoint, url)
    (checkpoint / "README.md").write_text("an agent, said anew")
    again = push(checkpoint, url)
    assert (again.status, set(again.files)) == ("unchanged", {"weights.safetensors", "manifest.json"})
    place = parse(url)
    store, key = open_store(place), f"{place.key}/weights.safetensors"
    store.remove([key])
    if cut:
        store.put(key, bytes(cut), "x")
    with pytest.raises(WeightsError) as caught:
        push(checkpoint, url)
    assert str(caught.value) == f"{url}/weights.safetensors: {said.format(pushed.files['weights.safetensors'])}"


def test_what_is_sent_is_what_was_verified_whatever_lies_at_its_path_by_then(bucket, checkpoint, monkeypatch):
    url = f"{bucket}/{os.urandom(6).hex()}"
    verify = ckptfmt.store.checkpoint.Checkpoint.verify

    def replaced(self):
        verify(self)
        make_checkpoint(checkpoint, 7, overwrite=True)

    monkeypatch.setattr(ckptfmt.store.checkpoint.Checkpoint, "verify", replaced)
    with pytest.raises(WriteError) as caught:
        push(checkpoint, url)
    assert str(caught.value) == f"{checkpoint}: was changed while it was sent; run it again"
    monkeypatch.undo()
    assert names(url) == []


def test_a_damaged_checkpoint_is_not_pushed(url, checkpoint):
    data = bytearray((checkpoint / "weights.safetensors").read_bytes())
    data[-5] ^= 1
    (checkpoint / "weights.safetensors").write_bytes(data)
    with pytest.raises(CkptError, match="bytes do not match the manifest"):
        push(checkpoint, url)
    assert names(url) == []


def test_what_was_pushed_is_pulled_as_it_was(url, tmp_path):
    folder = tmp_path / "with all"
    ckptfmt.save(
        folder,
        TENSORS,
        state={"m": numpy.zeros(100_000, "f4")},
        replay={"f": numpy.zeros((99, 84, 84), "u1")},
        compress=True,
    ).close()
    pushed = push(folder, url)
    assert pushed.status == "pushed"
    assert push(folder, url).status == "unchanged"
    pulled = pull(url, tmp_path / "back")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "back").iterdir()
    }
    assert pulled.manifest_digest == pushed.manifest_digest


def test_a_signature_comes_along_whole_or_the_checkpoint_does_not(bucket, checkpoint, tmp_path):
    most = 4 << 20
    for name, size in (("c", most), ("d", most + 1)):
        store = open_store(parse(f"{bucket}/{name}"))
        for file in ("weights.safetensors", "manifest.json"):
            store.put(f"{name}/{file}", (checkpoint / file).read_bytes(), "x")
        store.put(f"{name}/model.sig", b"x" * size, "x")
    pull(f"{bucket}/c", tmp_path / "c")
    assert (tmp_path / "c" / "model.sig").stat().st_size == most
    with pytest.raises(CkptError) as caught:
        pull(f"{bucket}/d", tmp_path / "d")
    assert str(caught.value) == f"{bucket}/d/model.sig: is 4,194,305 bytes, too large for a signature"
    assert not (tmp_path / "d").exists()


def test_a_damaged_checkpoint_is_not_pulled(bucket, checkpoint, tmp_path):
    place = parse(f"{bucket}/c")
    data = bytearray((checkpoint / "weights.safetensors").read_bytes())
    data[-5] ^= 1
    open_store(place).put("c/weights.safetensors", bytes(data), "x")
    open_store(place).put("c/manifest.json", (checkpoint / "manifest.json").read_bytes(), "x")
    done = ckpt("pull", f"{bucket}/c", str(tmp_path / "back"))
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {bucket}/c/weights.safetensors: bytes do not match the manifest; "
        "pull it again, or push it again from where it is whole\n"
    )
    assert not (tmp_path / "back").exists()


def test_what_no_reader_would_open_is_not_pulled(bucket, checkpoint, tmp_path):
    """The SHA-256 of a file is right, and what the manifest says of a tensor in it is not."""
    with ckptfmt.open(checkpoint) as opened:
        manifest = opened.manifest
    entry = manifest.files["weights.safetensors"]
    name, tensor = next(iter(entry.tensors.items()))
    forged = dataclasses.replace(tensor, digest="blake3:" + "0" * 64)
    files = {"weights.safetensors": dataclasses.replace(entry, tensors={**entry.tensors, name: forged})}
    place = parse(f"{bucket}/c")
    open_store(place).put("c/weights.safetensors", (checkpoint / "weights.safetensors").read_bytes(), "x")
    open_store(place).put("c/manifest.json", dataclasses.replace(manifest, files=files).sealed_bytes(), "x")
    with pytest.raises(CkptError, match=r"weights\.safetensors: bytes do not match the manifest"):
        pull(f"{bucket}/c", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_run_is_pushed_with_all_its_checkpoints(bucket, tmp_path):
    for step in (1, 2):
        make_checkpoint(tmp_path / "run" / f"step-{step:012d}", step)
    done = ckpt("push", str(tmp_path / "run"), f"{bucket}/run", "--all", "--json")
    assert [one["status"] for one in json.loads(done.stdout)["result"]["checkpoints"]] == ["pushed", "pushed"]
    again = list(push_all(tmp_path / "run", f"{bucket}/run"))
    assert [one.status for one in again] == ["unchanged", "unchanged"]
    assert ckptfmt.CheckpointManager(f"{bucket}/run").steps() == [2, 1]


def test_a_manager_keeps_its_checkpoints_in_a_store(url):
    said = []
    with ckptfmt.CheckpointManager(url, keep_last=2, keep_best=1, keep_every=4, report=said.append) as manager:
        for step, reward in enumerate([0, 9, 1, 2, 3, 4, 5]):
            manager.save(step, {"a": numpy.full(500, step, "f4")}, metrics={"reward": reward})
    assert manager.steps() == [6, 5, 4, 1, 0]
    assert manager.latest().tensors["a"][0] == 6
    assert manager.best().tensors["a"][0] == 1
    assert said == []


def test_a_manager_finds_the_newest_that_is_whole_and_takes_over_what_a_dead_run_left(url):
    manager = ckptfmt.CheckpointManager(url, keep_last=5)
    manager.save(1, TENSORS)
    place = parse(url)
    store = open_store(place)
    store.put(f"{place.key}/step-{2:012d}/weights.safetensors", b"half", "dead")
    store.put(f"{place.key}/step-{3:012d}/manifest.json", tombstone("0123456789abcdef"), "dead")
    assert manager.steps() == [1]
    assert manager.restore().path.endswith("step-000000000001")
    for step in (2, 3):
        manager.save(step, {"a": numpy.full(9, step, "f4")})
    assert manager.steps() == [3, 2, 1]
    assert manager.latest().tensors["a"][0] == 3


def test_an_unfinished_upload_is_neither_counted_as_kept_nor_said(url):
    said = []
    manager = ckptfmt.CheckpointManager(url, keep_last=2, report=said.append)
    for step in (1, 2):
        manager.save(step, {"a": numpy.full(9, step, "f4")}, metrics={"reward": step})
    place = parse(url)
    open_store(place).put(f"{place.key}/step-{3:012d}/manifest.json", tombstone("0123456789abcdef"), "dead")
    open_store(place).put(f"{place.key}/step-{5:012d}/weights.safetensors", b"half", "dead")
    again = ckptfmt.CheckpointManager(url, keep_last=2, report=said.append)
    assert again.best().tensors["a"][0] == 2
    again.save(4, {"a": numpy.full(9, 4, "f4")}, metrics={"reward": 0})
    assert again.steps() == [4, 2]
    assert again.latest().tensors["a"][0] == 4
    # What was not there when it was looked for is seen as soon as it is.
    again.save(5, {"a": numpy.full(9, 5, "f4")}, metrics={"reward": 5})
    assert again.best().tensors["a"][0] == 5
    assert again.steps() == [5, 4]
    assert said == []


def test_a_damaged_newest_is_passed_over_and_said(url):
    said = []
    manager = ckptfmt.CheckpointManager(url, report=said.append)
    for step in (1, 2):
        manager.save(step, {"a": numpy.full(500, step, "f4")})
    place = parse(url)
    key = f"{place.key}/step-{2:012d}/weights.safetensors"
    store = open_store(place)
    data = bytearray(store.read_all(key, 1 << 20)[0])
    data[-1] ^= 1
    store.put(key, bytes(data), "vandal", over=store.look(key))
    assert manager.latest().tensors["a"][0] == 1
    assert [problem.code for problem in said] == ["weights.digest"]


def test_among_many_a_manager_reads_the_manifests_of_the_newest_and_of_those_that_go_alone(proxied, proxy, tmp_path):
    url = f"{proxied}/run"
    place, store = parse(url), open_store(parse(url))
    with ckptfmt.CheckpointManager(tmp_path / "near") as near:
        for step in (7, *range(0, 150, 5)):
            folder = near.save(step, TENSORS, metrics={"reward": step})
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), "rb") as file:
                    store.put(f"{place.key}/{os.path.basename(folder)}/{name}", file.read(), "0123456789abcdef")
    manager = ckptfmt.CheckpointManager(url, keep_last=2, keep_every=5)
    proxy.seen.clear()
    manager.save(150, {"a": numpy.zeros(9)})
    asked = [path for method, path in proxy.seen if method == "GET" and path.endswith("manifest.json")]
    assert {int(path.split("/")[-2].removeprefix("step-")) for path in asked} == {150, 145, 7}
    assert manager.steps() == list(range(150, -1, -5))


def test_saves_in_the_background_go_to_a_store(bucket):
    with ckptfmt.CheckpointManager(f"{bucket}/run", background=True, keep_last=1) as manager:
        for step in range(3):
            manager.save(step, TENSORS)
    assert manager.steps() == [2]


def test_a_manifest_is_changed_only_as_it_was_read(url):
    ckptfmt.save(url, TENSORS).close()

    def note(manifest):
        from dataclasses import replace

        return replace(manifest, extra={"note": len(manifest.extra)})

    def meanwhile(manifest):
        update_manifest(url, note)
        return note(manifest)

    with pytest.raises(Locked, match="was changed by another writer meanwhile"):
        update_manifest(url, meanwhile)
    assert ckptfmt.open(url).manifest.extra == {"note": 0}
    assert ckptfmt.validate(url).problems == ()


def test_a_checkpoint_is_removed_only_while_it_is_the_one_meant(url):
    ckptfmt.save(url, TENSORS).close()
    with pytest.raises(WriteError, match="was changed since it was saved"):
        remove_checkpoint(url, digest="sha256:" + "0" * 64)
    assert ckptfmt.validate(url).valid
    remove_checkpoint(url)
    assert names(url) == []


def test_a_conversion_goes_into_a_bucket(bucket):
    source = "fixtures/foreign/dueling-v2/dqn_best.pth"
    done = ckpt("convert", source, f"{bucket}/converted", "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["result"]["written"]) == {"manifest.json", "weights.safetensors"}
    assert ckptfmt.validate(f"{bucket}/converted").valid


def test_a_bad_tensor_is_told_with_the_url(bucket):
    with pytest.raises(CkptError) as caught:
        ckptfmt.save(f"{bucket}/x", {"a": numpy.zeros(3)}, extra={"bad": object()})
    assert "/tmp" not in str(caught.value)
    assert caught.value.where.startswith(f"{bucket}/x")


@pytest.mark.parametrize("url", ["https://host/run", "http://host/run", "hf://owner/name", "s3://bucket"])
def test_where_no_checkpoint_can_be_saved_is_told(url):
    with pytest.raises(CkptError) as caught:
        ckptfmt.save(url, TENSORS)
    assert caught.value.code in ("remote.read-only", "remote.url")


def test_many_threads_write_one_name_and_one_wins(url, tmp_path):
    folders = [make_checkpoint(tmp_path / str(i), i) for i in range(6)]
    won, lost = [], []

    def write(i):
        try:
            publish_near(str(folders[i]), url)
            won.append(i)
        except CkptError as e:
            lost.append(e.code)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(won) == 1
    assert set(lost) <= {"write.lost", "write.exists"}
    assert ckptfmt.validate(url).valid
    assert ckptfmt.open(url).training_info == {"step": won[0]}


def test_many_files_of_a_bucket_are_converted_into_a_bucket(bucket):
    url = f"{bucket}/{os.urandom(6).hex()}"
    source = Path(__file__).parents[2] / "fixtures" / "foreign" / "bare-state-dict" / "dqn.pth"
    place = parse(f"{url}/old/dqn.pth")
    open_store(place).put(place.key, source.read_bytes(), "a-test")
    sources = {"far": f"{url}/old/dqn.pth", "near": str(source), "none": f"{url}/none"}
    items = [(source, f"{url}/new/{name}") for name, source in sources.items()]
    for status in ("converted", "unchanged"):
        with ThreadPoolExecutor(2) as executor:
            found = list(convert_many(items, executor=executor))
        assert [outcome.status for outcome in found] == [status, status, "failed"]
    assert found[2].error["what"] == "there is no such object"
    with ckptfmt.open(f"{url}/new/far") as far, ckptfmt.open(f"{url}/new/near") as near:
        assert far.manifest.content_digest == near.manifest.content_digest
        assert far.manifest.conversion.source.name == "dqn.pth"
