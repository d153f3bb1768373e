from __future__ import annotations
import sys, json
sys.path.insert(0,"/tmp")
from pathlib import Path
import pytest
import hfjobs_trainer as hft
from tests.e2e.methods import Inputs, Warm
from try_shapes import CASES
@pytest.mark.parametrize("name", [n for n in CASES if n not in ("unknown","gkd")])
def test_shape(name, inputs: Inputs, warm: Warm, tmp_path: Path):
    m, rows = CASES[name]
    place = tmp_path/"rows.jsonl"
    place.write_text("".join(json.dumps(r)+"\n" for r in rows*4))
    more={"grpo":{"reward_funcs":"think_format_reward","num_generations":2,"max_completion_length":4}}.get(m,{})
    spec = dict(method=m, model=str(inputs.model), dataset=str(place), max_steps=1, per_device_train_batch_size=2, tracking={"report_to":"none"}, **more)
    done = warm.run(m, {k:v for k,v in spec.items() if k!="method"}, tmp_path/"x")
    assert done.named("end")[0]["step"]==1
    print((tmp_path/"x/script.py").read_text().split("dataset = load_dataset")[1][:1200])
