import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ckptfmt
from ckptfmt.errors import ManifestError, NotACheckpoint, TargetExists, WeightsError
from ckptfmt.store.manager import CheckpointManager, Retention
from ckptfmt.store.manager.steps import Entry, Index


def array(value):
    return {"a": np.full((4, 4), value, "f4")}


def damage(path):
    file = os.path.join(path, "weights.safetensors")
    with open(file, "r+b") as f:
        f.seek(-1, 2)
        last = f.read(1)
        f.seek(-1, 2)
        f.write(bytes([last[0] ^ 1]))


def step_of(checkpoint):
    with checkpoint:
        return int(checkpoint.tensors["a"][0, 0])


def test_the_latest_and_the_best_are_separate_promises(tmp_path):
    manager = CheckpointManager(tmp_path / "run", keep_last=2, keep_best=1)
    for step, reward in enumerate([1.0, 9.0, 3.0, 2.0, 4.0, 0.0]):
        manager.save(step, array(step), metrics={"reward": reward})
    assert manager.steps() == [5, 4, 1]
    assert step_of(manager.latest()) == 5
    assert step_of(manager.best()) == 1
    assert step_of(manager.best(mode="min")) == 5
    assert step_of(manager.restore(4)) == 4


def test_the_best_is_decided_by_what_another_process_has_written_since(tmp_path):
    manager = CheckpointManager(tmp_path, keep_last=1, keep_best=1, keep_every=10)
    for step, reward in [(1, 5.0), (10, 7.0), (11, 1.0)]:
        manager.save(step, array(step), metrics={"reward": reward})
    assert manager.steps() == [11, 10]
    CheckpointManager(tmp_path).save(11, array(11), metrics={"reward": 9.0}, overwrite=True)
    manager.save(12, array(12), metrics={"reward": 0.0})
    manager.save(13, array(13), metrics={"reward": 0.0})
    assert manager.steps() == [13, 11, 10]
    CheckpointManager(tmp_path).save(11, array(11), metrics={"reward": -9.0}, overwrite=True)
    assert step_of(manager.best()) == 10
    manager.save(14, array(14), metrics={"reward": 0.0})
    assert manager.steps() == [14, 10]


def test_a_best_whose_manifest_cannot_be_used_keeps_no_place(tmp_path):
    manager = CheckpointManager(tmp_path, keep_last=1, keep_best=1)
    manager.save(1, array(1), metrics={"reward": 5.0})
    manager.save(2, array(2), metrics={"reward": 9.0})
    manifest = tmp_path / "step-000000000002" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"step": 2', b'"step":  2'))
    again = CheckpointManager(tmp_path, keep_last=1, keep_best=1)
    again.save(3, array(3), metrics={"reward": 6.0})
    again.save(4, array(4), metrics={"reward": 0.0})
    assert again.steps() == [4, 3, 2]  # what cannot be read is left alone


def test_every_kth_step_is_kept_and_without_a_reason_all_are(tmp_path):
    spaced = CheckpointManager(tmp_path / "spaced", keep_every=3)
    kept = CheckpointManager(tmp_path / "all")
    for step in range(8):
        spaced.save(step, array(step))
        kept.save(step, array(step))
    assert spaced.steps() == [7, 6, 3, 0]
    assert kept.steps() == [7, 6, 5, 4, 3, 2, 1, 0]


def test_no_metric_is_looked_for_among_more_lists_than_a_manifest_may_hold(tmp_path):
    manager = CheckpointManager(tmp_path)
    manager.save(1, array(1), metrics={"reward": 1})
    manifest = tmp_path / "step-000000000001" / "manifest.json"
    said = manifest.read_text()
    values = Index(str(tmp_path)).values([1], "reward")
    manifest.write_text(said.replace("{", '{"more": [' + "[]," * 300_001 + "0],", 1))
    assert (values, Index(str(tmp_path)).values([1], "reward")) == ({1: 1.0}, {})


def test_a_damaged_checkpoint_is_passed_over_and_said_so(tmp_path):
    said = []
    manager = CheckpointManager(tmp_path, report=said.append)
    for step in (1, 2, 3):
        manager.save(step, array(step), metrics={"reward": step})
    damage(manager.path(3))
    (tmp_path / "step-000000000002" / "manifest.json").unlink()
    assert step_of(manager.latest()) == 1
    assert [(p.code, p.where, p.message) for p in said] == [
        ("weights.digest", f"{manager.path(3)}/weights.safetensors", "a: bytes do not match the manifest; passed over"),
        ("layout.no-manifest", manager.path(2), "not a checkpoint, manifest.json is missing; passed over"),
    ]
    assert manager.problems == said
    assert step_of(manager.best()) == 1
    with pytest.raises(WeightsError):
        manager.restore(3)


