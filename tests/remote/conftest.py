"""Real stores for the tests; where one is not to be had, its tests say so."""

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.client
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="the extra remote is not installed")

import numpy

import ckptfmt
from ckptfmt.remote.address import parse
from ckptfmt.remote.failure import StoreError
from ckptfmt.remote.store import open_store
from tests.remote import servers
from tests.remote.proxy import Proxy


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory) -> Iterator[int]:
    try:
        with servers.seaweed(tmp_path_factory.mktemp("seaweed")) as port:
            yield port
    except FileNotFoundError as e:
        pytest.skip(f"not to be had here: {e}")


@pytest.fixture(scope="session")
def s3(seaweed) -> Iterator[int]:
    """The port of an S3, to which the environment of this process points."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in servers.s3_environment(seaweed).items():
            patch.setenv(name, value)
        yield seaweed


@pytest.fixture
def bucket(s3) -> str:
    """The URL of a bucket of the test's own."""
    return made(f"s3://b{uuid.uuid4().hex[:12]}")


def made(url: str) -> str:
    """Make a bucket: SeaweedFS does so when something is put into it, and a busy one knows of it a moment later."""
    store = open_store(parse(url))
    store.put("made", b"", "tests")
    for _ in range(100):
        with contextlib.suppress(StoreError):
            store.look("made")
            break
        time.sleep(0.05)
    return url


@pytest.fixture
def proxy(seaweed) -> Iterator[Proxy]:
    """A proxy before the S3."""
    between = Proxy(seaweed)
    try:
        yield between
    finally:
        between.close()


@pytest.fixture
def proxied(proxy, monkeypatch) -> str:
    """The URL of a bucket that is reached through the proxy."""
    for name, value in servers.s3_environment(proxy.port).items():
        monkeypatch.setenv(name, value)
    return made(f"s3://p{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def azure(tmp_path_factory) -> Iterator[str]:
    """The URL of a container of an Azure."""
    try:
        with servers.azurite(tmp_path_factory.mktemp("azurite")) as port, pytest.MonkeyPatch.context() as patch:
            patch.setenv("AZURE_STORAGE_ACCOUNT_NAME", servers.AZURE_ACCOUNT)
            patch.setenv("AZURE_STORAGE_ACCOUNT_KEY", servers.AZURE_KEY)
            patch.setenv("AZURE_STORAGE_ENDPOINT", f"http://127.0.0.1:{port}/{servers.AZURE_ACCOUNT}")
            make_container("tests", port)
            yield "az://tests"
    except FileNotFoundError as e:
        pytest.skip(f"not to be had here: {e}")


def make_container(name: str, port: int) -> None:
    """Make a container, by a request signed as Azure wants it."""
    when = datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": when, "x-ms-version": "2021-08-06"}
    account = servers.AZURE_ACCOUNT
    said = "".join(f"{key}:{value}\n" for key, value in headers.items())
    text = "PUT" + 12 * "\n" + f"{said}/{account}/{account}/{name}\nrestype:container"
    key = base64.b64decode(servers.AZURE_KEY)
    signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        headers |= {"Authorization": f"SharedKey {account}:{signature}", "Content-Length": "0"}
        connection.request("PUT", f"/{account}/{name}?restype=container", headers=headers)
        assert connection.getresponse().status == 201


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    """A certificate of localhost with its key, signed by itself."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A small checkpoint on the disk."""
    return make_checkpoint(tmp_path / "checkpoint")


def make_checkpoint(path: Path, seed: int = 0, kilobytes: int = 64, **options) -> Path:
    numbers = numpy.random.default_rng(seed)
    tensors = {f"layer.{i}.weight": numbers.standard_normal((kilobytes, 32), "f4") for i in range(8)}
    ckptfmt.save(path, tensors, training_info={"step": seed}, **options).close()
    return path


def ckpt(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "ckptfmt", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
    )
