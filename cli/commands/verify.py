"""ckpt verify: is this what was signed."""

import click

from ..complete import checkpoints
from ..options import argument, command, exit_zero, option
from ..output import Output

__all__ = ["verify"]


@command(
    examples=[
        "ckpt verify runs/pong/best --key public.pem",
        "ckpt verify runs/pong/best --key public.pem --network",
    ]
)
@argument(
    "path", "A checkpoint with its model.sig.", metavar="CHECKPOINT", type=click.Path(), shell_complete=checkpoints
)
@option("--key", required=True, type=click.Path(), metavar="FILE", help="The public key of the signer, as PEM.")
@option("--network", is_flag=True, help="Accept a signature of the weights alone.")
@option("--signature", type=click.Path(), metavar="FILE", help="The signature, if it is not in the folder.")
@exit_zero
def verify(output: Output, path: str, key: str, network: bool, signature: str | None) -> int:
    """Check the signature of a checkpoint.

    Exit 0 if the signature is good, 1 if not, 2 if that cannot be checked.
    """
    # A guest of this command alone: its help is there without it.
    from ckptfmt.share.sign import verify as verify_checkpoint

    found = verify_checkpoint(path, key, network=network, signature=signature)
    output.result(found.to_dict())
    output.line(output.sign("good" if found.good else "bad"), " ", path)
    for reason in found.reasons:
        output.line("    ", reason)
    if found.good:
        output.line("    signed with the key sha256 ", f"{found.key[:16]}: ", ", ".join(found.covers))
    for name in found.unsigned:
        output.warning(f"{name} lies in the folder and is not signed")
    return 0 if found.good else 1
