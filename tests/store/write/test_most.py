"""No writer publishes more tensors than readers take: it is said before anything is written, and the old one stays."""

import pickle
import threading

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.store.save import write
from ckptfmt.store.write import TensorFile, write_checkpoint

ONE = np.ones(1, "f4")
MEND = "stack tensors of one shape into one, or save two checkpoints"
SURPLUS = f"lists 101 tensors, more than the 100 allowed; {MEND}"


@pytest.fixture
def few(monkeypatch):
    """The limit, lowered so that what reaches it is made in no time."""
    monkeypatch.setattr("ckptfmt.format.tensorcount.MAX_TENSORS", 100)


def tree(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def by_name(array, number=101):
    return {f"t{i}": array for i in range(number)}


def apart(number):
    rows = np.zeros((number, 1), "f4")
    return {f"t{i}": rows[i] for i in range(number)}


def parts():
    return [apart(60), {f"u{name}": array for name, array in apart(41).items()}]


GIVEN = {
    "tensors": lambda path: ckptfmt.save(path, apart(101), overwrite=True),
    "tied names": lambda path: ckptfmt.save(path, by_name(ONE), overwrite=True),
    "parts": lambda path: ckptfmt.save(path, parts(), overwrite=True),
    "state": lambda path: ckptfmt.save(path, {"a": ONE}, state=by_name(ONE, 100), overwrite=True),
    "replay, compressed": lambda path: ckptfmt.save(
        path, {"a": ONE}, replay=by_name(ONE, 100), overwrite=True, compress=True
    ),
}


@pytest.mark.parametrize("given", GIVEN)
def test_one_tensor_too_many_is_said_and_the_old_checkpoint_stays(few, tmp_path, given):
    target = tmp_path / "a"
    ckptfmt.save(target, {"a": ONE}).close()
    before = tree(target)
    with pytest.raises(CkptError) as caught:
        GIVEN[given](target)
    assert (str(caught.value), caught.value.code) == (f"{target}: {SURPLUS}", "weights.count")
    assert tree(target) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_the_limit_of_a_save_is_that_of_the_format(tmp_path):
    ckptfmt.save(tmp_path / "a", by_name(ONE, 32_768)).close()
    with pytest.raises(CkptError) as caught:
        ckptfmt.save(tmp_path / "b", by_name(ONE, 32_769))
    assert str(caught.value) == f"{tmp_path / 'b'}: lists 32,769 tensors, more than the 32,768 allowed; {MEND}"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_it_is_said_before_a_tensor_is_read(few, tmp_path):
    class Unread:
        dtype, shape = "F32", (1,)

        def chunks(self):
            raise AssertionError("was read")

    with pytest.raises(CkptError, match="lists 101 tensors"):
        write_checkpoint(tmp_path / "a", {"weights.safetensors": TensorFile(by_name(Unread()))}, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_conversion_says_it_too(few, tmp_path):
    source = tmp_path / "net.pkl"
    source.write_bytes(pickle.dumps(by_name(ONE), 2))
    with pytest.raises(CkptError) as caught:
        ckptfmt.convert(source, tmp_path / "out", architecture="none")
    assert caught.value.code == "weights.count"
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.pkl"]


def test_a_manager_keeps_what_it_has(few, tmp_path):
    with ckptfmt.CheckpointManager(tmp_path / "run", keep_last=1) as manager:
        manager.save(1, {"a": ONE})
        with pytest.raises(CkptError) as caught:
            manager.save(2, by_name(ONE))
        assert caught.value.code == "weights.count"
        assert list(manager.steps()) == [1]


class Wire:
    """Two ranks in two threads."""

    size = 2

    def __init__(self, rank, barrier, told):
        self.rank, self.barrier, self.told = rank, barrier, told

    def pieces(self, tensors):
        return tensors

    def exchange(self, message):
        self.told[self.rank] = message
        self.barrier.wait(30)
        answers = list(self.told)
        self.barrier.wait(30)
        return answers


def test_ranks_that_hold_too_many_together_all_say_it(few, tmp_path):
    barrier, told, caught = threading.Barrier(2), [b"", b""], [None, None]

    def rank(number):
        tensors = {f"{number}-{name}": array for name, array in apart(50 + number).items()}
        try:
            write(tmp_path / "a", tensors, peers=Wire(number, barrier, told))
        except CkptError as e:
            caught[number] = e

    threads = [threading.Thread(target=rank, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(e) for e in caught] == [f"{tmp_path / 'a'}: {SURPLUS}"] * 2
    assert list(tmp_path.iterdir()) == []