def test_where_nothing_is_whole_the_latest_is_none_and_restoring_an_error(tmp_path):
    manager = CheckpointManager(tmp_path / "run")
    assert manager.latest() is None
    assert manager.best() is None
    with pytest.raises(NotACheckpoint) as caught:
        manager.restore()
    assert str(caught.value) == f"{tmp_path}/run: holds no checkpoint that is whole"


def test_what_the_manager_did_not_write_is_never_removed(tmp_path):
    mine = tmp_path / "step-000000000000"
    ckptfmt.save(mine, array(0)).close()
    (tmp_path / "notes.txt").write_text("mine")
    manager = CheckpointManager(tmp_path, keep_last=1)
    manager.save(1, array(1))
    (tmp_path / "step-000000000001" / "notes.txt").write_text("mine")
    manager.save(2, array(2))
    assert sorted(os.listdir(tmp_path)) == [
        "notes.txt",
        "step-000000000000",
        "step-000000000001",
        "step-000000000002",
    ]


def test_a_link_named_like_a_step_is_left_alone_and_said_once(tmp_path):
    CheckpointManager(tmp_path / "other").save(1, array(7))
    manager = CheckpointManager(tmp_path / "run", keep_last=1)
    manager.save(2, array(2))
    os.symlink("../other/step-000000000001", manager.path(1))
    for step in (3, 4, 5):
        manager.save(step, array(step))
    assert manager.steps() == [5, 1]
    assert step_of(CheckpointManager(tmp_path / "other").latest()) == 7
    assert [(p.code, p.where, p.message) for p in manager.problems] == [
        (
            "manager.kept",
            manager.path(1),
            "is a link to '../other/step-000000000001', which is not written through it; it stays",
        )
    ]
    with pytest.raises(TargetExists):
        manager.save(1, array(1), overwrite=True)


def test_a_step_whose_weights_somebody_exchanged_stays(tmp_path):
    manager = CheckpointManager(tmp_path, keep_last=1)
    manager.save(1, array(1))
    with open(os.path.join(manager.path(1), "weights.safetensors"), "ab") as file:
        file.write(b"more, of mine")
    manager.save(2, array(2))
    assert manager.steps() == [2, 1]
    assert [p.message for p in manager.problems] == ["is damaged or was changed since it was saved; it stays"]


def test_a_metric_beyond_every_float_is_the_largest(tmp_path):
    manager = CheckpointManager(tmp_path, keep_best=1, keep_last=1)
    for step, reward in ((1, 10**400), (2, 3), (3, 4)):
        manager.save(step, array(step), metrics={"reward": reward})
    assert manager.steps() == [3, 1]


INFINITE, NONE = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("values", "mode", "kept", "best"),
    [
        ([10.0, INFINITE, 1.0, 2.0], "max", [4, 1], 1),
        ([3.0, -INFINITE, 1.0, 2.0], "min", [4, 3], 3),
        ([INFINITE, NONE, 4.0, -INFINITE], "max", [4, 3], 3),
        ([NONE, NONE, INFINITE, NONE], "max", [4], 4),
        ([2**60, 2**60 + 1, 2.0**60, 5], "max", [4, 2], 2),
        ([5, -(2**60), -(10**400), 8], "min", [4, 3], 3),
    ],
)
def test_what_is_kept_as_the_best_is_the_best(tmp_path, values, mode, kept, best):
    manager = CheckpointManager(tmp_path, keep_best=1, keep_last=1, mode=mode)
    for step, value in enumerate(values, 1):
        manager.save(step, array(step), metrics={"reward": value})
    assert manager.steps() == kept
    assert step_of(manager.best()) == best
    assert manager.problems == []


@pytest.mark.parametrize(
    ("metrics", "fix"),
    [
        ({"reward": 1.0, "loss": 2.0}, "name one that they have: loss, reward"),
        (None, "save with metrics={'rewrad': ...}"),
    ],
)
def test_without_the_metric_of_the_best_all_stay_and_it_is_said_once(tmp_path, metrics, fix):
    manager = CheckpointManager(tmp_path, keep_last=1, keep_best=1, metric="rewrad")
    for step in (1, 2, 3):
        manager.save(step, array(step), metrics=metrics)
    assert manager.steps() == [3, 2, 1]
    assert [(p.code, p.where, p.message, p.fix) for p in manager.problems] == [
        (
            "manager.metric",
            str(tmp_path),
            "no checkpoint has the metric 'rewrad', so which are the best is not known; all stay",
            fix,
        )
    ]
    manager.save(4, array(4), metrics={"rewrad": 1.0})
    assert manager.steps() == [4]


