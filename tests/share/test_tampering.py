"""What is done to a signed checkpoint, and who finds it: `ckpt verify` and model_signing side by side.

python -P tests/share/test_tampering.py     # writes the table of the guide anew
"""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ckptfmt.errors import ManifestError
from ckptfmt.share.sign import sign, verify
from ckptfmt.store.forms import compress
from ckptfmt.store.write import update_manifest

ROOT = Path(__file__).resolve().parents[2]
SIGNED = ROOT / "fixtures" / "valid" / "everything" / "checkpoint"
OTHER = ROOT / "fixtures" / "valid" / "dqn" / "checkpoint"
GUIDE = ROOT / "docs" / "share.md"
BEGIN, END = "<!-- made by tests/share/test_tampering.py -->\n", "<!-- to here -->\n"
WEIGHTS, STATE, SIGNATURE = "weights.safetensors", "state.safetensors", "model.sig"
# Verifies every (folder, public key) that it is given as JSON; one process, since it takes a second to start.
THEIRS = """
import json, pathlib, sys
from cryptography.exceptions import InvalidSignature
from model_signing import hashing, verifying

def good(folder, key):
    folder = pathlib.Path(folder)
    paths = hashing.Config().set_ignored_paths(paths=[folder / "model.sig"], ignore_git_paths=True)
    check = verifying.Config().use_elliptic_key_verifier(public_key=pathlib.Path(key)).set_hashing_config(paths)
    try:
        check.verify(folder, folder / "model.sig")
    except (ValueError, OSError, InvalidSignature):
        return False
    return True

print(json.dumps([good(*asked) for asked in json.load(sys.stdin)]))
"""


def nothing(folder: Path) -> None:
    """The checkpoint is as it was signed."""


def flip(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-5] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def flip_state(folder: Path) -> None:
    data = bytearray((folder / STATE).read_bytes())
    data[-1] ^= 0x80
    (folder / STATE).write_bytes(data)


def remove(folder: Path) -> None:
    (folder / STATE).unlink()


def add(folder: Path) -> None:
    (folder / "notes.txt").write_text("hello\n")


def add_weights(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder / "best.safetensors")


def swap(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "x")
    (folder / STATE).rename(folder / WEIGHTS)
    (folder / "x").rename(folder / STATE)


def rename_file(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "best.safetensors")


def rename_for_a_hub(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "model.safetensors")


def rename_folder(folder: Path) -> None:
    folder.rename(folder.with_name("renamed"))
    folder.symlink_to("renamed")


def exchange(folder: Path) -> None:
    for path in OTHER.iterdir():
        shutil.copy(path, folder / path.name)
    (folder / STATE).unlink()


def edit(folder: Path) -> None:
    update_manifest(folder, lambda manifest: replace(manifest, training_info={"frames": 1}))


def edit_text(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"created_at"', ' "created_at"', 1))


def edit_payload(folder: Path) -> None:
    bundle = json.loads((folder / SIGNATURE).read_bytes())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"weights.", b"weightz.")
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (folder / SIGNATURE).write_text(json.dumps(bundle))


def edit_signature(folder: Path) -> None:
    bundle = json.loads((folder / SIGNATURE).read_bytes())
    made = bytearray(base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"]))
    made[-1] ^= 1
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(made).decode()
    (folder / SIGNATURE).write_text(json.dumps(bundle))


def press(folder: Path) -> None:
    compress(folder, everything=True)


# What is done, how, whether `ckpt verify` and whether model_signing still call it good.
CASES: dict[str, tuple[Callable[[Path], None], bool, bool]] = {
    "nothing": (nothing, True, True),
    "a bit of a weight is flipped": (flip, False, False),
    "a bit of the optimizer's state is flipped": (flip_state, False, False),
    "a file is removed": (remove, False, False),
    "a file of another kind is added": (add, True, False),
    "another file of tensors is added": (add_weights, False, False),
    "two files change their names with each other": (swap, False, False),
    "a file gets another name": (rename_file, False, False),
    "the weights get the name that hubs give them": (rename_for_a_hub, True, False),
    "the folder gets another name": (rename_folder, True, True),
    "another checkpoint's files lie beside the signature": (exchange, False, False),
    "the manifest is edited, its own digest made anew": (edit, False, False),
    "the manifest gets a space": (edit_text, False, False),
    "the statement in the signature is edited": (edit_payload, False, False),
    "a bit of the signature is flipped": (edit_signature, False, False),
    "it is verified with another key": (nothing, False, False),
    "it is compressed": (press, True, False),
}


def pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a new key, private and public."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    known = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, known))
    return private, public


class Folders:
    """A signed copy for each case, tampered with; `keys` are those to verify it with."""

    def __init__(self, folder: Path, signed_by: str) -> None:
        mine, other = pair(folder, "mine"), pair(folder, "other")
        whole = folder / "signed"
        shutil.copytree(SIGNED, whole)
        if signed_by == "ckpt":
            sign(whole, mine[0])
        else:
            given = ("--signature", whole / SIGNATURE, "--private_key", mine[0])
            command = [sys.executable, "-P", "-m", "model_signing", "sign", "key", whole, *given]
            subprocess.run(command, check=True, capture_output=True)
        self.places, self.keys = {}, {}
        for number, (called, (change, _, _)) in enumerate(CASES.items()):
            self.places[called] = folder / str(number) / "ck"
            self.keys[called] = other[1] if "another key" in called else mine[1]
            shutil.copytree(whole, self.places[called])
            change(self.places[called])

    def ours(self, called: str) -> tuple[bool, str]:
        """Whether `ckpt verify` calls it good, and what it says."""
        try:
            found = verify(os.path.realpath(self.places[called]), self.keys[called])
        except ManifestError as e:
            return False, f"manifest.json {e.what}"
        later = [f"good; {name} lies in the folder and is not signed" for name in found.unsigned]
        return found.good, found.reasons[0] if found.reasons else later[0] if later else "good"

    def theirs(self) -> dict[str, bool]:
        """What model_signing calls good."""
        asked = [[os.path.realpath(self.places[called]), str(self.keys[called])] for called in CASES]
        command = [sys.executable, "-P", "-W", "ignore", "-c", THEIRS]
        done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module", params=["ckpt", "model_signing"])
def folders(request, tmp_path_factory) -> Folders:
    if request.param == "model_signing":
        pytest.importorskip("model_signing", reason="model_signing is not installed")
    return Folders(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize("called", CASES)
def test_ckpt_verify_finds_what_was_done(folders, called):
    assert folders.ours(called)[0] is CASES[called][1]


def test_model_signing_finds_what_was_done(folders):
    pytest.importorskip("model_signing", reason="model_signing is not installed")
    assert folders.theirs() == {called: theirs for called, (_, _, theirs) in CASES.items()}


def table(folders: Folders) -> str:
    """Return both verdicts and our words as Markdown."""
    lines = ["| what is done | `ckpt verify` | `model_signing` |", "|---|---|---|"]
    for called, (_, _, theirs) in CASES.items():
        lines.append(f"| {called} | {folders.ours(called)[1]} | {'good' if theirs else 'found'} |")
    return "\n".join([*lines, ""])


def test_the_table_of_the_guide_says_the_same(tmp_path):
    text = GUIDE.read_text(encoding="utf-8")
    made = table(Folders(tmp_path, "ckpt"))
    assert text.partition(BEGIN)[2].partition(END)[0] == made, "write it anew: see this file's docstring"


def main() -> None:
    """Write the table of the guide anew."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = table(Folders(Path(folder), "ckpt"))
    text = GUIDE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    GUIDE.write_text(before + BEGIN + made + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
