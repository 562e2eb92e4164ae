"""Files change their form, and nothing else does."""

import contextlib
import errno
import hashlib
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ckptfmt
from ckptfmt.errors import CkptError, WeightsError, WriteError
from ckptfmt.format.frames import PART
from ckptfmt.look.validate import validate
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.forms import compress, decompress
from ckptfmt.store.manager import CheckpointManager
from ckptfmt.store.repair import repair
from ckptfmt.store.write import Compression, TensorFile, write_checkpoint
from ckptfmt.store.write.compressing import frames

NOISE = np.random.default_rng(0).normal(size=(64, 300)).astype("f4")
WEIGHTS = {"conv.weight": NOISE, "b": np.zeros(3, "f4"), "none": np.zeros((0, 2))}
STATE = {"m": np.repeat(NOISE[0], 50), "step": np.array(3)}
REPLAY = {"frames": np.repeat(np.arange(100, dtype="u1"), 20_000)}


def save(path: Path, **options) -> Path:
    ckptfmt.save(path, WEIGHTS, state=STATE, replay=REPLAY, **options).close()
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


@pytest.fixture
def plain(tmp_path):
    return save(tmp_path / "plain")


def test_a_save_that_compresses_keeps_plain_what_does_not_get_smaller(tmp_path, plain):
    packed = save(tmp_path / "packed", compress=True)
    assert names(packed) == [
        "manifest.json", "replay.safetensors.zst", "state.safetensors.zst", "weights.safetensors"
    ]  # fmt: skip
    with Checkpoint(plain) as a, Checkpoint(packed) as b:
        assert (a.manifest.files, a.manifest.content_digest) == (b.manifest.files, b.manifest.content_digest)
        assert b.stored_bytes("replay.safetensors") * 50 < a.stored_bytes("replay.safetensors")
        assert [b.compressed(file) for file in b.manifest.files] == [False, True, True]
        b.verify()
    assert validate(packed, strict=True).problems == ()


def test_there_and_back_gives_every_byte(plain):
    before = contents(plain)
    done = compress(plain, everything=True)
    assert done.changed == tuple(before.keys() & {"weights.safetensors"}) + done.changed[1:]
    assert names(plain) == sorted([*(f"{name}.zst" for name in before if name != "manifest.json"), "manifest.json"])
    assert (plain / "manifest.json").read_bytes() == before["manifest.json"]
    assert sum(done.after.values()) == sum(len(data) for name, data in contents(plain).items() if name.endswith("zst"))
    assert decompress(plain).changed == done.changed
    assert contents(plain) == before
    assert names(plain.parent) == ["plain"]


def written(path):
    """What tells a file that was written again: reading one, which happens meanwhile, changes none of it."""
    states = {file.name: file.stat() for file in path.iterdir()}
    return {name: (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in states.items()}


def test_what_is_done_already_is_left_alone(plain):
    compress(plain)
    before = written(plain)
    assert compress(plain).changed == ()
    assert written(plain) == before
    decompress(plain)
    assert decompress(plain).changed == ()
    assert compress(plain, dry_run=True).changed == ("state.safetensors", "replay.safetensors")
    assert not any(name.endswith(".zst") for name in names(plain))


def test_files_that_keep_their_form_are_not_written_again(plain):
    inode = (plain / "weights.safetensors").stat().st_ino
    compress(plain)
    assert ((plain / "weights.safetensors").stat().st_ino, (plain / "weights.safetensors").stat().st_nlink) == (
        inode,
        1,
    )


def test_where_a_file_can_have_no_second_name_it_is_copied(plain, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "no links here")

    before = contents(plain)
    monkeypatch.setattr(os, "link", refuse)
    compress(plain)
    assert validate(plain).valid
    decompress(plain)
    assert contents(plain) == before


def test_a_damaged_checkpoint_is_left_as_it_is(plain):
    data = bytearray((plain / "replay.safetensors").read_bytes())
    data[-1] ^= 1
    (plain / "replay.safetensors").write_bytes(data)
    before = contents(plain)
    with pytest.raises(WeightsError, match="frames: bytes do not match the manifest"):
        compress(plain)
    assert contents(plain) == before
    assert names(plain.parent) == ["plain"]


def test_a_reader_that_is_open_goes_on_reading_what_it_opened(plain):
    with Checkpoint(plain) as checkpoint:
        compress(plain, everything=True)
        checkpoint.verify()
        assert checkpoint.tensors["conv.weight"].tobytes() == NOISE.tobytes()


def test_one_tensor_is_read_without_the_rest(tmp_path):
    many = {f"t{i}": np.tile(NOISE[i], 3) for i in range(40)}
    ckptfmt.save(tmp_path / "a", {"w": NOISE}, state=many, compress=True).close()
    stored = tmp_path / "a" / "state.safetensors.zst"
    data = bytearray(stored.read_bytes())
    with Checkpoint(tmp_path / "a") as checkpoint:
        spans = {name: checkpoint.info(name, "state.safetensors").offset for name in many}
    # Everything between the first tensor and the table is gone, and the first is read all the same.
    data[7000 : len(data) - 2000] = bytes(len(data) - 9000)
    stored.write_bytes(data)
    first = min(spans, key=lambda name: spans[name])
    with Checkpoint(tmp_path / "a") as checkpoint:
        assert checkpoint.read(first, "state.safetensors") == many[first].tobytes()
        with pytest.raises(CkptError):
            checkpoint.verify()


def test_large_tensors_are_read_and_checked_in_little_memory(tmp_path):
    big = {"frames": np.zeros(64 << 20, "u1")}
    ckptfmt.save(tmp_path / "a", {"w": NOISE}, replay=big, compress=True).close()
    tracemalloc.start()
    assert validate(tmp_path / "a").valid
    assert tracemalloc.get_traced_memory()[1] < 24 * PART
    tracemalloc.stop()


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=6).filter(any), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_frames_are_the_same_however_the_bytes_come(segments, data):
    plain = os.urandom(sum(segments))
    borders, position = [], 0
    for size in segments:
        cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=3)))
        borders += [position + cut for cut in cuts] + [position + size]
        position += size
    parts = [memoryview(plain)[begin:end] for begin, end in zip([0, *borders], borders, strict=False)]
    assert [bytes(frame) for frame in frames(segments, parts)] == [
        plain[sum(segments[:i]) : sum(segments[: i + 1])] for i, size in enumerate(segments) if size
    ]


