from __future__ import annotations

BAD = ({"hardware": {"flavor": "l4x1", "nodes": 2, "ssh": True}, "env": {"HFT_RUN_ID": "mine", "A_B": "1"}}, "@weekly")
GOOD = ({"hardware": {"flavor": "l4x1"}, "env": {"A_B": "1"}}, "@weekly")
EXPECTED = [
    (
        "hardware.nodes",
        "a scheduled job is one job, and 2 nodes are as many jobs",
        'hardware=hft.Hardware(flavor="l4x1", ssh=True)',
    ),
    ("hardware.ssh", "scheduled jobs cannot be entered by SSH", 'hardware=hft.Hardware(flavor="l4x1", nodes=2)'),
    ("env.HFT_RUN_ID", "each run would continue the last one", "env={'A_B': '1'}"),
]
