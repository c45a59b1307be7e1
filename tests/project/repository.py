"""The repository, what its pyproject.toml says, and the floors of its rooms."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

HOUSE = tomllib.loads((ROOT / "tests" / "project" / "rooms.toml").read_text())
FLOORS = HOUSE["planner"] + HOUSE["io"]
"""The rooms of each floor, from the ground up; a module imports from its own and those below."""

FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
