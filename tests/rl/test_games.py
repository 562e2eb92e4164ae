"""The table of games against the emulator itself."""

import json
import subprocess
import sys

from ckptfmt.convert.games import actions_of

# Some games need two players, and the emulator ends its process for them.
_ASK = """
import json, ale_py, ale_py.roms as roms
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
found = {}
for name in roms.get_all_rom_ids():
    if name not in ("combat", "joust", "maze_craze", "warlords"):
        ale = ale_py.ALEInterface()
        ale.loadROM(roms.get_rom_path(name))
        found[name] = len(ale.getMinimalActionSet())
print(json.dumps(found))
"""


def test_each_game_has_as_many_actions_as_the_emulator_says():
    found = json.loads(subprocess.run([sys.executable, "-c", _ASK], capture_output=True, check=True).stdout)
    wrong = {name: n for name, n in found.items() if actions_of(name) != ((n, 18) if n < 18 else ())}
    assert wrong == {}
    assert len(found) > 90
