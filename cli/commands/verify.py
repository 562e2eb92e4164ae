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
@argument("path", "A checkpoint with its model.sig.", type=click.Path(), shell_complete=checkpoints)
@option("--key", required=True, type=click.Path(), metavar="FILE", help="The public key of who signed it, as PEM.")
@option("--network", is_flag=True, help="Be content where the weights alone were signed.")
@option("--signature", type=click.Path(), metavar="FILE", help="The signature, where it lies elsewhere.")
@exit_zero
def verify(output: Output, path: str, key: str, network: bool, signature: str | None) -> int:
    """Check that a checkpoint is what was signed.

    Exit 0 where it is, 1 where it is not, 2 where that cannot be looked at.
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