@pytest.mark.parametrize(
    ("options", "where"), [({"metrics": [1]}, "$.extra.manager.metrics"), ({"extra": [1]}, "$.extra")]
)
def test_what_is_no_mapping_is_named(tmp_path, options, where):
    with pytest.raises(ManifestError) as caught:
        CheckpointManager(tmp_path).save(1, array(1), **options)
    assert str(caught.value) == f"{where}: must be an object"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("background", [False, True])
def test_a_relative_folder_stays_where_it_was_when_it_was_given(tmp_path, monkeypatch, background):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with CheckpointManager("run", background=background, keep_last=2) as manager:
        manager.save(1, array(1), metrics={"reward": 1})
        monkeypatch.chdir("other")
        for step in (2, 3):
            manager.save(step, array(step), metrics={"reward": -step})
        manager.wait()
        assert (manager.steps(), manager.path(3)) == ([3, 2], "run/step-000000000003")
        assert (step_of(manager.latest()), step_of(manager.best()), step_of(manager.restore(2))) == (3, 2, 2)
    assert os.listdir() == []
    assert sorted(os.listdir(tmp_path / "run")) == ["step-000000000002", "step-000000000003"]


def test_what_is_newer_than_the_last_save_is_never_removed(tmp_path):
    manager = CheckpointManager(tmp_path)
    for step in (10, 20, 30):
        manager.save(step, array(step))
    again = CheckpointManager(tmp_path, keep_last=1)
    again.save(15, array(15))
    assert again.steps() == [30, 20, 15]


def test_weights_that_did_not_change_raise_an_alarm(tmp_path):
    manager = CheckpointManager(tmp_path)
    manager.save(1, array(1))
    manager.save(2, array(2))
    assert manager.problems == []
    manager.save(3, array(2))
    assert [(p.code, p.where, p.message) for p in manager.problems] == [
        ("manager.stale", manager.path(3), "its weights are those of step 2, so the training has not changed them")
    ]


def test_what_a_run_that_died_left_is_removed_by_the_next(tmp_path):
    left = tmp_path / ".step-000000000007.ckpt-stage-0123456789abcdef"
    left.mkdir()
    CheckpointManager(tmp_path).save(1, array(1))
    assert os.listdir(tmp_path) == ["step-000000000001"]


def test_metrics_that_were_evaluated_later_count(tmp_path):
    import dataclasses

    manager = CheckpointManager(tmp_path, metric="score")
    for step in (1, 2):
        manager.save(step, array(step), metrics={"score": step})
    assert step_of(manager.best()) == 2
    ckptfmt.store.write.update_manifest(
        manager.path(1),
        lambda m: dataclasses.replace(m, extra={"manager": {"step": 1, "metrics": {"score": 5}}}),
    )
    assert step_of(manager.best()) == 1


@pytest.mark.parametrize("options", [{"keep_last": 0}, {"keep_every": 0}, {"keep_best": -1}, {"mode": "most"}])
def test_senseless_retention_is_refused(tmp_path, options):
    with pytest.raises(ValueError, match="it must be"):
        CheckpointManager(tmp_path, **options)


ENTRIES = st.dictionaries(
    st.integers(0, 40), st.dictionaries(st.just("reward"), st.floats()), min_size=1, max_size=12
).map(lambda found: [Entry(step, metrics, "") for step, metrics in found.items()])


@given(ENTRIES, st.none() | st.integers(1, 4), st.none() | st.integers(0, 4), st.none() | st.integers(1, 5))
def test_retention_keeps_what_any_reason_keeps(entries, last, best, every):
    removed = {entry.step for entry in Retention(last=last, best=best, every=every).superfluous(entries)}
    steps = sorted(entry.step for entry in entries)
    assert steps[-1] not in removed
    if last is None and best is None and every is None:
        assert not removed
    assert not removed & set(steps[-(last or 1) :])
    assert every is None or not any(step % every == 0 for step in removed)
    ranks = [(entry.metrics["reward"], entry.step) for entry in entries if "reward" in entry.metrics]
    numbers = sorted((rank for rank in ranks if math.isfinite(rank[0])), reverse=True)
    assert not removed & {step for _, step in numbers[: best or 0]}
    if best and not ranks:
        assert not removed
        return
    if not (last is None and best is None and every is None):
        assert len(entries) - len(removed) <= (last or 1) + (best or 0) + (len(steps) if every else 0)
