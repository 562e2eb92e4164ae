import pytest

import ckptfmt


@pytest.fixture
def runs(tmp_path, tensors):
    for step in (1, 2):
        changed = {**tensors, "fc.2.bias": tensors["fc.2.bias"] * step}
        ckptfmt.save(tmp_path / "runs" / "pong" / f"step-{step:012d}", changed).close()
    (tmp_path / "runs" / "pong" / "latest").symlink_to("step-000000000002")
    return tmp_path


def test_a_run_is_packed_listed_checked_and_unpacked(ckpt, runs):
    run = ckpt("pack", "runs/pong", "pong.pack")
    assert (run.code, run.err) == (0, "warning: latest is no plain file of the run and was left out\n")
    assert run.out.startswith("runs/pong: 2 checkpoints, 4 files, ")
    assert run.out.endswith(" %); read back, every byte\n")
    listed = ckpt("unpack", "pong.pack", "--list")
    assert [line.split()[0] for line in listed.out.splitlines()] == [
        "step-000000000001/manifest.json",
        "step-000000000001/weights.safetensors",
        "step-000000000002/manifest.json",
        "step-000000000002/weights.safetensors",
        "pong:",
    ]
    assert ckpt("unpack", "pong.pack", "--check").out.startswith("every byte is as it was packed: 4 files, ")
    assert ckpt("unpack", "pong.pack", "out", "--json").document["result"]["dest"] == "out"
    assert ckpt("validate", "out/step-000000000001", "out/step-000000000002").code == 0
    assert ckpt("unpack", "pong.pack", "one", "--only", "step-000000000002").code == 0
    assert ckpt("diff", "one/step-000000000002", "runs/pong/step-000000000002").code == 0


def test_what_cannot_be_done_is_one_line(ckpt, runs):
    assert ckpt("pack", "runs/pong", "pong.pack").code == 0
    again = ckpt("pack", "runs/pong", "pong.pack")
    assert (again.code, again.out) == (2, "")
    assert again.err == "error: pong.pack: exists; add --force to replace it, or choose another name\n"
    data = bytearray((runs / "pong.pack").read_bytes())
    data[100] ^= 1
    (runs / "pong.pack").write_bytes(data)
    run = ckpt("unpack", "pong.pack", "out")
    assert (run.code, run.out) == (2, "")
    assert run.err == "error: pong.pack: a byte of it was changed; copy it again\n"
    assert ckpt("pack", "runs/pong", "pong.pack", "--force", "--json").document["result"]["checkpoints"] == 2
    assert ckpt("pack", "nowhere", "x").err == "error: nowhere: no such folder; check the path\n"
    assert ckpt("unpack", "pong.pack").err.startswith("error: ckpt unpack: give DEST, or --list, or --check")
