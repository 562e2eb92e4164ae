"""Every dtype that torch has is saved from it and read into it again."""

import pytest
import torch

import ckptfmt
from ckptfmt.format.dtypes import DTYPES, by_torch
from ckptfmt.rl.stored import read_tensors

HELD = [d for d in DTYPES.values() if d.torch and hasattr(torch, d.torch)]


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_torch_has_the_names():
    assert {d.name for d in HELD} == set(by_torch().values())
    for dtype in HELD:
        assert getattr(torch, dtype.torch).itemsize * 8 == dtype.bits
        if dtype.storage:
            assert getattr(torch, f"{dtype.storage}Storage").dtype == getattr(torch, dtype.torch)


@pytest.mark.parametrize("dtype", HELD, ids=lambda d: d.name)
def test_what_is_saved_of_torch_is_what_torch_reads(tmp_path, dtype):
    data = torch.arange(64, 80, dtype=torch.uint8) if dtype.name != "BOOL" else torch.tensor([0, 1], dtype=torch.uint8)
    tensor = data.view(getattr(torch, dtype.torch))
    with ckptfmt.save(tmp_path / "out", {"a": tensor}) as checkpoint:
        assert checkpoint.info("a").dtype == dtype.name
        read = read_tensors(checkpoint)["a"]
    assert read.dtype == tensor.dtype
    assert torch.equal(read.view(torch.uint8), data)
