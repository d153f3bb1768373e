from __future__ import annotations

BAD = {"hardware": {"nodes": 2}}
GOOD = {"hardware": {"nodes": 1}}
BACKEND = "local"
EXPECTED = [("hardware.nodes", "this machine is 1 node, not 2", "hardware=hft.Hardware(nodes=1)")]
