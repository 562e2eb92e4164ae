import hashlib
import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed")

import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import ckptfmt
from ckptfmt.errors import CkptError, TargetExists
from ckptfmt.format.digest import tensor_digest
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.tensors import Part
from ckptfmt.share._bundle import Statement, make_bundle
from ckptfmt.share._keys import load_private
from ckptfmt.share.sign import sign, verify
from ckptfmt.store.forms import compress, decompress
from ckptfmt.store.write import update_manifest

FOREIGN = Path(__file__).resolve().parents[2] / "fixtures" / "foreign"
PEM = serialization.Encoding.PEM


def write_pair(folder: Path, name: str, key, password: bytes | None = None) -> tuple[Path, Path]:
    form = serialization.PrivateFormat.PKCS8
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(PEM, form, lock))
    public.write_bytes(key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> tuple[Path, Path]:
    return write_pair(tmp_path_factory.mktemp("keys"), "mine", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> tuple[Path, Path]:
    return write_pair(tmp_path_factory.mktemp("keys"), "other", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    ckptfmt.convert(FOREIGN / "dueling-v2" / "dqn_best.pth", tmp_path / "ck")
    return tmp_path / "ck"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_what_was_signed_is_verified_and_stays_valid(checkpoint, keys):
    manifest = (checkpoint / "manifest.json").read_bytes()
    signature = sign(checkpoint, keys[0])
    assert signature.covers == ("manifest.json", "weights.safetensors")
    found = verify(checkpoint, keys[1])
    assert (found.good, found.reasons, found.covers) == (True, (), signature.covers)
    assert (checkpoint / "manifest.json").read_bytes() == manifest
    assert ckptfmt.validate(checkpoint).valid


def test_a_signature_stays_with_a_checkpoint_that_is_compressed_and_stays_good(checkpoint, keys):
    sign(checkpoint, keys[0])
    signature = (checkpoint / "model.sig").read_bytes()
    assert compress(checkpoint, everything=True).changed == ("weights.safetensors",)
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "manifest.json",
        "model.sig",
        "weights.safetensors.zst",
    ]
    assert (checkpoint / "model.sig").read_bytes() == signature
    found = verify(checkpoint, keys[1])
    assert (found.good, found.reasons) == (True, ())
    decompress(checkpoint)
    assert verify(checkpoint, keys[1]).good
    assert [path.name for path in checkpoint.parent.iterdir()] == ["ck"]


def test_a_signature_stays_with_a_checkpoint_that_is_repaired_and_is_good_again(checkpoint, keys):
    shutil.copytree(checkpoint, checkpoint.with_name("sibling"))
    sign(checkpoint, keys[0])
    flip(checkpoint / "weights.safetensors", -5)
    ckptfmt.repair(checkpoint, siblings=[checkpoint.with_name("sibling")], in_place=True)
    assert verify(checkpoint, keys[1]).good


def test_a_flipped_bit_of_a_weight_is_found(checkpoint, keys):
    sign(checkpoint, keys[0])
    flip(checkpoint / "weights.safetensors", -5)
    reasons = verify(checkpoint, keys[1]).reasons
    assert reasons == ("weights.safetensors value_stream.2.weight: bytes do not match the manifest",)


def edit(checkpoint: Path) -> None:
    update_manifest(checkpoint, lambda manifest: replace(manifest, training_info={"frames": 1}))


def test_an_edited_manifest_is_found_even_where_its_own_digest_was_made_anew(checkpoint, keys):
    sign(checkpoint, keys[0])
    edit(checkpoint)
    assert ckptfmt.validate(checkpoint).valid
    assert verify(checkpoint, keys[1]).reasons == ("manifest.json is not the one that was signed",)


def test_a_signature_of_the_network_outlives_an_edited_manifest(checkpoint, keys):
    sign(checkpoint, keys[0], network=True)
    edit(checkpoint)
    assert verify(checkpoint, keys[1], network=True).good
    found = verify(checkpoint, keys[1])
    assert found.reasons == ("model.sig signs the weights alone, and not manifest.json",)


WHOLE = np.arange(8, dtype=np.float32).reshape(4, 2)


@pytest.fixture
def sliced(tmp_path) -> Path:
    halves = [{"w": Part(WHOLE[:2], (4, 2), (0, 0))}, {"w": Part(WHOLE[2:], (4, 2), (2, 0))}]
    ckptfmt.save(tmp_path / "sliced", halves).close()
    return tmp_path / "sliced"


@pytest.fixture
def tied(tmp_path) -> Path:
    shared = np.ones((2, 2), np.float32)
    ckptfmt.save(tmp_path / "tied", {"a": shared, "b": WHOLE[:2], "head": shared}).close()
    return tmp_path / "tied"


def reseal(checkpoint: Path, change) -> None:
    """Change the manifest as somebody does who gives it the digests that it then has."""
    path = checkpoint / "manifest.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_bytes(Manifest.from_dict(raw).sealed_bytes())
    assert ckptfmt.validate(checkpoint).valid


def exchange_slices(raw: dict) -> None:
    one, other = (entry["tensors"]["w"]["slice"] for entry in raw["files"].values())
    one["at"], other["at"] = other["at"], one["at"]
    exchanged = np.concatenate([WHOLE[2:], WHOLE[:2]])
    raw["split"]["weights.safetensors"]["tensors"]["w"]["digest"] = tensor_digest([exchanged.tobytes()])


def tie_to_another(raw: dict) -> None:
    raw["files"]["weights.safetensors"]["tied"] = {"head": "b"}


def tie_nothing(raw: dict) -> None:
    del raw["files"]["weights.safetensors"]["tied"]


def tie_one_more(raw: dict) -> None:
    raw["files"]["weights.safetensors"]["tied"]["more"] = "b"


# A signature of the whole suffices for the network, too: an evaluation came since.
@pytest.mark.parametrize("network", [True, False], ids=["network", "whole"])
@pytest.mark.parametrize(
    ("kind", "change"),
    [("sliced", exchange_slices), ("tied", tie_to_another), ("tied", tie_nothing), ("tied", tie_one_more)],
)
def test_a_signature_of_the_network_vouches_for_how_its_tensors_are_put_together(request, kind, change, network, keys):
    checkpoint = request.getfixturevalue(kind)
    sign(checkpoint, keys[0], network=network)
    edit(checkpoint)
    assert verify(checkpoint, keys[1], network=True).good
    reseal(checkpoint, change)
    found = verify(checkpoint, keys[1], network=True)
    assert found.reasons == ("the slices or tied names of the network's tensors are not those that were signed",)


def test_a_network_that_never_had_tied_names_gets_none_behind_its_signature(tmp_path, keys):
    ckptfmt.save(tmp_path / "plain", {"a": WHOLE}).close()
    sign(tmp_path / "plain", keys[0], network=True)
    reseal(tmp_path / "plain", lambda raw: raw["files"]["weights.safetensors"].update(tied={"more": "a"}))
    assert verify(tmp_path / "plain", keys[1], network=True).reasons == (
        "model.sig does not say how the tensors of the network are put together; ask its signer for a new one",
    )


def test_a_signature_that_names_files_only_is_good_for_tied_names_while_the_manifest_is_the_signed_one(tied, keys):
    files = {name: hashlib.sha256((tied / name).read_bytes()).hexdigest() for name in os.listdir(tied)}
    (tied / "model.sig").write_bytes(make_bundle(load_private(keys[0], None), "tied", Statement(files, ("model.sig",))))
    assert verify(tied, keys[1], network=True).good
    edit(tied)
    assert verify(tied, keys[1], network=True).reasons == (
        "model.sig does not say how the tensors of the network are put together; ask its signer for a new one",
    )


@pytest.mark.parametrize("kind", ["sliced", "tied"])
def test_model_signing_takes_a_signature_of_tensors_that_are_put_together(request, kind, keys):
    pytest.importorskip("model_signing", reason="model_signing is not installed")
    checkpoint = request.getfixturevalue(kind)
    sign(checkpoint, keys[0], network=True)
    command = [sys.executable, "-P", "-m", "model_signing", "verify", "key", checkpoint]
    given = ["--signature", checkpoint / "model.sig", "--public_key", keys[1]]
    done = subprocess.run([*command, *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_bytes_of_a_network_are_held_against_what_was_signed_in_every_case(tied, keys):
    sign(tied, keys[0], network=True)
    path = tied / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-16] + b"\0" * 16)
    manifest = tied / "manifest.json"
    raw = json.loads(manifest.read_text())
    raw["files"]["weights.safetensors"]["tensors"]["b"]["digest"] = tensor_digest([b"\0" * 16])
    manifest.write_bytes(Manifest.from_dict(raw).sealed_bytes())
    assert verify(tied, keys[1], network=True, deep=False).reasons == (
        "weights.safetensors: has another SHA-256 than the manifest says, though every byte is as it says",
    )


def test_another_checkpoint_of_the_same_kind_is_not_the_one_that_was_signed(checkpoint, keys, tmp_path):
    sign(checkpoint, keys[0])
    ckptfmt.convert(FOREIGN / "dueling-v2" / "dqn_best.pth", tmp_path / "b")
    edit(tmp_path / "b")
    shutil.copy(checkpoint / "model.sig", tmp_path / "b")
    assert "manifest.json is not the one that was signed" in verify(tmp_path / "b", keys[1]).reasons


def test_another_key_verifies_nothing(checkpoint, keys, others):
    sign(checkpoint, keys[0])
    assert verify(checkpoint, others[1]).reasons == ("model.sig was not made with this key, or was changed",)


def test_every_flipped_byte_of_the_payload_is_found(checkpoint, keys):
    sign(checkpoint, keys[0])
    bundle = json.loads((checkpoint / "model.sig").read_bytes())
    payload = b64decode(bundle["dsseEnvelope"]["payload"])
    for at in range(0, len(payload), 7):
        changed = bytearray(payload)
        changed[at] ^= 1
        bundle["dsseEnvelope"]["payload"] = b64encode(changed).decode()
        (checkpoint / "model.sig").write_text(json.dumps(bundle))
        assert not verify(checkpoint, keys[1], deep=False).good


def test_a_renamed_folder_is_still_what_was_signed(checkpoint, keys, tmp_path):
    sign(checkpoint, keys[0])
    checkpoint.rename(tmp_path / "renamed")
    assert verify(tmp_path / "renamed", keys[1]).good


def test_a_card_beside_the_weights_is_signed_too(checkpoint, keys):
    (checkpoint / "README.md").write_text("# Pong\n")
    assert "README.md" in sign(checkpoint, keys[0]).covers
    (checkpoint / "README.md").write_text("# Breakout\n")
    assert verify(checkpoint, keys[1], deep=False).reasons == ("README.md is not the one that was signed",)
    (checkpoint / "README.md").unlink()
    assert verify(checkpoint, keys[1], deep=False).reasons == ("README.md was signed and is missing",)


def test_what_came_later_is_named_as_not_signed(checkpoint, keys):
    sign(checkpoint, keys[0])
    (checkpoint / "README.md").write_text("# Pong\n")
    assert verify(checkpoint, keys[1], deep=False).unsigned == ("README.md",)


def test_a_signature_is_replaced_only_where_that_is_asked_for(checkpoint, keys):
    sign(checkpoint, keys[0])
    with pytest.raises(TargetExists, match=r"has a model\.sig already"):
        sign(checkpoint, keys[0])
    sign(checkpoint, keys[0], overwrite=True)
    assert sorted(path.name for path in checkpoint.iterdir()) == ["manifest.json", "model.sig", "weights.safetensors"]


@pytest.mark.parametrize(
    ("key", "password"),
    [
        (ec.generate_private_key(ec.SECP384R1()), None),
        (ec.generate_private_key(ec.SECP521R1()), None),
        (ed25519.Ed25519PrivateKey.generate(), None),
        (ec.generate_private_key(ec.SECP256R1()), b"secret"),
    ],
    ids=["P-384", "P-521", "Ed25519", "encrypted"],
)
def test_other_keys_sign_as_well(checkpoint, tmp_path, key, password):
    private, public = write_pair(tmp_path, "key", key, password)
    sign(checkpoint, private, password=password)
    assert verify(checkpoint, public).good


def test_keys_that_cannot_be_used_are_told_apart(checkpoint, keys, tmp_path):
    rsa_key = write_pair(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    locked = write_pair(tmp_path, "locked", ec.generate_private_key(ec.SECP256R1()), b"secret")
    (tmp_path / "text").write_text("hello")
    said = {
        keys[1]: "is a public key, and only a private one signs",
        rsa_key[0]: "is a key of a kind that signs no models",
        locked[0]: "is encrypted",
        tmp_path / "text": "is no private key in PEM form",
        tmp_path / "none": "cannot be read: No such file or directory",
    }
    for path, what in said.items():
        with pytest.raises(CkptError) as caught:
            sign(checkpoint, path)
        assert caught.value.what == what
    with pytest.raises(CkptError, match="is a private key, which only the signer should have"):
        verify(checkpoint, keys[0])
    assert not (checkpoint / "model.sig").exists()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is not strict JSON"),
        ("{}", "has no dsseEnvelope, so it is no signature of a model made with a key"),
        ("[]", "is no signature of a model"),
        ('{"dsseEnvelope": {"payloadType": "text/plain"}}', "is no signature of a model"),
        (
            '{"dsseEnvelope": {"payloadType": "application/vnd.in-toto+json", "payload": "!"}}',
            "holds something that is not base64",
        ),
    ],
)
def test_what_is_no_signature_is_said_to_be_none(checkpoint, keys, text, what):
    (checkpoint / "model.sig").write_text(text)
    with pytest.raises(CkptError) as caught:
        verify(checkpoint, keys[1])
    assert caught.value.code == "signature.malformed"
    assert caught.value.what.startswith(what)


def test_a_checkpoint_without_signature_says_so(checkpoint, keys):
    with pytest.raises(CkptError, match="is not signed; sign it with its private key"):
        verify(checkpoint, keys[1])


def test_a_link_in_place_of_the_signature_is_not_followed(checkpoint, keys, tmp_path):
    sign(checkpoint, keys[0])
    (checkpoint / "model.sig").rename(tmp_path / "elsewhere")
    (checkpoint / "model.sig").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CkptError) as caught:
        verify(checkpoint, keys[1])
    assert caught.value.code == "signature.missing"


