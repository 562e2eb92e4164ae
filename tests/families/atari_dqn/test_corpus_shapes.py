"""The shapes of real files, where an index of them lies beside the project."""

import json
from pathlib import Path

import pytest

from ckptfmt.families.evidence import Facts
from ckptfmt.families.tell import classify

INDEX = Path(__file__).resolve().parent.parents[3] / "shared" / "corpus" / "INDEX.json"
ENTRIES = [entry for entry in json.loads(INDEX.read_text()) if entry.get("tensors")] if INDEX.is_file() else []
OPEN = ("none", "variant", "keys-lost", "incomplete", "unusual")
FACTS = ("n_action", "n_atoms", "v_min", "v_max")


def shapes(entry):
    path = entry["state_dict_path"].removeprefix("policy.pth").removeprefix(" : ")
    prefix = path if path.endswith(".") or not path else path + "/"
    sizes = {name: tuple(n for n in shape if isinstance(n, int)) for name, shape in entry["tensors"].items()}
    found = {name.removeprefix(prefix): shape for name, shape in sizes.items() if name.startswith(prefix)}
    return found | {name: shape for name, shape in sizes.items() if name == "support"}


@pytest.mark.skipif(not ENTRIES, reason="no index of real files lies beside the project")
@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["file"] for entry in ENTRIES])
def test_shapes_of_a_real_file_are_told(entry):
    expected = entry["expected"]
    atoms = expected["n_atoms"] or 2
    low, high = expected["v_min"] or 0.0, expected["v_max"] or 1.0

    def values(name):
        return [low + i * (high - low) / (atoms - 1) for i in range(atoms)]

    answer = classify(shapes(entry), values=values)
    # Some are told as what they are, which is another family.
    assert answer.family not in (None, "atari-dqn") or answer.architecture in (expected["architecture"], None)
    assert not expected["architecture"] or answer.architecture in (expected["architecture"], None)
    if expected["architecture"] and not entry["tier"].startswith(OPEN):
        known = {name: expected[name] for name in FACTS if expected[name] is not None}
        answer = classify(shapes(entry), values=values, facts=Facts(**known))
        assert answer.refusal == ""
        assert answer.architecture == expected["architecture"]
        config = answer.chosen.config
        assert {name: getattr(config, name) for name in FACTS} == {name: expected[name] for name in FACTS}
        assert (config.hidden_size, list(config.input_shape)) == (expected["hidden"], expected["input_shape"])
