"""Random generators as plain data, and back."""

import random
import struct
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ckptfmt.rl.alike import check_alike, check_range, item, refuse

__all__ = [
    "GENERATORS",
    "capture_generator",
    "capture_global",
    "pcg64_words",
    "restore_generator",
    "restore_global",
    "restore_pcg64",
    "seed_global",
]

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random, torch.Generator)
# Where a generator stands in the words that it made in advance: NumPy takes any number, and reads there.
_NUMPY_RANGES = {
    # MT19937 makes 624 words at a time, Philox four.
    "pos": (0, 624),
    "buffer_pos": (0, 4),
    "has_uint32": (0, 1),
    "has_gauss": (0, 1),
    "uinteger": (0, 2**32 - 1),
}
# torch's Mersenne Twister: seed, words left, whether seeded, next word; then 624 words of 8 bytes.
_TORCH_HEAD = struct.Struct("<QiiQ")
_TORCH_WORDS = 624
# PCG64's numbers have 128 bits, and NumPy's arrays at most 64.
_MASK = 2**64 - 1


def capture_generator(generator: Any) -> Any:
    """Return the state of one generator of the kinds in `GENERATORS`."""
    match generator:
        case np.random.Generator():
            return dict(generator.bit_generator.state)
        case np.random.RandomState():
            return generator.get_state(legacy=False)
        case torch.Generator():
            return generator.get_state()
    version, words, gauss = generator.getstate()
    return {"version": version, "words": np.array(words, dtype=np.uint32), "gauss": gauss}


def restore_generator(generator: Any, state: Any, where: str = "generator") -> None:
    """Set a generator to a state that `capture_generator` gave; raise `WeightsError` for any other."""
    live = capture_generator(generator)
    # Half of a pair of normal numbers may be kept or not.
    check_alike(state, {**live, "gauss": None} if isinstance(generator, random.Random) else live, where)
    try:
        match generator:
            case np.random.Generator():
                _check_numpy(state, generator.bit_generator.state, where)
                generator.bit_generator.state = state
            case np.random.RandomState():
                _check_numpy(state, generator.get_state(legacy=False), where)
                generator.set_state(state)
            case torch.Generator():
                _check_torch(state, where)
                generator.set_state(state)
            case _:
                generator.setstate((state["version"], tuple(state["words"].tolist()), state["gauss"]))
    except (ValueError, TypeError, OverflowError, RuntimeError) as e:
        refuse(f"is no state of this generator: {e}", where)


def pcg64_words(rng: np.random.Generator) -> NDArray[np.uint64]:
    """Return the state of a PCG64: two numbers in two words each, and the half of a word that was drawn before."""
    state: Any = rng.bit_generator.state
    words = [word for number in state["state"].values() for word in (number & _MASK, number >> 64)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], dtype=np.uint64)


def restore_pcg64(rng: np.random.Generator, words: NDArray[np.uint64], where: str) -> None:
    """Set a PCG64 to six words that `pcg64_words` gave; raise `WeightsError` where they are no state of one."""
    low, high, inc_low, inc_high, has_uint32, uinteger = (int(word) for word in words)
    numbers = {"state": high << 64 | low, "inc": inc_high << 64 | inc_low}
    state = {"bit_generator": "PCG64", "state": numbers, "has_uint32": has_uint32, "uinteger": uinteger}
    restore_generator(rng, state, where)


def capture_global() -> dict[str, Any]:
    """Return the states of the generators that every library shares: Python's, NumPy's, torch's."""
    return {
        "python": capture_generator(random._inst),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count())],
    }


def restore_global(state: Any, where: str = "rng") -> None:
    """Set the shared generators to a state that `capture_global` gave; raise `WeightsError` for any other."""
    restore_generator(random._inst, item(state, "python", where), f"{where}/python")
    restore_generator(np.random.mtrand._rand, item(state, "numpy", where), f"{where}/numpy")
    restore_generator(torch.default_generator, item(state, "torch", where), f"{where}/torch")
    cuda = item(state, "cuda", where)
    if not isinstance(cuda, list):
        refuse("must be a list", f"{where}/cuda")
    for i, words in enumerate(cuda[: torch.cuda.device_count()]):
        check_alike(words, torch.cuda.get_rng_state(i), f"{where}/cuda/{i}")
        torch.cuda.set_rng_state(words, i)


def seed_global(seed: int) -> None:
    """Seed the shared generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _check_numpy(state: Any, live: Any, where: str) -> None:
    """Check the fields of a bit generator, some of which lie a level deeper."""
    if state["bit_generator"] != live["bit_generator"]:
        refuse(f"is of another generator than {live['bit_generator']}", f"{where}/bit_generator")
    for name, value in (*state.items(), *state["state"].items()):
        if name in _NUMPY_RANGES:
            check_range(value, *_NUMPY_RANGES[name], f"{where}/{name}")


def _check_torch(state: torch.Tensor, where: str) -> None:
    """Check that torch would read its words inside of them: it looks at either number alone."""
    if state.device.type != "cpu" or state.numel() < _TORCH_HEAD.size + 8 * _TORCH_WORDS:
        return
    _, left, _, following = _TORCH_HEAD.unpack(state.numpy().tobytes()[: _TORCH_HEAD.size])
    if not 1 <= left <= _TORCH_WORDS or following > _TORCH_WORDS or left + following > _TORCH_WORDS + 1:
        refuse("has a position outside of its state", where)
