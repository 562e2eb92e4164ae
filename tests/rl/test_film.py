import os
import stat
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import imageio_ffmpeg
import numpy as np

from ckptfmt.errors import CkptError, TargetExists
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.envs.make import make_env
from ckptfmt.rl.film import filming


def catch(render_mode="rgb_array"):
    env = make_env(Environment(id="ckptfmt/Catch-v0", noop_max=0), render_mode=render_mode)
    env.reset(seed=1)
    return env


def shoot(env, path, pictures=1, **options):
    with filming(env, path, **options) as film:
        for _ in range(pictures):
            film()


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """Put a shell script in the place of ffmpeg."""

    def put(script):
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))

    return put


@pytest.mark.parametrize(("game", "frames", "seconds"), [("ALE/Pong-v5", 4, 2.0), ("ckptfmt/Catch-v0", 1, 3.0)])
def test_a_film_runs_as_fast_as_the_game(game, frames, seconds, tmp_path):
    env = make_env(Environment(id=game, noop_max=0), render_mode="rgb_array")
    env.reset(seed=1)
    shoot(env, tmp_path / "a.mp4", 30, frame_skip=frames)
    assert imageio_ffmpeg.count_frames_and_secs(tmp_path / "a.mp4") == (30, pytest.approx(seconds, abs=0.1))


def test_a_film_with_odd_sides_is_written(tmp_path):
    env = catch()
    env.render = lambda: np.zeros((31, 33, 3), np.uint8)
    shoot(env, tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("name", ["film", "v.foo", "dir/", "a.mkv"])
def test_only_an_mp4_is_filmed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CkptError) as caught, filming(catch(), name):
        raise AssertionError("the game began")
    assert str(caught.value) == f"{name}: is not the name of an MP4; give a name that ends in .mp4"
    assert os.listdir() == []


def test_a_place_that_takes_no_film_is_told_before_the_game(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CkptError) as caught, filming(catch(), "/proc/x.mp4"):
        raise AssertionError("the game began")
    assert str(caught.value) == "/proc/x.mp4: cannot be written: No such file or directory"


def test_a_film_that_is_there_is_replaced_only_when_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_bytes(b"mine")
    with pytest.raises(TargetExists) as caught, filming(catch(), "a.mp4"):
        raise AssertionError("the game began")
    assert str(caught.value) == "a.mp4: exists; add overwrite=True to replace it, or choose another name"
    shoot(catch(), "a.mp4", overwrite=True)
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


def test_of_a_game_that_was_stopped_no_film_is_left(tmp_path):
    env = catch()
    shown = iter([env.render()])

    def render():
        for picture in shown:
            return picture
        raise KeyboardInterrupt

    env.render = render
    with pytest.raises(KeyboardInterrupt):
        shoot(env, tmp_path / "a.mp4", 2)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "script", ["cat >/dev/null; echo '[mp4] disk full' >&2; exit 1", "echo 'disk full' >&2; exit 1"]
)
def test_what_ffmpeg_could_not_write_is_an_error(script, encoder, tmp_path, monkeypatch):
    encoder(script)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CkptError) as caught:
        shoot(catch(), "a.mp4", 100)
    assert str(caught.value) == "a.mp4: cannot be written: ffmpeg says 'disk full'"
    assert os.listdir() == ["ffmpeg"]


def test_pictures_that_make_no_film_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = catch()
    pictures = {
        "the environment gives no pictures of red, green and blue bytes": [None],
        "the environment gives pictures of several sizes": [np.zeros((8, size, 3), np.uint8) for size in (8, 16)],
        "no picture was shown": [],
    }
    for why, shown in pictures.items():
        env.render = iter(shown).__next__
        with pytest.raises(CkptError) as caught:
            shoot(env, "a.mp4", len(shown))
        assert str(caught.value) == f"a.mp4: cannot be written: {why}"
    assert os.listdir() == []


def test_an_encoder_that_dies_does_not_end_the_command():
    program = "import signal; from ckptfmt.cli.main import _listen_to_signals; _listen_to_signals(['play'])\n"
    program += "print(signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
