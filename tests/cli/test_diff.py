"""ckpt diff, through real processes."""

import numpy as np

import ckptfmt

RUNS = ("runs/breakout-041", "runs/breakout-042")


def test_what_changed_and_how_far(ckpt, work):
    run = ckpt("diff", *RUNS)
    assert (run.code, run.err) == (1, "")
    lines = run.out.splitlines()
    assert lines[:3] == [
        "manifest",
        "~ training_info.frame_idx  3,000,000 -> 4,000,000",
        "weights      rel. L2  cosine  largest",
    ]
    assert lines[3].split()[:3] == ["~", "fc.2.bias", "1"]
    assert lines[4:] == ["1 changed, 9 identical"]


def test_the_same_is_exit_0(ckpt, work):
    run = ckpt("diff", RUNS[0], RUNS[0])
    assert (run.code, run.out, run.err) == (0, "same: 10 tensors identical\n", "")


def test_a_foreign_file_compares_with_a_checkpoint(ckpt, work):
    run = ckpt("diff", "dqn_best.pth", RUNS[0], "--only", "weights")
    assert (run.code, run.out) == (0, "same: 10 tensors identical\n")


def test_names_alone(ckpt, work):
    assert ckpt("diff", *RUNS, "--name-only").out == "training_info.frame_idx\nfc.2.bias\n"
    assert ckpt("diff", *RUNS, "--name-status").out == "M training_info.frame_idx\nM fc.2.bias\n"
    assert ckpt("diff", *RUNS, "--ignore", "training_info.frame_idx", "--ignore", "fc.2.bias").code == 0


def test_added_removed_renamed_and_reshaped(ckpt, work, tensors):
    other = {**tensors, "head.bias": tensors["fc.2.bias"], "conv.0.bias": tensors["conv.0.bias"][:16]}
    del other["fc.2.bias"], other["fc.0.bias"]
    ckptfmt.save(work / "other", other)
    ckptfmt.save(work / "plain", tensors)
    lines = ckpt("diff", "plain", "other").out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:-1]] == [
        "~ conv.0.bias",
        "R fc.2.bias -> head.bias",
        "- fc.0.bias",
    ]
    assert lines[1].endswith("F32 32 -> F32 16")
    assert lines[-1] == "1 changed, 1 removed, 1 renamed, 7 identical"
    status = ckpt("diff", "plain", "other", "--name-status").out.splitlines()
    assert status == ["M conv.0.bias", "R fc.2.bias -> head.bias", "D fc.0.bias"]


def test_bars_share_one_scale(ckpt, work, tensors):
    far = {name: value * (2 if name == "fc.0.bias" else 1.5) for name, value in tensors.items()}
    ckptfmt.save(work / "far", far)
    lines = ckpt("diff", RUNS[0], "far", "--stat", "--only", "weights").out.splitlines()
    bars = {line.split()[1]: line.count("█") for line in lines[:-1]}
    assert bars["fc.0.bias"] == 40
    assert {bars[name] for name in tensors if name != "fc.0.bias"} == {20}


def test_tensors_sort_by_change(ckpt, work, tensors):
    far = {name: value * (1 + i / 10) for i, (name, value) in enumerate(sorted(tensors.items()))}
    ckptfmt.save(work / "far", far)
    by_change = ckpt("diff", RUNS[0], "far", "--name-only", "--only", "weights", "--sort", "change").out.split()
    assert by_change == sorted(tensors, reverse=True)[:-1]


def test_a_tolerance_lets_small_changes_pass(ckpt, work, tensors):
    ckptfmt.save(work / "near", {name: value * (1 + 1e-6) for name, value in tensors.items()})
    assert ckpt("diff", RUNS[0], "near", "--only", "weights").code == 1
    run = ckpt("diff", RUNS[0], "near", "--only", "wieghts")
    assert (run.code, run.out, run.err) == (
        2,
        "",
        "error: near: has no field or tensor 'wieghts', nor has the one it is compared with; "
        "see their names: ckpt inspect near\n",
    )
    run = ckpt("diff", RUNS[0], "near", "--only", "weights", "--rtol", "1e-5")
    assert (run.code, run.out) == (0, "same: 0 tensors identical, 10 within the tolerance\n")


