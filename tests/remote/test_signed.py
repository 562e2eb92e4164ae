"""What was signed is verified where it lies: in a bucket, on a server, and before a weight of it is used."""

import shutil

import numpy
import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed")

import ckptfmt
from ckptfmt.errors import CkptError
from tests.remote import servers


@pytest.fixture
def signed(signing, checkpoint, certificate, monkeypatch):
    """A folder with the keys; the signed checkpoint is served from beside it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    ckptfmt.sign(checkpoint, signing / "private.pem")
    return signing


@pytest.mark.parametrize("weights", ["weights.safetensors", "model.safetensors"])
def test_a_signed_checkpoint_is_verified_at_its_url(signed, checkpoint, certificate, weights):
    (checkpoint / "weights.safetensors").rename(checkpoint / weights)
    with servers.files(checkpoint.parent, certificate=certificate) as url:
        found = ckptfmt.verify(f"{url}/checkpoint", signed / "public.pem")
        assert (found.good, found.reasons, found.unsigned) == (True, (), ())
        data = bytearray((checkpoint / weights).read_bytes())
        data[-1] ^= 1
        (checkpoint / weights).write_bytes(data)
        (reason,) = ckptfmt.verify(f"{url}/checkpoint", signed / "public.pem").reasons
        assert reason.endswith("layer.7.weight: bytes do not match the manifest")


def test_what_was_not_signed_is_told_at_a_url_too(signed, checkpoint, certificate, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "other")
    ckptfmt.save(tmp_path / "other", {"a": numpy.ones(2)}, overwrite=True).close()
    shutil.copy(checkpoint / "model.sig", tmp_path / "other")
    with servers.files(tmp_path, certificate=certificate) as url:
        reasons = ckptfmt.verify(f"{url}/other", signed / "public.pem").reasons
        assert reasons[0] == "manifest.json is not the one that was signed"
        (checkpoint / "model.sig").unlink()
        with pytest.raises(CkptError) as caught:
            ckptfmt.verify(f"{url}/checkpoint", signed / "public.pem")
        assert caught.value.code == "signature.missing"
        with pytest.raises(CkptError):
            ckptfmt.sign(f"{url}/checkpoint", signed / "private.pem")
    assert not (checkpoint / "model.sig").exists()
