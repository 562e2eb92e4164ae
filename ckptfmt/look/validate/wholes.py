"""Hold tensors that lie in slices against what the manifest says they are whole."""

from collections.abc import Iterator, Mapping

from ckptfmt.errors import Problem, WeightsError, printable
from ckptfmt.format.files import OpenFolder
from ckptfmt.format.joined import pieces
from ckptfmt.format.manifest import FileEntry, SplitEntry
from ckptfmt.store.datafiles import DataFiles
from ckptfmt.store.slices import whole_digest

__all__ = ["unlike_whole"]


def unlike_whole(
    folder: OpenFolder, files: Mapping[str, FileEntry], split: Mapping[str, SplitEntry]
) -> Iterator[Problem]:
    """Yield each tensor whose slices, sound as they are, make another one than `split` says."""
    data = DataFiles(folder, files, "")
    try:
        for plain, entry in split.items():
            found = pieces(files, plain)
            for name, whole in entry.tensors.items():
                if whole_digest(tuple(whole.shape), found[name], data, whole.digest) != whole.digest:
                    message = "its slices are intact, but together they are not the tensor that the manifest lists"
                    yield Problem("weights.split", f"{plain} {printable(name)}", message, "re-save the checkpoint")
    except WeightsError as e:  # a file was exchanged since it was checked
        yield Problem.of(e)
    finally:
        data.close()
