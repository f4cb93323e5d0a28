"""corral-simulator: pools of simulated XenServer hosts that speak XenAPI over HTTP.

`World` (world.py) is the core: pure, synchronous, told the time by a clock handed in, and all that
is still to happen is data, so it can be saved and loaded. `Simulator` (simulator.py) is the skin:
one listener per host and a thread that wakes when the next thing is due.

    simulator = Simulator(default_spec(hosts=4, vms=24), speed=60)
    simulator.start()
    simulator.hosts   # [("h1", "http://127.20.0.1:41234"), ...]
    simulator.login   # ("root", "corral-sim")
    simulator.stop()

Without HTTP, on a clock that is set: `direct_world(spec)` and `DirectClient` (direct.py).
Imports nothing of ours. See doc/simulator.md; start reading at world.py.
"""

from agent.simulator.direct import DirectClient, direct_world
from agent.simulator.failure import Dropped, Failure, WorldError
from agent.simulator.simulator import Simulator
from agent.simulator.spec import WorldSpec, default_spec, load_spec
from agent.simulator.world import World

__all__ = ["DirectClient", "Dropped", "Failure", "Simulator", "World", "WorldError", "WorldSpec", "default_spec",
           "direct_world", "load_spec"]
