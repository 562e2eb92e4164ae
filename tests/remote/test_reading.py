"""A checkpoint in a store reads as one on the disk does, and no more of it is fetched than is shown."""

import json

import numpy
import pytest

import ckptfmt
from ckptfmt.errors import CkptError, WeightsError
from ckptfmt.format.far import tombstone
from ckptfmt.format.manifest import Lineage
from ckptfmt.look.lineage import lineage
from ckptfmt.remote import store as stores
from ckptfmt.remote.address import parse
from ckptfmt.remote.store import open_store
from tests.remote import servers
from tests.remote.conftest import ckpt


def upload(folder, url):
    """Put the files of a folder into a bucket as any other tool would."""
    place = parse(url)
    for file in folder.iterdir():
        open_store(place).put(f"{place.key}/{file.name}", file.read_bytes(), "another tool")
    return url


def check_all_of(url, checkpoint):
    with ckptfmt.open(url) as far, ckptfmt.open(checkpoint) as near:
        assert far.manifest == near.manifest
        for name in near.names():
            assert numpy.array_equal(far.tensors[name], near.tensors[name])
        far.verify()
    assert ckptfmt.validate(url).problems == ()
    assert ckptfmt.validate(url, deep=False).problems == ()
    assert ckptfmt.diff(url, checkpoint).same
    assert ckptfmt.summarize(url).totals == ckptfmt.summarize(checkpoint).totals


def test_a_checkpoint_in_a_bucket_reads_as_on_the_disk(bucket, checkpoint):
    check_all_of(upload(checkpoint, f"{bucket}/run/best"), checkpoint)


def test_a_checkpoint_in_a_container_of_azure_reads_as_on_the_disk(azure, checkpoint):
    check_all_of(upload(checkpoint, f"{azure}/run/best"), checkpoint)


def test_a_checkpoint_on_a_server_with_ranges_reads_as_on_the_disk(checkpoint, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with servers.files(checkpoint.parent, certificate=certificate) as url:
        check_all_of(f"{url}/checkpoint", checkpoint)


def test_a_file_url_is_a_path_of_this_machine(checkpoint):
    check_all_of(f"file://{checkpoint}", checkpoint)


def test_a_compressed_checkpoint_in_a_bucket_reads_as_on_the_disk(bucket, tmp_path):
    folder = tmp_path / "compressed"
    ckptfmt.save(folder, {"a": numpy.zeros((512, 1024), "f4"), "b": numpy.arange(9.0)}, compress=True).close()
    assert (folder / "weights.safetensors.zst").exists()
    check_all_of(upload(folder, f"{bucket}/c"), folder)


def test_weights_called_as_on_the_hub_are_found_in_a_bucket(bucket, checkpoint):
    (checkpoint / "weights.safetensors").rename(checkpoint / "model.safetensors")
    check_all_of(upload(checkpoint, f"{bucket}/c"), checkpoint)


def test_a_tensor_is_read_by_one_request_beside_that_of_the_manifest(proxied, proxy, tmp_path):
    folder = tmp_path / "large"
    tensors = {f"t{i}": numpy.full((1024, 4096), i, "f4") for i in range(4)}
    ckptfmt.save(folder, tensors).close()
    upload(folder, f"{proxied}/large")
    proxy.seen.clear()
    with ckptfmt.open(f"{proxied}/large") as checkpoint:
        assert checkpoint.tensors["t2"][5, 7] == 2
    files = [path.rpartition("/")[2] for method, path in proxy.seen]
    assert files == ["manifest.json", "weights.safetensors"]


def test_what_a_command_shows_is_all_that_it_reads(proxied, proxy, checkpoint):
    upload(checkpoint, f"{proxied}/c")
    proxy.seen.clear()
    assert ckptfmt.summarize(f"{proxied}/c").totals["tensors"] == 8
    assert [path.rpartition("/")[2] for method, path in proxy.seen] == ["manifest.json"]


def test_a_walk_through_a_file_of_many_tensors_is_few_requests(proxied, proxy, tmp_path):
    folder = tmp_path / "many"
    ckptfmt.save(folder, {f"t{i:03}": numpy.full(2000, i, "f4") for i in range(400)}).close()
    upload(folder, f"{proxied}/many")
    proxy.seen.clear()
    assert ckptfmt.validate(f"{proxied}/many").valid
    assert len(proxy.seen) < 12


@pytest.mark.parametrize("position", [9, 2000, -1])
def test_a_flipped_bit_is_found_and_the_tensor_named(bucket, checkpoint, position):
    file = checkpoint / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[position] ^= 4
    file.write_bytes(data)
    url = upload(checkpoint, f"{bucket}/c")
    report = ckptfmt.validate(url)
    assert report.problems == ckptfmt.validate(checkpoint).problems
    assert not report.valid
    with ckptfmt.open(url) as opened, pytest.raises(WeightsError):
        opened.verify()


def test_a_truncated_file_is_an_error(bucket, checkpoint):
    file = checkpoint / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    url = upload(checkpoint, f"{bucket}/c")
    assert "weights.size" in [problem.code for problem in ckptfmt.validate(url).problems]
    with ckptfmt.open(url) as opened, pytest.raises(WeightsError):
        [opened.read(name) for name in opened.names()]


def test_what_does_not_belong_there_is_told(bucket, checkpoint):
    (checkpoint / "other.safetensors").write_bytes(b"x")
    url = upload(checkpoint, f"{bucket}/c")
    assert [problem.code for problem in ckptfmt.validate(url).problems] == ["layout.unlisted-weights"]


def test_a_url_without_a_checkpoint_is_an_error_with_exit_code_2(bucket, checkpoint):
    upload(checkpoint, f"{bucket}/something")
    done = ckpt("validate", f"{bucket}/nothing")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {bucket}/nothing: there is no checkpoint at this URL, manifest.json is missing; check the URL\n"
    )