def model_signing(*words: object) -> bool:
    pytest.importorskip("model_signing", reason="model_signing is not installed")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "model_signing", *map(str, words)], capture_output=True, text=True
    )
    return done.returncode == 0


@pytest.mark.parametrize("network", [False, True])
def test_model_signing_verifies_what_is_signed_here(checkpoint, keys, others, network):
    sign(checkpoint, keys[0], network=network)
    given = (checkpoint, "--signature", checkpoint / "model.sig", "--public_key")
    assert model_signing("verify", "key", *given, keys[1])
    assert not model_signing("verify", "key", *given, others[1])
    flip(checkpoint / "weights.safetensors", -5)
    assert not model_signing("verify", "key", *given, keys[1])


def test_what_model_signing_signed_can_be_compressed_replaced_and_evaluated(checkpoint, keys, tmp_path):
    assert model_signing("sign", "key", checkpoint, "--signature", checkpoint / "model.sig", "--private_key", keys[0])
    signature = (checkpoint / "model.sig").read_bytes()
    assert compress(checkpoint, everything=True).changed == ("weights.safetensors",)
    assert (checkpoint / "model.sig").read_bytes() == signature
    assert verify(checkpoint, keys[1]).good
    edit(checkpoint)
    ckptfmt.convert(FOREIGN / "dueling-v2" / "dqn_best.pth", checkpoint, overwrite=True)
    assert ckptfmt.validate(checkpoint).valid


