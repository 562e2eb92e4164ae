"""A network whose answers hang on an assumption says so when it is loaded, and rebuilds what it is told."""

import tempfile
import warnings
from pathlib import Path

import pytest
import torch

import ckptfmt
from ckptfmt import AssumedWarning

FOREIGN = Path(__file__).resolve().parent.parent.parent / "fixtures" / "foreign"


def test_one_warning_names_all_fields_that_were_assumed(tmp_path):
    ckptfmt.convert(FOREIGN / "dueling" / "dqn_best.pth", tmp_path / "out")
    with pytest.warns(AssumedWarning) as caught:
        ckptfmt.load_model_checkpoint(tmp_path / "out")
    assert [str(warning.message) for warning in caught] == [
        f"{tmp_path / 'out'}: its answers depend on dueling_join, encoder, input_scale, input_shape, which the source "
        "file did not say and the conversion assumed; convert it again and give what is known"
    ]
    assert caught[0].filename == __file__


def test_a_legacy_file_that_is_loaded_warns_as_well(tmp_path):
    with pytest.warns(AssumedWarning, match="its answers depend on architecture, encoder"):
        ckptfmt.load_model_checkpoint(FOREIGN / "dqn" / "dqn_best.pth")


def test_what_is_given_is_not_warned_of(tmp_path):
    said = {"dueling_join": "inverted", "encoder": "nature"}
    shape = ckptfmt.convert(FOREIGN / "dueling" / "dqn_best.pth", tmp_path / "dry", dry_run=True).config["input_shape"]
    ckptfmt.convert(
        FOREIGN / "dueling" / "dqn_best.pth",
        tmp_path / "out",
        strict=True,
        settings=said,
        input_scale=1.0,
        input_shape=tuple(shape),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, config, _ = ckptfmt.load_model_checkpoint(tmp_path / "out")
    assert config.dueling_join == "inverted"
    frames = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    plain = ckptfmt.create_model_from_config(config.replace(dueling_join="mean"))
    plain.load_state_dict(model.state_dict())
    assert not torch.allclose(plain(frames), model(frames))


def test_a_legacy_file_is_loaded_where_nothing_can_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    monkeypatch.chdir(tmp_path)
    source = FOREIGN / "dueling" / "dqn_best.pth"
    with pytest.warns(AssumedWarning) as caught:
        loaded, config, info = ckptfmt.load_model_checkpoint(source)
    assert str(caught[0].message).startswith(f"{source}: its answers depend on dueling_join")
    ckptfmt.convert(source, tmp_path / "out")
    with pytest.warns(AssumedWarning):
        written, same_config, same_info = ckptfmt.load_model_checkpoint(tmp_path / "out")
    assert (config, info) == (same_config, same_info)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in written.state_dict().items())
