import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from .conftest import Run  # noqa: F401


def test_an_export_says_what_it_is_how_it_loads_and_what_was_left_out(ckpt, work):
    done = ckpt("export", "runs/breakout-042", "net.pth", "--to", "torch")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "torch    state dict of dqn, 10 tensors",
        'loads    torch.load("net.pth", weights_only=True)',
        "checked  10 tensors equal, bit for bit",
        "left out config",
        f"wrote    net.pth  {(work / 'net.pth').stat().st_size / 1024:.1f} KiB",
    ]


def test_an_export_as_json_is_as_the_schema_says(ckpt, work):
    done = ckpt("export", "runs/breakout-042", "net.pth", "--to", "torch", "--no-check", "--json")
    assert done.document["result"]["checked"] == ""
    assert done.document["result"]["bytes"] == (work / "net.pth").stat().st_size


def test_a_network_that_does_not_fit_is_exit_2_and_leaves_nothing(ckpt, work):
    done = ckpt("export", "runs/breakout-042", "net.cleanrl_model", "--to", "cleanrl")
    assert done.code == 2
    assert done.err == (
        "error: runs/breakout-042: CleanRL's network takes 4×84×84 frames; export it to torch or onnx\n"
    )
    assert not (work / "net.cleanrl_model").exists()


def test_an_occupied_name_is_named(ckpt, work):
    (work / "net.pth").write_text("mine")
    done = ckpt("export", "runs/breakout-042", "net.pth", "--to", "torch")
    assert (done.code, done.err) == (
        2,
        "error: net.pth: exists; add --force to replace it, or choose another name\n",
    )


MISSING = {
    ("torch", "torch"): 'the check needs torch, which is not installed; run: pip install "ckptfmt[rl]"',
    ("torch", "onnx"): 'export to onnx needs torch, which is not installed; run: pip install "ckptfmt[rl]"',
    ("onnxscript", "onnx"): 'export to onnx needs onnxscript, which is not installed; run: pip install "ckptfmt[onnx]"',
    ("stable_baselines3", "sb3"): (
        'the check needs stable_baselines3, which is not installed; run: pip install "ckptfmt[integrations]"'
    ),
}


@pytest.mark.parametrize(("package", "to"), MISSING)
def test_a_library_that_is_not_installed_is_named_with_the_extra_that_brings_it(tmp_path, package, to):
    from tests.rl.examples import save_network

    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    save_network(tmp_path / "ck", "categorical, other sizes")
    # An import of a module that is None fails as one that is not there.
    code = f"import sys; sys.modules[{package!r}] = None; from ckptfmt.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", code, "export", tmp_path / "ck", tmp_path / "out", "--to", to]
    done = subprocess.run([*command, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {MISSING[package, to]}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["ck"]
    if (package, to) == ("stable_baselines3", "sb3"):
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, "checked  no: the library is not installed" in done.stdout) == (0, True)
