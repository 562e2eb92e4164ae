"""Every family and every target: what is said to be exported is, and the table of the guide says the same.

python -P tests/rl/test_export_table.py     # writes the table anew
"""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

import ckptfmt
from ckptfmt.errors import ConversionError
from ckptfmt.families import registry
from ckptfmt.share.export import TARGETS, export
from ckptfmt.share.export.export import look_at

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from examples import NETWORKS, save_network
else:
    from .examples import NETWORKS, save_network

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "export.md"
BEGIN, END = "<!-- made by tests/rl/test_export_table.py -->\n", "<!-- to here -->\n"
COLUMNS = ("sb3", "cleanrl", "torch", "onnx", "pt2")
# A graph takes a second or two to make, so that one network of each kind of outputs is made into both.
GRAPHS = (
    "dueling+distributional+noisy", "dueling", "dqn, residual", "dqn, normalised", "dueling, noisy",
    "quantile, by action", "iqn", "fqf", "lstm", "gru", "categorical on frames", "multi-categorical",
    "gaussian, exploring by the state", "gaussian, plain deviation", "categorical+lstm",
    "categorical+lstm, one each", "gaussian+gru", "gaussian+twin-q", "gaussian+twin-q+value",
    "gaussian+twin-quantile-q",
    "deterministic+q, 256 and 256 units, scale saved", "categorical+twin-q", "gaussian", "beta", "state-value",
    "twin-q", "bcq",
)  # fmt: skip
CLEANRL = {
    "dqn": "dqn_atari.py",
    "distributional": "c51_atari.py",
    "dqn, 120 and 84 units": "dqn.py",
    "distributional, 120 and 84 units": "c51.py",
    "categorical, 64 and 64 units": "ppo.py",
    "gaussian, 64 and 64 units": "ppo_continuous_action.py",
    "categorical on frames": "ppo_atari.py",
    "deterministic+q, 256 and 256 units, scale saved": "ddpg_continuous_action.py",
    "deterministic+twin-q, 256 and 256 units, scale saved": "td3_continuous_action.py",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    for number, called in enumerate(NETWORKS):
        save_network(folder / str(number), called)
    return folder


def answers(saved: Path) -> dict[str, dict[str, str]]:
    """Return, for each network and target, what it becomes, or the sentence of its refusal after a `!`."""
    return {called: {to: answer(saved / str(number), to) for to in COLUMNS} for number, called in enumerate(NETWORKS)}


def answer(path: Path, to: str) -> str:
    try:
        return look_at(path, "FILE", to=to).summary
    except ConversionError as e:
        return f"!{e.what}"


def table(found: dict[str, dict[str, str]]) -> str:
    """Return the table as Markdown, with the sentences of refusals numbered below it."""
    sentences = list(dict.fromkeys(said[1:] for row in found.values() for said in row.values() if said[:1] == "!"))
    lines = [f"| family | network | {' | '.join(f'`{to}`' for to in COLUMNS)} |", "|---" * (len(COLUMNS) + 2) + "|"]
    for called, row in found.items():
        cells = [cell(said, to, sentences) for to, said in row.items()]
        lines.append(f"| `{NETWORKS[called][0]}` | {called} | {' | '.join(cells)} |")
    notes = [f"{number}. {sentence}." for number, sentence in enumerate(sentences, 1)]
    return "\n".join([*lines, "", "Refused, before a byte is written, with the sentence:", "", *notes, ""])


def cell(said: str, to: str, sentences: list[str]) -> str:
    if said[:1] == "!":
        return f"no: {sentences.index(said[1:]) + 1}"
    if to == "sb3":
        return f"`{said.partition(',')[0]}`"
    if to == "cleanrl":
        return f"`{said.partition(',')[0].rpartition(' ')[2]}`"
    return said.partition(" -> ")[2].removesuffix(", any batch") if to == "onnx" else "yes"


def test_the_table_of_the_guide_is_what_the_program_says(saved):
    text = GUIDE.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == table(answers(saved)), (
        "write it anew: see this file's docstring"
    )


def test_every_family_stands_in_the_table():
    assert {family for family, _ in NETWORKS.values()} == set(registry.own())
    assert set(COLUMNS) <= set(TARGETS)


@pytest.mark.parametrize("called", NETWORKS)
def test_torch_holds_every_network(saved, tmp_path, called):
    done = export(saved / str([*NETWORKS].index(called)), tmp_path / "net.pth", to="torch", check=True)
    assert done.checked.endswith("tensors equal, bit for bit")


@pytest.mark.parametrize(("called", "script"), CLEANRL.items())
def test_the_classes_of_a_script_load_its_files(saved, tmp_path, called, script):
    done = export(saved / str([*NETWORKS].index(called)), tmp_path / "net.cleanrl_model", to="cleanrl", check=True)
    assert f" of {script}, " in done.summary
    assert " equal" in done.checked


def test_every_script_that_the_table_names_is_tried(saved):
    told = {
        called: cell(row["cleanrl"], "cleanrl", [])
        for called, row in answers(saved).items()
        if row["cleanrl"][0] != "!"
    }
    assert told == {called: f"`{script}`" for called, script in CLEANRL.items()}


@pytest.mark.parametrize("to", ["onnx", "pt2"])
@pytest.mark.parametrize("called", GRAPHS)
def test_a_graph_gives_what_the_network_gives_for_batches_of_any_size(saved, tmp_path, to, called):
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    done = export(saved / str([*NETWORKS].index(called)), tmp_path / "net", to=to, check=True)
    assert " equal" in done.checked


def test_a_recurrent_graph_remembers_as_the_network_does(saved, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = saved / str([*NETWORKS].index("categorical+lstm"))
    export(path, tmp_path / "net.onnx", to="onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()] == ["observations", "trunk.1.h", "trunk.1.c"]
    model, _, _ = ckptfmt.load_model_checkpoint(path)
    seen = torch.randn(6, 3, 5)
    with torch.no_grad():
        whole = model.outputs(seen)["logits"]
    memory = {"trunk.1.h": torch.zeros(1, 3, 6).numpy(), "trunk.1.c": torch.zeros(1, 3, 6).numpy()}
    for step in range(6):
        names = [item.name for item in session.get_outputs()]
        found = dict(zip(names, session.run(None, {"observations": seen[step].numpy(), **memory}), strict=True))
        torch.testing.assert_close(torch.from_numpy(found["logits"]), whole[step])
        memory = {name: found[f"{name}.next"] for name in memory}


def main() -> None:
    """Write the table of the guide anew."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for number, called in enumerate(NETWORKS):
            save_network(Path(folder) / str(number), called)
        made = table(answers(Path(folder)))
    text = GUIDE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    GUIDE.write_text(before + BEGIN + made + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