def test_a_store_that_is_not_there_is_an_error_with_exit_code_2():
    done = ckpt("inspect", "http://127.0.0.1:1/x")
    assert done.returncode == 2
    assert done.stderr == (
        "error: http://127.0.0.1:1/x/manifest.json: the store cannot be reached; "
        "check the network and the endpoint in the environment\n"
    )


@pytest.mark.parametrize(
    ("url", "environment", "said"),
    [
        ("az://c/x", {}, "az://c/x: no storage account is named; set AZURE_STORAGE_ACCOUNT_NAME"),
        (
            "az://c/x",
            {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": "!no key"},
            "az://c/x: these credentials cannot be used; "
            "check the keys in the environment or in the files of the provider's tools",
        ),
        (
            "gs://b/x",
            {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/key.json"},
            "gs://b/x: these credentials cannot be used; "
            "check the keys in the environment or in the files of the provider's tools",
        ),
    ],
)
def test_keys_that_are_missing_or_none_are_told(monkeypatch, url, environment, said):
    monkeypatch.setattr(stores, "_OPEN", {})
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CkptError) as caught:
        ckptfmt.open(url)
    assert str(caught.value) == said


def test_a_server_without_ranges_is_told(checkpoint):
    with (
        servers.files(checkpoint.parent, ranges=False) as url,
        ckptfmt.open(f"{url}/checkpoint") as opened,
        pytest.raises(CkptError) as caught,
    ):
        opened.read("layer.3.weight")
    assert caught.value.code == "remote.ranges"


def test_commands_that_look_take_urls(bucket, checkpoint):
    url = upload(checkpoint, f"{bucket}/c")
    assert json.loads(ckpt("inspect", url, "--stats", "--json").stdout)["result"]["totals"]["tensors"] == 8
    assert ckpt("validate", url).stdout.endswith("1 checkpoint, valid\n")
    assert ckpt("diff", url, str(checkpoint)).returncode == 0
    assert ckpt("lineage", url).returncode == 0


def test_commands_that_change_refuse_a_url_and_change_nothing(bucket, tmp_path, monkeypatch):
    checkpoint = tmp_path / "zeros"
    ckptfmt.save(checkpoint, {"a": numpy.zeros(100_000)}).close()
    url = upload(checkpoint, f"{bucket}/c")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for words in (["compress", url], ["repair", url, "--in-place"], ["sign", url, "--key", str(checkpoint)]):
        assert ckpt(*words).returncode == 2
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "url",
    ["s3://key:secret@bucket/x", "https://host/x?X-Amz-Signature=5ec4e7", "az://c/x?sig=5ec4e7", "s3://b/x#5ec4e7"],
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(url):
    done = ckpt("inspect", url, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "remote.url"
    assert not any(secret in done.stdout + done.stderr for secret in ("secret@", "5ec4e7"))


def test_a_url_that_was_made_a_path_is_told(tmp_path):
    import pathlib

    with pytest.raises(CkptError, match="is a URL that was turned into a path, which dropped a slash"):
        ckptfmt.open(pathlib.Path("s3://bucket/run"))
    with pytest.raises(CkptError, match="is a URL that was turned into a path, which dropped a slash"):
        ckptfmt.save(pathlib.Path("s3://bucket/run"), {"a": numpy.zeros(2)})


def test_a_checkpoint_that_lost_a_file_is_told(bucket, checkpoint):
    (checkpoint / "weights.safetensors").unlink()
    url = upload(checkpoint, f"{bucket}/c")
    assert [problem.code for problem in ckptfmt.validate(url).problems] == ["layout.missing-file"]
    with ckptfmt.open(url) as opened, pytest.raises(WeightsError, match="is missing"):
        opened.read("layer.3.weight")


def test_without_the_package_the_extra_is_named(tmp_path):
    (tmp_path / "obstore.py").write_text("raise ImportError(name='obstore')")
    done = ckpt("inspect", "s3://bucket/x", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        'error: a URL of a store needs obstore, which is not installed; run: pip install "ckptfmt[remote]"\n'
    )


def test_nothing_of_it_is_imported_for_a_path(checkpoint):
    import subprocess
    import sys

    text = (
        "import sys, ckptfmt; ckptfmt.validate(sys.argv[1]); ckptfmt.open(sys.argv[1]).verify();"
        "print(sorted({'obstore', 'huggingface_hub', 'ckptfmt.remote.store'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", text, str(checkpoint)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_keys_of_the_tools_of_aws_are_found(seaweed, checkpoint, tmp_path, s3, bucket):
    url = upload(checkpoint, f"{bucket}/c")
    (tmp_path / "credentials").write_text(
        f"[lab]\naws_access_key_id = {servers.KEY}\naws_secret_access_key = {servers.SECRET}\n"
    )
    (tmp_path / "config").write_text(f"[profile lab]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:{seaweed}\n")
    done = ckpt(
        "validate", url,
        AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_ENDPOINT_URL="", AWS_REGION="", AWS_PROFILE="lab",
        AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"), AWS_CONFIG_FILE=str(tmp_path / "config"),
    )  # fmt: skip
    assert done.stdout.endswith("1 checkpoint, valid\n"), done.stderr


def test_a_forked_child_is_told_instead_of_hanging(bucket, checkpoint):
    import os

    url = upload(checkpoint, f"{bucket}/c")
    child = os.fork()
    if child == 0:
        try:
            ckptfmt.open(url)
        except CkptError as e:
            os._exit(7 if e.code == "remote.forked" else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_parents_are_found_beside_a_checkpoint_in_a_bucket_and_below_a_folder_that_is_named(bucket):
    root, parent = f"{bucket}/run", None
    for step, place in enumerate(["old/a", "new/b", "new/c"]):
        line = Lineage(kind="resumed", parent=parent)
        with ckptfmt.save(f"{root}/{place}", {"w": numpy.full(3, step, "f4")}, lineage=line) as checkpoint:
            parent = checkpoint.manifest.manifest_digest
    beside = lineage(f"{root}/new/c")
    assert [node.path for node in beside.nodes] == [f"{root}/new/c", f"{root}/new/b", None]
    named = ckpt("lineage", f"{root}/new/c", "--in", root)
    assert named.returncode == 0, named.stderr
    assert [line.split("/")[-1].split()[0] for line in named.stdout.splitlines()] == ["c", "b", "a"]


def test_a_pattern_names_many_checkpoints_of_a_bucket_and_no_upload_that_was_not_finished(bucket):
    root = f"{bucket}/run"
    for name in ("step-1", "step-2", "best", "deep/step-3"):
        ckptfmt.save(f"{root}/{name}", {"w": numpy.ones(3, "f4")}).close()
    place = parse(root)
    open_store(place).put(f"{place.key}/step-4/manifest.json", tombstone("0123456789abcdef"), "dead")
    done = ckpt("validate", "--fast", f"{root}/step-*")
    verdict = "2 checkpoints, all valid; only manifests and headers were read"
    assert (done.returncode, done.stdout) == (0, f"✓ {root}/step-1\n✓ {root}/step-2\n{verdict}\n")
    found = json.loads(ckpt("validate", f"{root}/*", "--json").stdout)["result"]
    assert [one["path"].removeprefix(root) for one in found["checkpoints"]] == ["/best", "/step-1", "/step-2"]
    assert found["counts"] == {"checkpoints": 3, "invalid": 0, "warnings": 0, "problems": 0}
    lines = ckpt("inspect", f"{root}/*/step-*", f"{root}/best", "--line").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [f"{root}/deep/step-3", f"{root}/best"]
    none = ckpt("inspect", f"{root}/nothing-*", "--line")
    text = f"error: {root}/nothing-*: there is no checkpoint at this URL, manifest.json is missing; check the URL\n"
    assert (none.returncode, none.stdout, none.stderr) == (2, "", text)
