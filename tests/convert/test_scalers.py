"""Running statistics that an agent keeps beside its networks: taken where their place says what they are of."""

import pickle
import sys
import types
from itertools import pairwise

import numpy as np
import pytest

from ckptfmt.convert.convert import convert
from ckptfmt.store.checkpoint import Checkpoint


def rows(prefix, *sizes):
    random, found = np.random.default_rng(0), {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        found[f"{prefix}{2 * i}.weight"] = random.normal(size=(outputs, inputs)).astype("f4")
        found[f"{prefix}{2 * i}.bias"] = random.normal(size=outputs).astype("f4")
    return found


def statistics(size, *names):
    random = np.random.default_rng(1)
    return {name: random.random(size) + 0.1 for name in names}


AGENT = {"model": rows("actor.", 5, 8, 2) | {"std": np.ones(2, "f4")} | rows("critic.", 5, 8, 1)}
SKRL = {"policy": rows("net.", 5, 8, 2) | {"log_std_parameter": np.zeros(2, "f4")}, "value": rows("net.", 5, 8, 1)}
MEAN_VAR = ("mean", "var")
RUNNING = ("running_mean", "running_variance")


def converted(saved, tmp_path, **given):
    (tmp_path / "agent.pkl").write_bytes(pickle.dumps(saved))
    convert(tmp_path / "agent.pkl", tmp_path / "out", **given)
    with Checkpoint(tmp_path / "out") as checkpoint:
        tensors = {name: np.frombuffer(checkpoint.read(name), "f8") for name in checkpoint.names() if "normal" in name}
        return checkpoint.manifest, tensors


@pytest.mark.parametrize(
    ("saved", "kind", "epsilon", "ends"),
    [
        (SKRL | {"state_preprocessor": statistics(5, *RUNNING) | {"current_count": np.ones(())}},
         "variance", 1e-8, [-5.0, 5.0]),
        (AGENT | {"obs_norm_state_dict": statistics((1, 5), "_mean", "_std") | {"_var": np.ones((1, 5))}},
         "deviation", 1e-2, None),
        (AGENT | {"obs_rms": statistics(5, *MEAN_VAR)}, "variance", 1e-8, [-10.0, 10.0]),
        ([AGENT["model"], {"obs_normalizer": statistics(5, *MEAN_VAR)}], "variance", 1e-8, [-10.0, 10.0]),
    ],
)  # fmt: skip
def test_statistics_of_what_is_seen_are_held_under_canonical_names(saved, kind, epsilon, ends, tmp_path):
    manifest, tensors = converted(saved, tmp_path)
    config, origin = manifest.config, manifest.config_origin
    assert (config["normalizer"], config["normalizer_place"]) == (kind, "before")
    assert (origin["normalizer"], origin["normalizer_epsilon"]) == ("inferred", "assumed")
    assert (config["normalizer_epsilon"], config["normalizer_range"]) == (epsilon, ends)
    [place] = [item for item in (saved.values() if isinstance(saved, dict) else saved[1].values())
               if any(name.endswith("mean") for name in item)]  # fmt: skip
    mean, spread = [*place.values()][:2]
    assert np.array_equal(tensors["normalizer.mean"], mean.reshape(-1))
    assert np.array_equal(tensors["normalizer.spread"], spread.reshape(-1))
    assert not any("beside the network" in line for line in manifest.conversion.dropped)
    assert manifest.conversion.left == ()


def test_an_instance_says_by_its_class_what_it_is(tmp_path, monkeypatch):
    module = types.ModuleType("some_lab.running")
    module.RunningMeanStd = type("RunningMeanStd", (), {"__module__": "some_lab.running"})
    monkeypatch.setitem(sys.modules, "some_lab", types.ModuleType("some_lab"))
    monkeypatch.setitem(sys.modules, "some_lab.running", module)
    item = module.RunningMeanStd()
    vars(item).update(statistics(5, *MEAN_VAR), count=3.0)
    manifest, tensors = converted([AGENT["model"], item], tmp_path)
    assert (manifest.config["normalizer"], sorted(tensors)) == ("variance", ["normalizer.mean", "normalizer.spread"])


@pytest.mark.parametrize(
    "beside",
    [
        {"obs_rms": statistics(4, *MEAN_VAR)},
        {"anything": statistics(5, *MEAN_VAR)},
        {"reward_normalizer": statistics(5, *MEAN_VAR)},
        {"amp_normalizer": statistics(5, *MEAN_VAR)},
        {"obs_rms": statistics(5, *MEAN_VAR), "eval_obs_rms": statistics(5, *MEAN_VAR)},
        {"obs_rms": statistics(5, *MEAN_VAR) | {"scale": np.ones(5)}},
    ],
)
def test_what_may_be_statistics_of_something_else_is_left_beside_and_named(beside, tmp_path):
    manifest, tensors = converted(AGENT | beside, tmp_path)
    assert (manifest.config["normalizer"], tensors) == ("none", {})
    assert any("beside the network" in line for line in manifest.conversion.dropped)


def test_statistics_of_returns_are_none_of_the_value(tmp_path):
    beside = {"obs_rms": statistics(5, *MEAN_VAR), "ret_rms": statistics(1, *MEAN_VAR)}
    manifest, tensors = converted(AGENT | beside, tmp_path)
    assert (manifest.config["normalizer"], manifest.config["value_normalizer"]) == ("variance", "none")
    assert sorted(tensors) == ["normalizer.mean", "normalizer.spread"]
    assert "ret_rms (beside the network, 2 tensors)" in manifest.conversion.dropped


def test_who_says_that_nothing_is_normalised_is_believed(tmp_path):
    saved = AGENT | {"obs_rms": statistics(5, *MEAN_VAR)}
    manifest, tensors = converted(saved, tmp_path, settings={"normalizer": "none"})
    assert (manifest.config["normalizer"], tensors) == ("none", {})
