"""Cells of Flax, a matrix for each gate: the same numbers as its formulas give."""

import pickle

import numpy as np
import pytest
import torch

import ckptfmt

IN, SIZE = 5, 4


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def made(gates, biased):
    draw = np.random.default_rng(0)
    cell = {}
    for side, inputs in (("i", IN), ("h", SIZE)):
        for gate in gates:
            cell[side + gate] = {"kernel": draw.standard_normal((inputs, SIZE), np.float32)}
            if side + gate in biased:
                cell[side + gate]["bias"] = draw.standard_normal(SIZE, np.float32)
    return cell, {"kernel": draw.standard_normal((SIZE, 3), np.float32), "bias": draw.standard_normal(3, np.float32)}


def part(cell, name, x):
    return x @ cell[name]["kernel"] + cell[name].get("bias", 0)


def lstm(cell, x, state):
    h, c = state
    i, f, g, o = (part(cell, f"i{gate}", x) + part(cell, f"h{gate}", h) for gate in "ifgo")
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(cell, x, state):
    h, _ = state
    r, z = (sigmoid(part(cell, f"i{gate}", x) + part(cell, f"h{gate}", h)) for gate in "rz")
    n = np.tanh(part(cell, "in", x) + r * part(cell, "hn", h))
    return (1 - z) * n + z * h, h


@pytest.mark.parametrize(
    ("gates", "biased", "step"),
    [("ifgo", ("hi", "hf", "hg", "ho"), lstm), ("rzn", ("ir", "iz", "in", "hn"), gru)],
)
@pytest.mark.filterwarnings("ignore::ckptfmt.errors.AssumedWarning")
def test_a_cell_with_a_matrix_for_each_gate_gives_the_same_q_values(gates, biased, step, tmp_path):
    cell, head = made(gates, biased)
    (tmp_path / "q.pkl").write_bytes(pickle.dumps({"params": {"Cell_0": cell, "q_values": head}}))
    found = ckptfmt.convert(tmp_path / "q.pkl", tmp_path / "out")
    assert (found.family, found.architecture) == ("recurrent-q", step.__name__)
    assert {name for name in found.made if "cell" in name} == {
        f"trunk.0.cell.{leaf}_{side}_l0" for leaf in ("weight", "bias") for side in ("ih", "hh")
    }
    model, _, _ = ckptfmt.load_model_checkpoint(tmp_path / "out")
    seen = np.random.default_rng(1).standard_normal((6, 2, IN)).astype(np.float32)
    state, wanted = (np.zeros((2, SIZE)), np.zeros((2, SIZE))), []
    for x in seen:
        state = step(cell, x, state)
        wanted.append(state[0] @ head["kernel"] + head["bias"])
    answers = model.outputs(torch.tensor(seen))["q_values"].detach().numpy()
    assert np.allclose(answers, np.stack(wanted), rtol=1e-4, atol=1e-5)


def test_a_cell_of_which_a_gate_is_missing_is_left_as_it_is(tmp_path):
    cell, head = made("ifgo", ("hi", "hf", "hg", "ho"))
    del cell["ho"]
    (tmp_path / "q.pkl").write_bytes(pickle.dumps({"params": {"Cell_0": cell, "q_values": head}}))
    found = ckptfmt.convert(tmp_path / "q.pkl", tmp_path / "out")
    assert found.architecture is None
    assert not found.made
