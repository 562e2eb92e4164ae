"""Tensors as torch saves them, of every dtype and layout: each is somewhere, once."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptfmt.convert.convert import convert
from ckptfmt.convert.plan import make_plan
from ckptfmt.errors import ConversionError
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find.census import same
from ckptfmt.legacy.find.find import find_networks

STORED = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool,
          torch.complex64, torch.float8_e4m3fn, torch.uint16)  # fmt: skip
BASE = torch.arange(120.0)


def made(kind: str, dtype: torch.dtype, rank: int, start: int) -> torch.Tensor:
    dense = (torch.arange(2.0**rank).reshape((2,) * rank) + start).to(dtype)
    match kind:
        case "transposed":
            return dense.movedim(0, -1) if rank else dense
        case "shared":
            return BASE[start : start + 2**rank].reshape((2,) * rank)
        case "expanded":
            return dense[:1].expand(3, *dense.shape[1:]) if rank else dense
        case "parameter" if dtype.is_floating_point:
            return torch.nn.Parameter(dense, requires_grad=False)
        case "sparse":
            return torch.eye(2).to_sparse()
        case "sparse-csr":
            return torch.eye(3).to_sparse_csr()
        case "quantised":
            return torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)
        case "complex128":
            return torch.ones(2, 2, dtype=torch.complex128)
        case "meta":
            return torch.ones(2, 2, device="meta")
    return dense


UNREAD = ("sparse", "sparse-csr", "quantised", "complex128", "meta")
KINDS = ("dense", "transposed", "shared", "expanded", "parameter", *UNREAD)
LEAVES = st.tuples(st.sampled_from(KINDS), st.sampled_from(STORED), st.integers(0, 4), st.integers(0, 3))
NESTS = st.recursive(
    LEAVES.map(lambda leaf: ("leaf", *leaf)) | st.none(),
    lambda inner: (
        st.dictionaries(st.sampled_from(["a", "b", 1, "1", "a.b"]), inner, max_size=4) | st.lists(inner, max_size=3)
    ),
    max_leaves=10,
)


def built(plan: Any, held: list[tuple[str, torch.Tensor]]) -> Any:
    """Return the nest that a plan describes, its tensors noted with their kinds."""
    if isinstance(plan, dict):
        return {key: built(item, held) for key, item in plan.items()}
    if isinstance(plan, list):
        return [built(item, held) for item in plan]
    if plan is None:
        return None
    held.append((plan[1], made(*plan[1:])))
    return held[-1][1]


def described(tensor: torch.Tensor) -> tuple[object, ...]:
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return tuple(tensor.shape), raw


def place(tensor: torch.Tensor) -> tuple[object, ...]:
    """What is equal for two tensors that are the same elements of the same storage."""
    strides = tuple(s for n, s in zip(tensor.shape, tensor.stride(), strict=True) if n > 1)
    return tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tuple(tensor.shape), strides


@given(NESTS)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@pytest.mark.filterwarnings("ignore")
def test_every_tensor_that_torch_saves_is_somewhere_once(tmp_path_factory: pytest.TempPathFactory, nest: Any) -> None:
    folder, held = tmp_path_factory.mktemp("nest"), []
    torch.save(built(nest, held), folder / "case.pth")
    once = {place(tensor): tensor for kind, tensor in held if kind not in UNREAD}
    try:
        found, unread = accounted(folder / "case.pth", folder / "out")
    except ConversionError as e:
        refused = e.code
    else:
        refused = ""
    if refused:
        assert refused in ("convert.no-tensors", "convert.unread", "convert.key", "convert.ambiguous")
        assert refused != "convert.no-tensors" or not once
        return
    assert found == Counter(map(described, once.values()))
    assert unread == sum(kind in UNREAD for kind, _ in held)


def accounted(path: Path, out: Path) -> tuple[Counter[Any], int]:
    """Return what became of the tensors that are read, and how many others are named as dropped."""
    with make_plan(path) as plan:
        convert(path, out)
        own = {same(tensor): tensor for tensor in plan.tensors.values()}
        left = [network for network in find_networks(plan.legacy.members) if network.path in plan.left]
        others = {same(tensor): tensor for network in left for tensor in network.tensors.values()}
        lost = [tensor for item in plan.lost for tensor in item.tensors]
        read = [*(own | others).values(), *(tensor for tensor in lost if isinstance(tensor, LegacyTensor))]
        return Counter((tensor.shape, tensor.read()) for tensor in read), len(lost) - sum(
            isinstance(tensor, LegacyTensor) for tensor in lost
        )
