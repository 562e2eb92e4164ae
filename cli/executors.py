"""Executors on other machines, by their addresses."""

from concurrent.futures import Executor

import click

from ckptfmt.errors import CkptError, missing_package

__all__ = ["connect"]

_DASK = "dask://"
# Seconds for a scheduler to answer: far more than a busy one takes, and a wrong address is still told soon.
_SECONDS = 20


def connect(address: str) -> Executor:
    """Return the executor at an address such as `dask://host:8786`; raise `CkptError` where nobody answers."""
    host = address.removeprefix(_DASK)
    if host == address or not host.rpartition(":")[2].isdecimal():
        raise click.BadParameter(f"'{address}' is not {_DASK}HOST:PORT", param_hint="--executor")
    try:
        from distributed import Client
    except ImportError as e:
        raise missing_package(e, "an executor of Dask") or e from None
    try:
        client = Client(f"tcp://{host}", timeout=_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as e:
        what, fix = f"no scheduler of Dask answers: {type(e).__name__}", "check that it runs and can be reached"
        raise CkptError(what, where=address, fix=fix, code="convert.no-workers") from None
    # Each chunk is another, also where two are alike; what becomes of a lost one is decided here.
    executor: Executor = client.get_executor(pure=False, retries=0)
    return executor
