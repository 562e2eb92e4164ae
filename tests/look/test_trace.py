import json
import os
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptfmt.errors import CkptError
from ckptfmt.format.frames import Encoder
from ckptfmt.format.safetensors import build_header
from ckptfmt.look.trace import BadTrace, open_trace, trace_bytes
from tests import traces


def test_a_trace_gives_back_what_was_recorded_step_by_step(tmp_path):
    held = traces.arrays()
    with open_trace(traces.write(tmp_path / "a.trace")) as trace:
        assert (trace.steps, trace.outputs) == (12, ("atom_logits", "q_values", "value"))
        assert trace.told == traces.told()
        for name, array in held.items():
            assert np.array_equal(trace.rows(name, 0, len(array)), array)
            assert np.array_equal(list(trace.each(name, 1, len(array))), array[1:])
        assert np.array_equal(trace.rows("frames", 5, 7), held["frames"][5:7])
        assert trace.rows("frames", 11, 99).shape == (1, 24, 20, 3)


def test_zstd_gives_a_safetensors_file_that_other_readers_open(tmp_path):
    load = pytest.importorskip("safetensors.numpy").load_file
    path = traces.write(tmp_path / "a.trace")
    subprocess.run(["zstd", "-q", "-d", path, "-o", tmp_path / "a.safetensors"], check=True)
    held = load(tmp_path / "a.safetensors")
    assert {name: array.tolist() for name, array in held.items()} == {
        name: array.tolist() for name, array in traces.arrays().items()
    }


WRONG = {
    "rewards": (np.zeros((12, 2), np.float32), "'rewards' has another shape or dtype than in a trace, 12×2"),
    "episodes": (np.zeros(11, np.int64), "'episodes' has another shape or dtype than in a trace, 11"),
    "actions": (np.zeros(12, np.float32), "'actions' has another shape or dtype than in a trace, 12"),
    "frames": (np.zeros((12, 24, 20, 4), np.uint8), "'frames' has another shape or dtype than in a trace, 12×24×20×4"),
    "observations": (
        np.zeros((13, 2, 4, 4), np.uint8),
        "'observations' has another shape or dtype than in a trace, 13×2×4×4",
    ),
    "saliency": (np.zeros((12, 8, 8), np.uint8), "'saliency' has another shape or dtype than in a trace, 12×8×8"),
    "outputs.q_values": (
        np.zeros((12, 1 << 17), np.float32),
        "'outputs.q_values' has another shape or dtype than in a trace, 12×131072",
    ),
    "actions of a crowd": (
        np.zeros((12, 8192), np.float32),
        "'actions' has another shape or dtype than in a trace, 12×8192",
    ),
    "actions of nobody": (
        np.zeros((12, 0), np.float32),
        "'actions' has another shape or dtype than in a trace, 12×0",
    ),
    "outputs.nothing": (
        np.zeros((12, 0), np.float32),
        "'outputs.nothing' has another shape or dtype than in a trace, 12×0",
    ),
    "strange": (np.zeros(12, np.float32), "'strange' has another shape or dtype than in a trace, 12"),
}


@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_contradict_one_another_are_refused(tmp_path, name):
    array, sentence = WRONG[name]
    path = traces.write(tmp_path / "a.trace", {**traces.arrays(), name.split(" ")[0]: array})
    with pytest.raises(BadTrace) as raised, open_trace(path):
        pass
    assert (raised.value.what, raised.value.where, raised.value.fix) == (sentence, str(path), "record it again")


def test_a_trace_is_opened_and_shown_without_more_memory_than_a_few_blocks(tmp_path):
    pytest.importorskip("jinja2", reason="jinja2 is not installed")
    from ckptfmt.report.agent import agent_part

    held = {
        "actions": np.zeros((2048, 4096), np.float32),
        "rewards": np.zeros(2048, np.float32),
        "episodes": np.zeros(2048, np.int64),
        "outputs.mean": np.zeros((2048, 4096), np.float32),
    }
    path = traces.write(tmp_path / "a.trace", held)
    tracemalloc.start()
    try:
        with open_trace(path) as trace:
            opened = tracemalloc.get_traced_memory()[1]
            agent_part(trace)
        shown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert opened < 1 << 20
    # A block of each of two arrays, beside a decoded frame and its copy; 500 rows of one are 8 MiB.
    assert shown < 40 << 20


