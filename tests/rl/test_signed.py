from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("cryptography", reason="cryptography is not installed")

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.store.write import update_manifest

FOREIGN = Path(__file__).resolve().parents[2] / "fixtures" / "foreign"


@pytest.fixture
def signed(signing) -> Path:
    ckptfmt.convert(FOREIGN / "dueling-v2" / "dqn_best.pth", signing / "ck")
    ckptfmt.sign(signing / "ck", signing / "private.pem")
    return signing


def test_a_signed_checkpoint_loads_with_the_public_key(signed):
    model, config, _ = ckptfmt.load_model_checkpoint(signed / "ck", verify=signed / "public.pem")
    assert config.get_architecture_name() == "dueling"
    assert not model.training


def test_what_is_not_what_was_signed_is_refused_before_a_weight_is_used(signed):
    update_manifest(signed / "ck", lambda manifest: replace(manifest, training_info={"frames": 1}))
    with pytest.raises(CkptError) as caught:
        ckptfmt.load_model_checkpoint(signed / "ck", verify=str(signed / "public.pem"))
    assert str(caught.value) == (
        f"{signed}/ck: is not what was signed with this key: manifest.json is not the one that was signed; "
        "get it again from who signed it"
    )


def test_no_weight_is_read_of_what_another_key_signed_or_nobody_did(signed, tmp_path):
    # Whoever reads the weights finds that they are none; whoever looks at the signature first does not come so far.
    (signed / "ck" / "weights.safetensors").write_bytes(bytes(64))
    update_manifest(signed / "ck", lambda manifest: replace(manifest, training_info={"frames": 1}))
    with pytest.raises(CkptError) as caught:
        ckptfmt.load_model_checkpoint(signed / "ck", verify=signed / "public.pem")
    assert caught.value.code == "signature.mismatch"
    (signed / "ck" / "model.sig").unlink()
    with pytest.raises(CkptError) as caught:
        ckptfmt.load_model_checkpoint(signed / "ck", verify=signed / "public.pem")
    assert caught.value.code == "signature.missing"
    with pytest.raises(CkptError) as caught:
        ckptfmt.load_model_checkpoint(signed / "ck", verify=tmp_path / "none.pem")
    assert (caught.value.code, caught.value.what) == ("signature.key", "cannot be read: No such file or directory")


def test_a_weight_that_was_changed_after_signing_is_found_as_it_is_read(signed):
    weights = signed / "ck" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CkptError, match=r"value_stream\.2\.weight: bytes do not match the manifest"):
        ckptfmt.load_model_checkpoint(signed / "ck", verify=signed / "public.pem")


def test_a_legacy_file_is_signed_by_nobody(signed):
    with pytest.raises(CkptError, match="is a legacy file, and only checkpoints are signed"):
        ckptfmt.load_model_checkpoint(FOREIGN / "dueling-v2" / "dqn_best.pth", verify=signed / "public.pem")
