"""The labels by which this package and the Hub find a job again; a spec cannot set them."""

from __future__ import annotations

SPEC_LABEL, INPUTS_LABEL = "spec", "inputs"
"""By which identical runs are found: digests of the spec, and of what it was resolved to."""
RUN_LABEL, RESUMES_LABEL = "run", "resumes"
"""By which the jobs of one run are found: its ``HFT_RUN_ID``, and the job that this one resumes."""
SUBMIT_LABEL = "submit-id"
"""By which a submission is found again: fresh for each, and on every job of that submission."""
GROUP_LABEL, RANK_LABEL, NODES_LABEL = "node-group", "node-rank", "nodes"
"""Of a node: its network group, which cannot be asked for otherwise, its rank, and how many there are."""
OUR_LABELS = frozenset(
    {"sdk", "method", "group", "name", SPEC_LABEL, INPUTS_LABEL, RUN_LABEL, RESUMES_LABEL, SUBMIT_LABEL}
    | {GROUP_LABEL, RANK_LABEL, NODES_LABEL}
)
"""All of them; ``name`` is the Hub's."""
RUN_ID = "HFT_RUN_ID"
"""Environment variable by which a script continues a run."""
