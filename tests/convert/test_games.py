import json
import pickle

import numpy as np
import pytest

from ckptfmt.convert.convert import convert
from ckptfmt.convert.games import actions_of

SHAPES = {
    "conv.0.weight": (32, 4, 8, 8), "conv.0.bias": (32,), "conv.2.weight": (64, 32, 4, 4), "conv.2.bias": (64,),
    "conv.4.weight": (64, 64, 3, 3), "conv.4.bias": (64,), "fc.0.weight": (16, 64), "fc.0.bias": (16,),
    "fc.2.weight": (4, 16), "fc.2.bias": (4,),
}  # fmt: skip


@pytest.mark.parametrize(
    ("game", "counts"),
    [
        ("ALE/Pong-v5", (6, 18)), ("PongNoFrameskip-v4", (6, 18)), ("space_invaders", (6, 18)),
        ("SpaceInvadersDeterministic-v4", (6, 18)), ("Breakout-ramNoFrameskip-v4", (4, 18)), ("CartPole-v1", (2,)),
        ("Seaquest-v5", ()), ("Doom", ()), ("", ()),
    ],
)  # fmt: skip
def test_a_game_is_known_however_it_is_written(game, counts):
    assert actions_of(game) == counts


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"env_id": "PongNoFrameskip-v4"}, "names PongNoFrameskip-v4, which has 6 actions; its network has 4"),
        ({"env_id": "BreakoutNoFrameskip-v4"}, ""),
        ({"env_id": "Doom"}, ""),
    ],
)
def test_a_game_of_another_number_of_actions_is_said(tmp_path, settings, said):
    random = np.random.default_rng(0)
    tensors = {name: random.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}
    (tmp_path / "case.pkl").write_bytes(pickle.dumps({"model": tensors, "args": settings}))
    result = convert(tmp_path / "case.pkl", tmp_path / "out", architecture="dqn")
    assert [problem.message for problem in result.warnings if problem.code == "convert.game"] == [said] * bool(said)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["environment"] == {"id": settings["env_id"]}
