import dataclasses
import json

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import CkptError, ManifestError, WeightsError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.atari_dqn.expected import expected_tensors
from ckptfmt.format.manifest import Lineage, Resume
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import update_manifest

CONFIG = ModelConfig(input_shape=(1, 36, 36), n_action=3, hidden_size=2)


def nested(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def tree(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


class Endless:
    """Says of itself that it is a document, and is none."""

    def to_dict(self):
        return self


# What is given, and the sentence behind the path of the manifest.
REFUSED = {
    "too deep": ({"training_info": nested(70)}, f" $.training_info{'.a' * 64}: nests deeper than 64 levels"),
    "a little too deep": ({"training_info": nested(64)}, " $.training_info: nests deeper than 64 levels"),
    "too deep to recurse": ({"extra": nested(5000)}, f" $.extra{'.a' * 64}: nests deeper than 64 levels"),
    "a list": ({"training_info": ["x"]}, " $.training_info: must be an object"),
    "an empty list": ({"training_info": []}, " $.training_info: must be an object"),
    "empty text": ({"training_info": ""}, " $.training_info: must be an object"),
    "a number": ({"extra": 0}, " $.extra: must be an object"),
    "text": ({"environment": "ALE/Pong-v5"}, " $.environment: must be an object"),
    "a list in extra": ({"extra": [1]}, " $.extra: must be an object"),
    "numbers for evaluations": ({"evaluation": [31.4]}, " $.evaluation[0]: must be an object"),
    "a number for evaluations": ({"evaluation": 31.4}, " $.evaluation: must be a list"),
    "an unknown kind": (
        {"lineage": Lineage(kind="finetuned")},
        " $.lineage.kind: must be one of trained, resumed, fine-tuned, converted, copied, rebuilt, not 'finetuned'",
    ),
    "a parent that is none": (
        {"lineage": Lineage(kind="resumed", parent="abc")},
        " $.lineage.parent: must be sha256: and 64 hex digits, not 'abc'",
    ),
    "a lineage that is none": ({"lineage": "trained"}, " $.lineage: must be an object"),
    "a number to resume": ({"resume": Resume(has=(1,), lacks=())}, " $.resume.has[0]: must be text"),
    "half a pair in a key": ({"extra": {"\ud800": 1}}, " $.extra: holds half of a surrogate pair"),
    "half a pair in text": ({"extra": {"a": ["\udcff"]}}, " $.extra.a[0]: holds half of a surrogate pair"),
    "a reserved key": ({"extra": {"a": {"$float": 1}}}, " $.extra.a: the key $float is reserved"),
    "a key twice": ({"extra": {1: 2, "1": 3}}, " $.extra: two keys are both written '1'"),
    "a document under a number": ({"extra": {1: CONFIG, "1": CONFIG}}, " $.extra: two keys are both written '1'"),
    "what gives itself": ({"extra": {"a": Endless()}}, " $.extra.a: a Endless cannot be written as JSON"),
    "a complex number": ({"extra": {"z": np.complex64(1j)}}, " $.extra.z: a complex64 cannot be written as JSON"),
    "bytes of numpy": ({"extra": {"z": np.void(b"abc")}}, " $.extra.z: a void cannot be written as JSON"),
    "an integer too long": ({"extra": {"n": 10**2000}}, " $.extra.n: an integer of more than 1,000 digits"),
}


@pytest.mark.parametrize("given", REFUSED)
def test_what_no_reader_accepts_is_named_and_the_old_checkpoint_stays(tmp_path, given):
    options, sentence = REFUSED[given]
    ckptfmt.save(tmp_path / "out", {"a": np.zeros(3, "f4")}).close()
    before = tree(tmp_path / "out")
    with pytest.raises(ManifestError) as caught:
        ckptfmt.save(tmp_path / "out", {"a": np.ones(3, "f4")}, overwrite=True, **options)
    assert f"{caught.value.where}: {caught.value.what}" == f"{tmp_path}/out/manifest.json{sentence}"
    assert tree(tmp_path / "out") == before
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_a_text_beyond_the_limit_of_a_manifest_is_named(tmp_path):
    ckptfmt.save(tmp_path / "out", {"a": np.zeros(3, "f4")}).close()
    before = tree(tmp_path / "out")
    with pytest.raises(ManifestError) as caught:
        ckptfmt.save(tmp_path / "out", {"a": np.ones(3, "f4")}, None, {"log": "x" * (17 << 20)}, overwrite=True)
    assert caught.value.where == f"{tmp_path}/out/manifest.json $.training_info"
    assert tree(tmp_path / "out") == before


def test_of_two_halves_that_are_too_much_together_the_longer_is_named(tmp_path):
    halves = {"training_info": {"log": "x" * (9 << 20)}, "extra": {"log": "x" * (10 << 20)}}
    with pytest.raises(ManifestError) as caught:
        ckptfmt.save(tmp_path / "out", {"a": np.ones(3, "f4")}, **halves)
    assert caught.value.where == f"{tmp_path}/out/manifest.json $.extra"
    assert list(tmp_path.iterdir()) == []


def test_a_change_of_the_manifest_that_no_reader_accepts_leaves_the_old_one(tmp_path):
    ckptfmt.save(tmp_path / "out", {"a": np.zeros(3, "f4")}).close()
    before = tree(tmp_path / "out")
    with pytest.raises(ManifestError) as caught:
        update_manifest(tmp_path / "out", lambda m: dataclasses.replace(m, evaluation=({"scores": nested(63)},)))
    assert str(caught.value) == f"{tmp_path}/out/manifest.json $.evaluation: nests deeper than 64 levels"
    assert tree(tmp_path / "out") == before
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["\ud800", "a\udfffb"])
def test_a_tensor_whose_name_has_no_form_in_utf8_is_named(tmp_path, name):
    with pytest.raises(WeightsError, match="half of a surrogate pair is in the name"):
        ckptfmt.save(tmp_path / "out", {name: np.zeros(3, "f4")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["i8", "?", "c8", "u1"])
def test_whole_numbers_are_no_network(tmp_path, dtype):
    arrays = {name: np.zeros(shape, dtype) for name, shape in expected_tensors(CONFIG).items()}
    with pytest.raises(WeightsError, match="a layer of this network holds real floating-point numbers"):
        ckptfmt.save(tmp_path / "out", arrays, CONFIG)
    ckptfmt.save(tmp_path / "out", arrays).close()
    with pytest.raises(WeightsError) as caught:
        update_manifest(tmp_path / "out", lambda m: dataclasses.replace(m, architecture=DQN, config=CONFIG))
    assert caught.value.code == "weights.network"
    assert ckptfmt.validate(tmp_path / "out").valid


DQN = ckptfmt.format.manifest.Architecture(family="atari-dqn", name="dqn")


def test_whole_numbers_under_the_name_of_a_network_are_found(tmp_path):
    arrays = {name: np.zeros(shape, "i4") for name, shape in expected_tensors(CONFIG).items()}
    ckptfmt.save(tmp_path / "out", arrays).close()
    with Checkpoint(tmp_path / "out") as checkpoint:
        claimed = dataclasses.replace(checkpoint.manifest, architecture=DQN, config=CONFIG).sealed()
    (tmp_path / "out" / "manifest.json").write_bytes(ckptfmt.format.manifest.render_manifest(claimed))
    report = ckptfmt.validate(tmp_path / "out")
    assert {problem.code for problem in report.errors} == {"weights.network"}
    assert report.errors[0].message == "conv.0.bias is I32, a layer of this network holds real floating-point numbers"


@pytest.mark.parametrize("epoch", ["tomorrow", "1e30", "nan"])
def test_an_instant_that_is_none_is_one_error(tmp_path, monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(CkptError) as caught:
        ckptfmt.save(tmp_path / "out", {"a": np.zeros(3, "f4")})
    assert caught.value.where == "SOURCE_DATE_EPOCH"
    assert list(tmp_path.iterdir()) == []


def test_documents_and_numpy_numbers_are_plain_values_in_the_manifest(tmp_path):
    info = {"config": CONFIG, "score": np.float64(3.5), "name": np.str_("pong"), 7: (np.int32(1), np.bool_(True))}
    with ckptfmt.save(tmp_path / "out", {"a": np.zeros(3, "f4")}, None, info) as checkpoint:
        assert checkpoint.training_info["score"] == 3.5
        assert checkpoint.training_info["7"] == [1, True]
    raw = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert raw["training_info"]["config"]["n_action"] == 3
    assert raw["training_info"]["name"] == "pong"
