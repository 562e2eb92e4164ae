"""Several processes that train together: the first one writes, the others give it what is theirs and wait.

What a rank gives travels as numbers, part by part, when the writer asks for it: no pickle, and no copy of another
rank's replay buffer in the memory of the first.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import distributed

from ckptfmt.errors import WriteError
from ckptfmt.format.record import record
from ckptfmt.format.tensors import ArrayPayload, payloads

__all__ = ["Given", "gather", "once", "rank", "world_size"]

# No size and no number of an array is negative.
_FAILED = -1
# As large as a writer's blocks: more than one is never in the memory of rank 0.
_PART = 4 << 20
_Answer = TypeVar("_Answer")


def rank() -> int:
    """Return the number of this process among those that train together."""
    return distributed.get_rank() if _several() else 0


def world_size() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if _several() else 1


@record
class Given:
    """What all ranks give: `files` are this rank's arrays by file, in rank 0 those of the others as well.

    `notes` are what each rank said beside them.
    """

    files: Mapping[str, Mapping[str, Any]]
    notes: Sequence[Any]
    own: Sequence[ArrayPayload] = ()


@record
class _Remote(ArrayPayload):
    """An array of another rank, of which a part is asked for when it is written."""

    rank: int
    number: int
    nbytes: int

    def chunks(self, size: int = _PART) -> Iterator[memoryview]:
        """Return the bytes in parts of `size`, each asked for by itself."""
        for start in range(0, self.nbytes, size):
            count = min(size, self.nbytes - start)
            _send(torch.tensor([self.number, start, count]), self.rank)
            part = _receive(torch.empty(count, dtype=torch.uint8), self.rank)
            yield part.numpy().data


def gather(give: Callable[[], tuple[Mapping[str, Mapping[str, Any]], Any]], where: str) -> Given:
    """Return what `give` returns in each rank: arrays by file and name, and a note of plain JSON.

    Arrays of rank r are named `rank-r/NAME` in rank 0, for r of 1 and more, and must be written in `once`, which
    the others serve with `own`. Where `give` fails in one rank, it raises there, and `WriteError` in the others.
    """
    files: Mapping[str, Mapping[str, Any]] = {}
    if not _several():
        files, note = give()
        return Given(files, [note])
    failure: Exception | None = None
    told, own = b"", list[ArrayPayload]()
    try:
        files, note = give()
        listed, own = _listed(files) if rank() else ([], [])
        told = json.dumps({"note": note, "arrays": listed}).encode()
    except Exception as e:  # whatever it is, the others must not wait for ever
        failure = e
    answers = _all_told(told)
    if failure is not None:
        raise failure
    if b"" in answers:
        raise _other_failed(answers.index(b""), "give its state", where)
    parsed = [json.loads(answer) for answer in answers]
    merged = {file: dict(arrays) for file, arrays in files.items()}
    for other in range(1, len(parsed)) if not rank() else ():
        for number, (file, name, dtype, shape, nbytes) in enumerate(parsed[other]["arrays"]):
            remote = _Remote(dtype, tuple(shape), memoryview(b""), other, number, nbytes)
            merged.setdefault(file, {})[f"rank-{other}/{name}"] = remote
    return Given(merged, [answer["note"] for answer in parsed], own)


def _listed(files: Mapping[str, Mapping[str, Any]]) -> tuple[list[Any], list[ArrayPayload]]:
    """Return what rank 0 must know of this rank's arrays, and what it will ask for, in the same order."""
    listed, own = [], []
    for file, arrays in files.items():
        stored, tied = payloads(arrays)
        for name in arrays:
            payload = stored[tied.get(name, name)]
            listed.append((file, name, payload.dtype, list(payload.shape), len(payload.data)))
            own.append(payload)
    return listed, own


def once(
    action: Callable[[], _Answer],
    *,
    encode: Callable[[_Answer], bytes],
    decode: Callable[[bytes], _Answer],
    where: str,
    own: Sequence[ArrayPayload] = (),
) -> _Answer:
    """Run `action` in the process of rank 0 and return in all of them, when it is done, what it returned.

    The others give parts of `own` while it runs, are sent what `encode` makes of the answer and return what
    `decode` makes of that. What it raises is raised in rank 0; the others raise `WriteError`. Without
    torch.distributed it is just run.
    """
    if not _several():
        return action()
    failure: Exception | None = None
    told = b""
    if first := rank() == 0:
        try:
            answer = action()
            told = encode(answer)
        except Exception as e:  # whatever it is, the others must not wait for ever
            failure = e
        for other in range(1, world_size()):
            # Also where it failed: the others wait for requests until they are told to stop.
            _send(torch.tensor([_FAILED, 0, 0]), other)
    else:
        _serve(own)
    size = _broadcast(torch.tensor([_FAILED if failure else len(told)]))
    if failure is not None:
        raise failure
    if size.item() == _FAILED:
        raise _other_failed(0, "save", where)
    data = torch.zeros(int(size), dtype=torch.uint8)
    if told:
        data = torch.frombuffer(bytearray(told), dtype=torch.uint8)
    sent = _broadcast(data)
    return answer if first else decode(bytes(sent.numpy()))


def _serve(own: Sequence[ArrayPayload]) -> None:
    """Give rank 0 the parts that it asks for, until it is done."""
    while True:
        number, start, count = _receive(torch.zeros(3, dtype=torch.int64), 0).tolist()
        if number == _FAILED:
            return
        part = bytearray(own[number].data[start : start + count])
        _send(torch.frombuffer(part, dtype=torch.uint8), 0)


def _all_told(message: bytes) -> list[bytes]:
    """Return the messages of all ranks in every one of them."""
    sizes = [_broadcast(torch.tensor([len(message)]), source) for source in range(world_size())]
    answers = []
    for source, size in enumerate(sizes):
        data = torch.zeros(int(size), dtype=torch.uint8)
        if source == rank() and message:
            data = torch.frombuffer(bytearray(message), dtype=torch.uint8)
        answers.append(bytes(_broadcast(data, source).numpy()) if len(data) else b"")
    return answers


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _other_failed(number: int, what: str, where: str) -> WriteError:
    return WriteError(f"rank {number} could not {what}, its error says why", where=where, code="write.other-rank")


def _broadcast(tensor: torch.Tensor, source: int = 0) -> torch.Tensor:
    """Return the tensor of one rank in every process."""
    sent = _placed(tensor)
    distributed.broadcast(sent, src=source)
    return sent.cpu()


def _send(tensor: torch.Tensor, to: int) -> None:
    distributed.send(_placed(tensor), dst=to)


def _receive(tensor: torch.Tensor, source: int) -> torch.Tensor:
    received = _placed(tensor)
    distributed.recv(received, src=source)
    return received.cpu()


def _placed(tensor: torch.Tensor) -> torch.Tensor:
    # NCCL sends what lies on a GPU and nothing else.
    return tensor.cuda() if distributed.get_backend() == "nccl" else tensor