def test_what_model_signing_signs_is_verified_here(checkpoint, keys, others):
    (checkpoint / "README.md").write_text("# Pong\n")
    given = (checkpoint, "--signature", checkpoint / "model.sig", "--private_key", keys[0])
    assert model_signing("sign", "key", *given)
    assert verify(checkpoint, keys[1]).good
    assert not verify(checkpoint, others[1]).good
    edit(checkpoint)
    assert verify(checkpoint, keys[1]).reasons == ("manifest.json is not the one that was signed",)


def test_a_folder_for_a_hub_is_signed_by_the_name_that_its_weights_have_there(checkpoint, keys):
    (checkpoint / "weights.safetensors").rename(checkpoint / "model.safetensors")
    (checkpoint / ".cache").mkdir()
    (checkpoint / ".cache" / "download").write_text("left by a client of the hub")
    given = (checkpoint, "--signature", checkpoint / "model.sig", "--public_key", keys[1])
    for network in (True, False):
        covers = sign(checkpoint, keys[0], network=network, overwrite=True).covers
        assert covers == ("manifest.json", "model.safetensors")[network:]
        assert verify(checkpoint, keys[1], network=network).good
        assert model_signing("verify", "key", *given)
    (checkpoint / "model.safetensors").rename(checkpoint / "weights.safetensors")
    assert verify(checkpoint, keys[1]).good


