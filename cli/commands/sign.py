"""ckpt sign: vouch for it."""

import os

import click

from ..complete import checkpoints
from ..options import argument, command, option
from ..output import Output

__all__ = ["sign"]

_PASSWORD = "CKPT_KEY_PASSWORD"


@command(
    examples=[
        "ckpt sign runs/pong/best --key private.pem",
        "ckpt sign runs/pong/best --key private.pem --network --force",
    ]
)
@argument("path", "A checkpoint.", metavar="CHECKPOINT", type=click.Path(), shell_complete=checkpoints)
@option("--key", required=True, type=click.Path(), metavar="FILE", help="The private key, P-256 or Ed25519, as PEM.")
@option(
    "--network",
    is_flag=True,
    help="Sign only the weights, so that the signature stays valid when evaluations are added.",
)
@option("--force", "overwrite", is_flag=True, help="Replace a signature that is there.")
def sign(output: Output, path: str, key: str, network: bool, overwrite: bool) -> int:
    """Sign a checkpoint with a private key.

    The signature is written to model.sig in the folder; the tool model_signing can verify it too. The password of an
    encrypted key is read from the environment variable CKPT_KEY_PASSWORD.
    """
    # A guest of this command alone: its help is there without it.
    from ckptfmt.share.sign import sign as sign_checkpoint

    password = os.environ.get(_PASSWORD)
    secret = None if password is None else password.encode()
    signature = sign_checkpoint(path, key, password=secret, network=network, overwrite=overwrite)
    output.result(signature.to_dict())
    output.line("signed  ", ", ".join(signature.covers))
    output.line("key     ", f"sha256 {signature.key[:16]}")
    output.line("wrote   ", os.path.join(path, signature.file))
    return 0
