"""What a checkpoint is, told without reading a tensor."""

import subprocess
import sys
from pathlib import Path

import pytest

from ckptfmt.errors import NotACheckpoint
from ckptfmt.look.stats import checkpoint_stats
from ckptfmt.look.summary import summarize_checkpoint
from ckptfmt.store.checkpoint import Checkpoint

VALID = Path(__file__).resolve().parent.parent.parent / "fixtures" / "valid"


def test_a_network_is_told_with_what_rebuilds_it():
    summary = summarize_checkpoint(VALID / "rainbow" / "checkpoint")
    assert summary.algorithm == "dueling+distributional+noisy"
    assert summary.network == {
        "encoder": {
            "name": "conv",
            "convs": [{"channels": 2, "kernel": [3, 3], "stride": [1, 1], "padding": [0, 0]}],
            "activation": "relu",
        },
        "input_shape": [1, 6, 6],
        "n_action": 2,
        "hidden_size": 4,
        "input_scale": 1.0,
        "n_atoms": 3,
        "v_min": -1.0,
        "v_max": 1.0,
        "noisy_std_init": 0.5,
        "origin": {},
    }


def test_tensors_come_in_the_order_of_the_layers():
    names = [tensor.name for tensor in summarize_checkpoint(VALID / "dqn" / "checkpoint").tensors]
    assert names == ["conv.0.weight", "conv.0.bias", "fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias"]


def test_totals_are_those_of_the_network_alone():
    summary = summarize_checkpoint(VALID / "everything" / "checkpoint")
    assert summary.totals == {"tensors": 6, "parameters": 162, "bytes": 648, "dtypes": {"F32": 6}}
    assert {tensor.file for tensor in summary.tensors} == set(summary.files)


def test_a_tied_tensor_is_shown_and_counts_once():
    summary = summarize_checkpoint(VALID / "tied" / "checkpoint")
    assert [(t.name, t.tied_to) for t in summary.tensors] == [
        ("head.weight", None),
        ("ä/ü", None),
        ("body.weight", "head.weight"),
    ]
    assert summary.totals["parameters"] == 16


def test_everything_that_a_manifest_says_is_told():
    summary = summarize_checkpoint(VALID / "everything" / "checkpoint")
    assert summary.environment == {"id": "ALE/Pong-v5", "frame_skip": 4}
    assert summary.training == {
        "frame_idx": 10,
        "best_eval_reward": float("-inf"),
        "seed": 2**63,
        "tags": ["a", None, 1.5],
    }
    assert summary.to_dict()["training"]["best_eval_reward"] == "-inf"
    assert summary.evaluation == ({"episodes": 2, "return_mean": -20.5},)
    assert summary.lineage["kind"] == "resumed"
    assert summary.network["origin"] == {"n_action": "given"}


def test_what_is_unknown_is_none():
    summary = summarize_checkpoint(VALID / "unknown-network" / "checkpoint")
    assert (summary.algorithm, summary.network, summary.environment, summary.conversion) == (None, None, None, None)


def test_figures_are_filled_in_when_asked_for():
    with Checkpoint(VALID / "dqn" / "checkpoint") as checkpoint:
        summary = summarize_checkpoint(checkpoint)
        assert "stats" not in summary.tensors[0].to_dict()
        full = summary.with_stats(checkpoint_stats(checkpoint))
    assert full.tensors[0].to_dict()["stats"]["zeros"] == 0


def test_no_tensor_is_read_and_no_number_needed(tmp_path):
    """Weights without their data are told of all the same, in a process without NumPy or what reads legacy files."""
    script = (
        "import sys; from ckptfmt.look.summarize import summarize as told;"
        "print(len(told(sys.argv[1]).tensors));"
        "assert not {'numpy', 'jsonschema', 'torch', 'ckptfmt.legacy.open'} & set(sys.modules)"
    )
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "manifest.json").write_bytes((VALID / "dqn" / "checkpoint" / "manifest.json").read_bytes())
    run = subprocess.run([sys.executable, "-P", "-c", script, folder], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("6\n", "")


def test_no_checkpoint_is_no_summary(tmp_path):
    with pytest.raises(NotACheckpoint) as caught:
        summarize_checkpoint(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: not a checkpoint, manifest.json is missing; make one with: ckptfmt.convert(SOURCE, OUT)"
    )
