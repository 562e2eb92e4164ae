"""A film of what an environment renders."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Self

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from ckptfmt.errors import CkptError, printable
from ckptfmt.rl.envs.make import Env
from ckptfmt.store.write.newfile import write_new

__all__ = ["filming"]

_SUFFIX = ".mp4"
_FRAMES_PER_SECOND = 60


@contextlib.contextmanager
def filming(
    env: Env, path: str | os.PathLike[str], frame_skip: int = 1, *, overwrite: bool = False
) -> Iterator[Callable[[], None]]:
    """Give what adds the picture of now to an MP4, which gets its name once the block ends without an error.

    Raises `CkptError` before the block for a name that is no MP4's and for a place where none can be written,
    `TargetExists` where there is something and `overwrite` is not given.
    """
    where = os.fspath(path)
    if not where.lower().endswith(_SUFFIX):
        fix = f"give a name that ends in {_SUFFIX}"
        raise CkptError("is not the name of an MP4", where=where, fix=fix, code="record.file")
    # The emulator says that it shows 30 pictures a second, and the console that it is made 60.
    emulated = hasattr(env.unwrapped, "ale")
    shown = _FRAMES_PER_SECOND if emulated else env.metadata.get("render_fps", _FRAMES_PER_SECOND)
    with write_new(where, overwrite=overwrite) as staged, _Encoder(where, staged, shown / max(1, frame_skip)) as film:
        yield lambda: film.add(np.asarray(env.render()))


class _Encoder:
    """A process of ffmpeg that is fed pictures: finished where the block ends, killed where it raises."""

    def __init__(self, where: str, staged: str, fps: float) -> None:
        self._where, self._staged, self._fps = where, staged, fps
        self._process: subprocess.Popen[bytes] | None = None
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        try:
            self._program = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError:
            fix = "install it, or name it with the variable IMAGEIO_FFMPEG_EXE"
            raise CkptError("needs the program ffmpeg", where=self._where, fix=fix, code="record.file") from None
        # A file, since nobody would empty a pipe while pictures are written.
        self._said = tempfile.TemporaryFile()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._said:
            if kind is None:
                self._finish()
            elif self._process is not None:
                self._process.kill()
                # What is left in its pipe goes nowhere.
                with contextlib.suppress(OSError):
                    self._process.communicate()

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Add a picture (height, width, 3)."""
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise self._failure("the environment gives no pictures of red, green and blue bytes")
        if self._process is None:
            self._shape, self._process = picture.shape, self._start(*picture.shape[:2])
        if picture.shape != self._shape:
            raise self._failure("the environment gives pictures of several sizes")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(picture.tobytes())
        except BrokenPipeError:
            raise self._ended(self._process) from None

    def _start(self, height: int, width: int) -> "subprocess.Popen[bytes]":
        rate = str(Fraction(self._fps).limit_denominator(100_000))
        pictures = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
        # H.264 halves the colours of both sides.
        even = ["-vf", "scale=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
        words = [self._program, "-y", "-v", "error", *pictures, *even, "-f", "mp4", self._staged]
        # In a group of its own: Ctrl-C is for who feeds it.
        return subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._said, process_group=0
        )

    def _finish(self) -> None:
        if self._process is None:
            raise self._failure("no picture was shown")
        try:
            self._process.communicate()
        except BrokenPipeError:
            raise self._ended(self._process) from None
        if self._process.returncode:
            raise self._ended(self._process)

    def _ended(self, process: "subprocess.Popen[bytes]") -> CkptError:
        """Return the error for an ffmpeg that ended too early, with the last that it said."""
        status = process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        said = lines[-1].rpartition("] ")[2] if lines else f"it ended with {status}"
        return self._failure(f"ffmpeg says '{printable(said, 200)}'")

    def _failure(self, why: str) -> CkptError:
        return CkptError(f"cannot be written: {why}", where=self._where, code="record.file")