def test_what_model_signing_signs_of_a_hub_folder_is_verified_here(checkpoint, keys):
    (checkpoint / "weights.safetensors").rename(checkpoint / "model.safetensors")
    (checkpoint / ".cache").mkdir()
    (checkpoint / ".cache" / "download").write_text("left by a client of the hub")
    assert model_signing("sign", "key", checkpoint, "--signature", checkpoint / "model.sig", "--private_key", keys[0])
    assert verify(checkpoint, keys[1]).good
    (checkpoint / ".cache" / "download").write_text("another")
    assert verify(checkpoint, keys[1]).reasons == (".cache/download is not the one that was signed",)
    shutil.rmtree(checkpoint / ".cache")
    assert verify(checkpoint, keys[1]).reasons == (".cache/download was signed and is missing",)
    (checkpoint / ".cache").symlink_to("/etc")
    assert verify(checkpoint, keys[1]).reasons == (".cache/download was signed and is missing",)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../b", "a//b", ".", "nul\0byte", "d/" * 40 + "x"])
def test_a_statement_about_what_lies_elsewhere_is_not_followed(checkpoint, keys, name):
    with ckptfmt.open(checkpoint) as opened:
        files = opened.manifest.files
        digests = {file: entry.sha256 for file, entry in files.items()}
    digests["manifest.json"] = hashlib.sha256((checkpoint / "manifest.json").read_bytes()).hexdigest()
    bundle = make_bundle(load_private(keys[0]), "ck", Statement({**digests, name: "0" * 64}, ()))
    (checkpoint / "model.sig").write_bytes(bundle)
    assert verify(checkpoint, keys[1]).reasons == (f"{name} was signed and lies outside of the folder",)


def test_names_that_no_signature_can_hold_are_refused_before_it_is_written(checkpoint, keys):
    odd = os.path.join(os.fsencode(checkpoint), b"\xff")
    os.close(os.open(odd, os.O_CREAT | os.O_WRONLY))
    with pytest.raises(CkptError) as caught:
        sign(checkpoint, keys[0])
    assert (caught.value.code, caught.value.fix) == ("signature.beside", "rename it, or take it out")
    os.unlink(odd)
    for number in range(10_000):
        (checkpoint / f"{number:0200}").touch()
    with pytest.raises(CkptError) as caught:
        sign(checkpoint, keys[0])
    assert caught.value.what == "holds 10,002 files, more than one signature names"
    assert not (checkpoint / "model.sig").exists()