def test_markdown_cannot_be_broken_out_of(ckpt, work):
    ckptfmt.save(work / "a", {"x|y`<b>": np.ones(1)})
    ckptfmt.save(work / "b", {"x|y`<b>": np.ones(1) * 2})
    lines = ckpt("diff", "a", "b", "--md").out.splitlines()
    assert lines[0] == "`a` → `b`: 1 changed"
    assert lines[-1] == "| ~ | `x\\x7cy\\x60<b>` | 1 | 1 | 1 |  |"


def test_json_has_everything(ckpt, work):
    run = ckpt("diff", *RUNS, "--json")
    document = run.document
    assert (run.code, document["ok"]) == (1, False)
    assert list(document["result"])[:2] == ["a", "b"]
    assert document["result"]["counts"]["changed"] == 1
    (change,) = document["result"]["weights"]
    assert (change["name"], change["rel_l2"], change["changed_fraction"]) == ("fc.2.bias", 1.0, 1.0)
    assert ckpt("diff", *RUNS, "--exit-zero", "-q").code == 0


def test_trouble_is_exit_2(ckpt, work):
    run = ckpt("diff", RUNS[0], "nosuch")
    assert (run.code, run.out, run.err) == (2, "", "error: nosuch: no such folder; check the path\n")


def test_values_of_a_manifest_are_told_as_data_and_cut_where_they_are_long(ckpt, work, tensors):
    evaluation = [{"mean": 1.5, "std": None, "episodes": [{"return": n} for n in range(99)]}]
    ckptfmt.save(work / "plain", tensors).close()
    ckptfmt.save(work / "played", tensors, evaluation=evaluation).close()
    line = ckpt("diff", "plain", "played").out.splitlines()[1]
    assert line.startswith("+ evaluation  [{mean: 1.5, std: none, episodes: [{return: 0}, {return: 1}, ")
    assert line.endswith("…")
    assert len(line) == len("+ evaluation  ") + 240


def test_changes_that_are_not_listed_are_counted_beside_the_answer(ckpt, work, tensors):
    for name, add in (("a", 0), ("b", 1)):
        ckptfmt.save(work / name, tensors, training_info={f"k{i}": i + add for i in range(10_001)})
    run = ckpt("diff", "a", "b", "--name-only", "--only", "training_info")
    assert (run.code, len(run.out.splitlines())) == (1, 10_000)
    assert run.err == "the manifests differ in 1 field more than are listed\n"


def test_a_table_shows_no_more_than_somebody_reads_and_says_how_many_more_there_are(ckpt, work):
    for name, add in (("a", 0), ("b", 1)):
        rows = np.arange(2_003, dtype="f4")[:, None] + add
        facts = {f"k{i}": i + add for i in range(2_002)}
        ckptfmt.save(work / name, {f"t{i:04}": row for i, row in enumerate(rows)}, training_info=facts).close()
    rest = [f"and {number} more; see all with: --name-status, or --json" for number in (2, 3)]
    lines = ckpt("diff", "a", "b").out.splitlines()
    assert (len(lines), lines[2_001], lines[-2:]) == (4_005, rest[0], [rest[1], "2,003 changed"])
    lines = ckpt("diff", "a", "b", "--md").out.splitlines()
    assert [line for line in lines if line.startswith("and ")] == rest
    lines = ckpt("diff", "a", "b", "--stat", "--sort", "change").out.splitlines()
    assert (len(lines), lines[0].split()[1], lines[-2:]) == (2_002, "t0000", [rest[1], "2,003 changed"])
    assert len(ckpt("diff", "a", "b", "--name-status").out.splitlines()) == 4_005


def test_a_refused_pickle_is_told_the_option_that_reads_on(ckpt, tmp_path):
    (tmp_path / "case.pkl").write_bytes(b"cposix\nsystem\n(Vtrue\ntR.")
    run = ckpt("diff", "case.pkl", "case.pkl")
    assert (run.code, run.out) == (2, "")
    assert run.err == (
        "error: case.pkl: refused, its pickle calls posix.system; nothing was run; read on, still without running it: "
        "--allow-unsafe-globals; see: ckpt inspect --source case.pkl\n"
    )
