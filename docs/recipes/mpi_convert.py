"""Convert a folder of old checkpoints on the ranks of an MPI job.

    pip install ckptfmt mpi4py
    mpiexec -n 65 python -m mpi4py.futures mpi_convert.py old converted

Rank 0 hands out the files, the others convert them. Where a rank dies MPI ends all of them: run it again, and what is
converted already is left as it is.
"""

import sys
from contextlib import closing
from pathlib import Path

from mpi4py.futures import MPIPoolExecutor

import ckptfmt

if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    items = [(str(file), str(out / file.relative_to(source).with_suffix(""))) for file in sorted(source.rglob("*.pt*"))]
    failed = 0
    with MPIPoolExecutor() as executor, closing(ckptfmt.convert_many(items, executor=executor)) as outcomes:
        for outcome in outcomes:
            if outcome.error is not None:
                failed += 1
                sys.stdout.write(f"{outcome.item.source}: {outcome.error['what']}\n")
    sys.exit(bool(failed))