@pytest.mark.parametrize("everything", [False, True])
def test_plain_checkpoints_are_written_and_read_without_zstd(plain, tmp_path, everything):
    """Only who compresses or reads what is compressed loads it, and hears in a sentence that it is missing."""
    use = (
        "import sys, numpy, ckptfmt\n"
        "from ckptfmt.errors import CkptError\n"
        "sys.modules['backports'] = sys.modules['compression'] = None\n"
        "a, b, packed = sys.argv[1:]\n"
        "ckptfmt.save(b, {'w': numpy.zeros((2, 3), 'f4')}).close()\n"
        "ckptfmt.open(a).verify()\n"
        "assert ckptfmt.validate(a).valid\n"
        "ckptfmt.diff(a, b), ckptfmt.summarize(a)\n"
        "assert not [name for name in sys.modules if 'zstd' in name]\n"
        "try:\n    ckptfmt.open(packed)\n"
        "except CkptError as e:\n    print(e.code, e)\n"
        "try:\n    ckptfmt.save(b, {'w': numpy.zeros(10**5)}, overwrite=True, compress=True)\n"
        "except CkptError as e:\n    print(e.code, e)\n"
        "ckptfmt.open(b).verify()"
    )
    compress(save(tmp_path / "packed"), everything=everything)
    words = [sys.executable, "-P", "-c", use, str(plain), str(tmp_path / "b"), str(tmp_path / "packed")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    needed, mend = ("zstd", "use a Python that was built with zstd")
    if sys.version_info < (3, 14):
        needed, mend = ("backports.zstd", "run: pip install backports.zstd")
    said = f"install.missing compressed files need {needed}, which is not installed; {mend}"
    assert done.stdout.splitlines() == [said, said]


def test_a_level_that_zstd_lacks_is_refused(plain):
    with pytest.raises(ValueError, match="level is 23, it must be 1 to 19"):
        compress(plain, level=23)


class TestEveryBit:
    """Every flipped bit of a small compressed checkpoint is found, by validate and by whoever loads all of it."""

    @pytest.fixture
    def small(self, tmp_path):
        tensors = {"a": np.arange(12, dtype="f4").reshape(3, 4) / 7, "b": np.zeros(600, "u1")}
        ckptfmt.save(tmp_path / "small", tensors).close()
        compress(tmp_path / "small", everything=True)
        assert names(tmp_path / "small") == ["manifest.json", "weights.safetensors.zst"]
        return tmp_path / "small"

    def flips(self, file: Path):
        data = file.read_bytes()
        descriptor = os.open(file, os.O_RDWR)
        for bit in range(8 * len(data)):
            place = bit // 8
            os.pwrite(descriptor, bytes([data[place] ^ 1 << bit % 8]), place)
            yield bit
            os.pwrite(descriptor, data[place : place + 1], place)
        os.close(descriptor)

    def test_by_validate(self, small):
        missed = [bit for bit in self.flips(small / "weights.safetensors.zst") if validate(small).valid]
        assert missed == []

    def test_by_loading(self, small):
        missed = []
        for bit in self.flips(small / "weights.safetensors.zst"):
            with contextlib.suppress(CkptError), Checkpoint(small) as checkpoint:
                dict(checkpoint.tensors)
                missed.append(bit)
        assert missed == []


class TestRepair:
    def test_the_form_is_kept(self, tmp_path, plain):
        compress(plain, everything=True)
        other = save(tmp_path / "other")
        stored = plain / "state.safetensors.zst"
        data = bytearray(stored.read_bytes())
        data[len(data) // 2] ^= 1
        stored.write_bytes(data)
        done = repair(plain, tmp_path / "whole", siblings=[other])
        assert done.restored
        assert names(tmp_path / "whole") == names(plain)
        assert validate(tmp_path / "whole", strict=True).problems == ()

    def test_a_lost_table_is_made_anew(self, tmp_path, plain):
        before = contents(plain)
        compress(plain)
        for name in ("state.safetensors.zst", "replay.safetensors.zst"):
            os.truncate(plain / name, (plain / name).stat().st_size - 30)
        assert not validate(plain).valid
        assert repair(plain, tmp_path / "whole").restored == {}
        assert decompress(tmp_path / "whole").changed
        assert contents(tmp_path / "whole") == before

    def test_of_two_forms_one_is_left(self, tmp_path, plain):
        before = contents(plain)
        packed = save(tmp_path / "packed", compress=True)
        (plain / "replay.safetensors.zst").write_bytes((packed / "replay.safetensors.zst").read_bytes())
        with pytest.raises(WeightsError, match=r"replay\.safetensors: lies there twice, plain and compressed"):
            Checkpoint(plain)
        repair(plain, in_place=True)
        assert contents(plain) == before

    def test_a_lost_manifest_is_made_anew(self, tmp_path, plain):
        compress(plain, everything=True)
        (plain / "manifest.json").unlink()
        assert len(repair(plain, tmp_path / "whole").unproved) == 6
        assert validate(tmp_path / "whole").valid
        assert names(tmp_path / "whole") == ["manifest.json", *names(plain)]


class TestManager:
    def test_steps_are_saved_found_and_removed_compressed(self, tmp_path):
        with CheckpointManager(tmp_path, keep_last=2, compress=True, background=True) as manager:
            for step in (1, 2, 3):
                tensors = {**WEIGHTS, "b": np.full(3, step, "f4")}
                manager.save(step, tensors, metrics={"reward": -step}, state=STATE, replay=REPLAY)
            manager.wait()
            assert manager.steps() == [3, 2]
            with manager.best() as best, manager.latest() as latest:
                assert (best.path, latest.path) == (manager.path(2), manager.path(3))
                assert latest.compressed("replay.safetensors")
        assert names(tmp_path) == ["step-000000000002", "step-000000000003"]

    def test_a_damaged_step_is_passed_over(self, tmp_path):
        manager = CheckpointManager(tmp_path, compress=True)
        for step in (1, 2):
            manager.save(step, {**WEIGHTS, "b": np.full(3, step, "f4")}, replay=REPLAY)
        stored = Path(manager.path(2)) / "replay.safetensors.zst"
        data = bytearray(stored.read_bytes())
        data[-90] ^= 1
        stored.write_bytes(data)
        with manager.latest() as latest:
            assert latest.path == manager.path(1)
        assert [problem.code for problem in manager.problems] == ["weights.digest"]


def test_a_disk_that_lies_is_found_when_frames_are_read_back(tmp_path, monkeypatch):
    written = os.write

    def lie(file, data):
        if bytes(data[:4]) == bytes.fromhex("28b52ffd"):
            return written(file, bytes(len(data)))
        return written(file, data)

    monkeypatch.setattr(os, "write", lie)
    with pytest.raises(WriteError, match="what was read back is not what was written"):
        save(tmp_path / "out", compress=True)
    assert names(tmp_path) == []


def test_a_tensor_that_gives_too_few_bytes_is_refused_in_either_form(tmp_path):
    class Short:
        dtype, shape = "F32", (1000,)

        def chunks(self):
            yield bytes(3000)

    file = TensorFile({"x": Short()}, compression=Compression())
    with pytest.raises(WeightsError, match="x gave 3,000 bytes, its shape needs 4,000"):
        write_checkpoint(tmp_path / "out", {"weights.safetensors": file}, lambda entries: None)
    assert names(tmp_path) == []


def test_the_digest_of_the_plain_file_is_that_of_the_manifest(plain):
    with Checkpoint(plain) as checkpoint:
        expected = {name: entry.sha256 for name, entry in checkpoint.manifest.files.items()}
    assert {name: hashlib.sha256((plain / name).read_bytes()).hexdigest() for name in expected} == expected
