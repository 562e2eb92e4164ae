import pytest

from ckptfmt.errors import UnsupportedVersion
from ckptfmt.format.versions import FORMAT_VERSION, NEWEST, check_version


def test_our_own_version_is_read_and_a_newer_minor_is_known_to_be_newer():
    assert check_version(FORMAT_VERSION, where="m") is False
    assert check_version(NEWEST, where="m") is False
    assert check_version("1.7", where="m") is True


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("2.0", "m: format_version is 2.0, this ckpt reads 1.x; install a newer ckptfmt"),
        ("0.9", "m: format_version is 0.9, this ckpt reads 1.x; upgrade it with an older ckptfmt first"),
        ("1", "m: format_version is '1', which is no version; this ckpt reads 1.x"),
        (1.0, "m: format_version is '1.0', which is no version; this ckpt reads 1.x"),
        ("1.0\n", "m: format_version is '1.0\\x0a', which is no version; this ckpt reads 1.x"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(version, sentence):
    with pytest.raises(UnsupportedVersion) as caught:
        check_version(version, where="m")
    assert str(caught.value) == sentence