def test_a_trace_without_a_step_is_refused(tmp_path):
    held = {name: array[:0] for name, array in traces.arrays().items()}
    with (
        pytest.raises(BadTrace, match="'rewards' has another shape or dtype than in a trace, 0"),
        open_trace(traces.write(tmp_path / "a", held)),
    ):
        pass


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"actions": "NOOP"}, "its actions is of the wrong type"),
        ({"actions": (1,)}, "its metadata contradicts itself"),
        ({"saliency_every": 0}, "its metadata contradicts itself"),
        ({"saliency_every": True}, "its saliency_every is of the wrong type"),
        ({"frames_per_second": -1.0}, "its metadata contradicts itself"),
        ({"environment": ["x"]}, "its environment is of the wrong type"),
        ({"name": 3}, "its name is of the wrong type"),
    ],
)
def test_what_it_tells_of_itself_is_a_document_with_types(tmp_path, given, what):
    class Loose(dict):
        def to_dict(self):
            return self

    said = Loose({**traces.told().to_dict(), **given})
    path = tmp_path / "a.trace"
    path.write_bytes(b"".join(trace_bytes(said, traces.arrays())))
    with pytest.raises(BadTrace) as raised, open_trace(path):
        pass
    assert raised.value.what == what


def test_other_files_are_told_as_what_they_are(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    header, _ = build_header([("w", "F32", (2,))], {"format": "pt"})
    (tmp_path / "plain").write_bytes(header + bytes(8))
    for name in ("empty", "plain"):
        with (
            pytest.raises(BadTrace, match="is no trace, or a damaged one: has no seek table"),
            open_trace(tmp_path / name),
        ):
            pass
    with pytest.raises(CkptError, match="is missing"), open_trace(tmp_path / "nowhere"):
        pass


def test_a_folder_or_a_pipe_in_its_place_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe"):
        with pytest.raises(CkptError), open_trace(tmp_path / name):
            pass


@given(st.data())
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_gives_an_error_or_the_same_arrays(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(traces.write(tmp_path / "a.trace").read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    (tmp_path / "b.trace").write_bytes(whole[: data.draw(st.sampled_from([len(whole), len(whole) - 1, place]))])
    try:
        with open_trace(tmp_path / "b.trace") as trace:
            found = {name: trace.rows(name, 0, trace.steps) for name in ("frames", "rewards")}
    except CkptError:
        return
    assert all(np.array_equal(array, traces.arrays()[name]) for name, array in found.items())


def test_metadata_that_are_no_document_are_refused(tmp_path):
    for text in ("{", "[]", json.dumps({"version": 2}), "[" * 5000):
        header, _ = build_header([("rewards", "F32", (1,))], {"ckptfmt.trace": text})
        encoder = Encoder(3)
        (tmp_path / "a").write_bytes(encoder.frame(header) + encoder.frame(bytes(4)) + encoder.end())
        with pytest.raises(BadTrace), open_trace(tmp_path / "a"):
            pass


@pytest.mark.parametrize(
    ("name", "game", "said"),
    [("pong", "PongNoFrameskip-v4", ("q_values",)), ("breakout", "ALE/Breakout-v5", ("logits", "value"))],
)
def test_the_traces_that_come_along_are_some(name, game, said):
    with open_trace(Path(__file__).resolve().parents[2] / "fixtures" / "traces" / f"{name}.trace") as trace:
        assert (trace.steps, trace.told.environment["id"], trace.outputs) == (420, game, said)
        values = trace.rows(f"outputs.{said[0]}", 0, 420)
        assert np.array_equal(values.argmax(axis=1), trace.rows("actions", 0, 420))
