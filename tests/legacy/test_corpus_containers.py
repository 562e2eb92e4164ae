import gzip
import json

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy.open import read

CONTAINERS = {
    "torch-zip": "torch-zip",
    "torch-legacy": "torch-stream",
    "sb3-zip": "sb3-zip",
    "gzip": "gzip+torch-zip",
    "tar": "tar+torch-zip",
    "pickle": "pickle",
    "torchscript-zip": "torchscript-zip",
}
REFUSED = {
    "variants/git-lfs-pointer.pth": "source.lfs-pointer",
    "variants/zero-byte.pth": "source.empty",
    "variants/truncated-zip.pth.gz": "source.truncated",
    "variants/truncated-legacy.pth.gz": "source.truncated",
    "variants/missing-storage-record.pth.gz": "source.damaged",
    "variants/bitflip-in-storage.pth.gz": "source.crc",
    "variants/calls-eval.pth.gz": "source.unsafe",
    "variants/calls-print.pth.gz": "source.unsafe",
}


def test_every_file_of_the_corpus_opens_or_is_refused_as_it_should_be(corpus, tmp_path):
    wrong = []
    for entry in json.loads((corpus / "INDEX.json").read_text()):
        path = corpus / entry["file"]
        if entry["compressed"]:
            path = tmp_path / "unpacked.pth"
            path.write_bytes(gzip.decompress((corpus / entry["file"]).read_bytes()))
        try:
            with read(path) as file:
                assert (file.source.sha256, file.source.bytes) == (entry["sha256"], entry["bytes"])
                found = file.container
        except SourceError as e:
            found = e.code
        if found != REFUSED.get(entry["file"], CONTAINERS.get(entry["container"])):
            wrong.append((entry["file"], found))
    assert wrong == []


@pytest.mark.parametrize("name", ["variants/git-lfs-pointer.pth", "variants/zero-byte.pth"])
def test_what_is_refused_is_refused_in_one_line(corpus, name):
    with pytest.raises(SourceError) as error:
        read(corpus / name)
    assert str(error.value).startswith(f"{corpus / name}: is ")
    assert "\n" not in str(error.value)
