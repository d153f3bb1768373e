"""Request schemas, and a strict validator whose words are those of zod's ``prettifyError``, as in the Hub's own 400s.

The schemas follow the Hub's public OpenAPI document (snapshot of 2026-08-18), with ``network`` as the client sends it.
"""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]

UNLISTED_FLAVORS = ["sprx8", "zero-a10g", "inf2x6"]
"""Accepted in requests, absent from the public hardware list."""

# name | pretty name | vCPU | RAM GB | disk GB | GPUs, model, GB of all | $/h
_HARDWARE = """
cpu-basic|CPU Basic|2|16|50||0.01
cpu-upgrade|CPU Upgrade|8|32|50||0.03
cpu-performance|CPU Performance|32|256|1024||1.9
cpu-xl|CPU XL|16|124|1000||1
t4-small|Nvidia T4 - small|4|15|50|1 T4 16|0.4
t4-medium|Nvidia T4 - medium|8|30|100|1 T4 16|0.6
a10g-small|Nvidia A10G - small|4|15|110|1 A10G 24|1
a10g-large|Nvidia A10G - large|12|46|200|1 A10G 24|1.5
a10g-largex2|2x Nvidia A10G - large|24|92|1000|2 A10G 48|3
a10g-largex4|4x Nvidia A10G - large|48|184|2000|4 A10G 96|5
a100-large|Nvidia A100 - large|12|142|1000|1 A100 80|2.5
a100x4|4x Nvidia A100|48|568|4000|4 A100 320|10
a100x8|8x Nvidia A100|96|1136|8000|8 A100 640|20
h200|Nvidia H200|23|256|3000|1 H200 141|5
h200x2|Nvidia H200|46|512|6000|2 H200 282|10
h200x4|Nvidia H200|92|1024|12000|4 H200 564|20
h200x8|Nvidia H200|184|2048|24000|8 H200 1128|40
rtx-pro-6000|Nvidia RTX PRO 6000|23|256|475|1 RTX_PRO_6000 96|2.75
rtx-pro-6000x2|Nvidia RTX PRO 6000|46|512|950|2 RTX_PRO_6000 192|5.5
rtx-pro-6000x4|Nvidia RTX PRO 6000|92|1024|1900|4 RTX_PRO_6000 384|11
rtx-pro-6000x8|Nvidia RTX PRO 6000|184|2048|3800|8 RTX_PRO_6000 768|22
l4x1|1x Nvidia L4|8|30|400|1 L4 24|0.8
l4x4|4x Nvidia L4|48|186|3200|4 L4 96|3.8
l40sx1|1x Nvidia L40S|8|62|380|1 L40S 48|1.8
l40sx4|4x Nvidia L40S|48|382|3200|4 L40S 192|8.3
l40sx8|8x Nvidia L40S|192|1534|6500|8 L40S 384|23.5
"""


def _read_hardware(row: str) -> dict[str, Any]:
    name, pretty, cpu, ram, disk, gpus, hourly = row.split("|")
    micro_usd = round(float(hourly) * 1e6 / 60)
    accelerator = None
    if gpus:
        quantity, model, memory = gpus.split()
        accelerator = {
            "type": "gpu",
            "model": model.replace("_", " "),
            "quantity": quantity,
            "vram": f"{memory} GB",
            "manufacturer": "Nvidia",
        }
    return {
        "name": name,
        "prettyName": pretty,
        "cpu": f"{cpu} vCPU",
        "ram": f"{ram} GB",
        "ephemeralStorage": f"{disk} GB",
        "accelerator": accelerator,
        "unitCostMicroUSD": micro_usd,
        "unitCostUSD": micro_usd / 1e6,
        "unitLabel": "minute",
    }


HARDWARE = {row["name"]: row for row in map(_read_hardware, _HARDWARE.split("\n")[1:-1])}


def text(**limits: Any) -> Schema:
    return {"type": "string", **limits}


def integer(**limits: Any) -> Schema:
    return {"type": "integer", **limits}


def array(items: Schema, **limits: Any) -> Schema:
    return {"type": "array", "items": items, **limits}


def record(key: Schema, value: Schema) -> Schema:
    return {"type": "record", "key": key, "value": value}


def fields(required: list[str], **props: Schema) -> Schema:
    return {"type": "object", "props": props, "required": required}


BOOLEAN: Schema = {"type": "boolean"}
BOOLEAN_OR_NULL: Schema = {"type": "boolean", "nullable": True}
ANY: Schema = {"type": "any"}
OBJECT_ID = text(pattern="^[0-9a-fA-F]{24}$")
PORTS = array(integer(min=1, max=65535), max=20)
EXPOSE = fields(["ports"], ports=PORTS, portsPublic=PORTS)
VOLUME = fields(
    ["type", "source", "mountPath"],
    type=text(enum=["bucket", "model", "dataset", "space"]),
    source=text(),
    mountPath=text(pattern="^\\/.*"),
    revision=text(),
    readOnly=BOOLEAN,
    path=text(),
)
LABELS = record(text(max=100, pattern="^[a-zA-Z0-9._-]+$"), text(max=100, pattern="^[a-zA-Z0-9._-]*$"))
LABELS_BODY = fields(["labels"], labels=LABELS)
JOB = fields(
    ["flavor"],
    spaceId=text(),
    dockerImage=text(),
    arguments=array(text()),
    command=array(text(min=1), min=1),
    environment=record(text(pattern="^[a-zA-Z][_a-zA-Z0-9]+$"), text()),
    secrets=record(text(pattern="^[a-zA-Z][_a-zA-Z0-9]*$"), text()),
    flavor=text(enum=[*HARDWARE, *UNLISTED_FLAVORS]),
    arch=text(enum=["amd64", "arm64"]),
    timeoutSeconds=integer(gt=0, nullable=True),
    attempts=integer(min=1),
    labels=LABELS,
    volumes=array(VOLUME, min=1),
    expose=EXPOSE,
    ssh=fields([], enabled=BOOLEAN),
    resourceGroupId=OBJECT_ID,
    network=fields(
        ["group"],
        group=text(pattern="^[a-z0-9-]{1,46}$"),
        aliases=array(text(pattern="^[a-z0-9-]{1,34}$"), unique=True),
    ),
)
SCHEDULE = text(
    # as the Hub has it: names, or five to seven fields of numbers
    pattern=r"^(?:(@(annually|yearly|monthly|weekly|daily|hourly))|((((\d+,)+\d+|((\*|\d+)(\/|-)\d+)|\d+|\*) ?){5,7}))$"
)
SCHEDULE_BODY = fields(["schedule"], schedule=SCHEDULE)
SCHEDULED_JOB = fields(
    ["jobSpec", "schedule"],
    # a scheduled job is in no network group
    jobSpec={**JOB, "props": {name: value for name, value in JOB["props"].items() if name != "network"}},
    schedule=SCHEDULE,
    suspend=BOOLEAN,
    concurrency=BOOLEAN,
)
BUCKET = fields(
    [],
    private=BOOLEAN_OR_NULL,
    visibility=text(enum=["public", "private"]),
    resourceGroupId=OBJECT_ID,
    region=text(enum=["us", "eu"]),
    cdn=array(ANY),
)
REPO = fields(
    ["name"],
    name=text(),
    organization=text(nullable=True),
    type=text(enum=["model", "dataset", "space", "kernel"]),
    visibility=text(enum=["private", "public", "protected"]),
    private=BOOLEAN_OR_NULL,
    sdk=text(),
    license=text(),
    resourceGroupId=text(nullable=True),
    region=text(enum=["us", "eu"]),
    hardware=text(),
    files=array(ANY),
)

_JSON_NAMES: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}
_PYTHON_TYPES: dict[str, type] = {
    "string": str,
    "array": list,
    "object": dict,
    "record": dict,
    "boolean": bool,
    "integer": int,
}

Path = tuple[str | int, ...]


def check(schema: Schema, value: Any, *, strict: bool = True) -> list[str]:
    """Everything that is wrong with a value; ``strict`` also refuses keys that the schema does not know."""
    errors: list[str] = []
    _check(schema, value, (), errors, strict)
    return errors


def _check(schema: Schema, value: Any, path: Path, errors: list[str], strict: bool) -> None:
    kind = schema["type"]
    if kind == "any" or (value is None and schema.get("nullable")):
        return
    if not isinstance(value, _PYTHON_TYPES[kind]) or (kind == "integer" and isinstance(value, bool)):
        wanted = "number" if kind == "integer" else kind
        got = _JSON_NAMES.get(type(value), type(value).__name__)
        _note(errors, path, f"Invalid input: expected {wanted}, received {got}")
    elif kind == "string":
        _check_string(schema, value, path, errors)
    elif kind == "integer":
        _check_integer(schema, value, path, errors)
    elif kind == "array":
        if len(value) < schema.get("min", 0):
            _note(errors, path, f"Too small: expected array to have >={schema['min']} items")
        if len(value) > schema.get("max", 1 << 30):
            _note(errors, path, f"Too big: expected array to have <={schema['max']} items")
        if schema.get("unique") and len(set(map(str, value))) != len(value):
            _note(errors, path, "Invalid input: items must be unique")
        for index, item in enumerate(value):
            _check(schema["items"], item, (*path, index), errors, strict)
    elif kind == "record":
        for key, item in value.items():
            if check(schema["key"], key):
                pattern = schema["key"].get("pattern")
                _note(errors, (*path, key), f"Invalid key in record: must match pattern /{pattern}/")
            _check(schema["value"], item, (*path, key), errors, strict)
    elif kind == "object":
        _check_object(schema, value, path, errors, strict)


def _check_string(schema: Schema, value: str, path: Path, errors: list[str]) -> None:
    if "enum" in schema and value not in schema["enum"]:
        options = "|".join(f'"{option}"' for option in schema["enum"])
        _note(errors, path, f"Invalid option: expected one of {options}")
    if len(value) < schema.get("min", 0):
        _note(errors, path, f"Too small: expected string to have >={schema['min']} characters")
    if len(value) > schema.get("max", 1 << 30):
        _note(errors, path, f"Too big: expected string to have <={schema['max']} characters")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        _note(errors, path, f"Invalid string: must match pattern /{schema['pattern']}/")


def _check_integer(schema: Schema, value: int, path: Path, errors: list[str]) -> None:
    if "gt" in schema and value <= schema["gt"]:
        _note(errors, path, f"Too small: expected number to be >{schema['gt']}")
    if "min" in schema and value < schema["min"]:
        _note(errors, path, f"Too small: expected number to be >={schema['min']}")
    if "max" in schema and value > schema["max"]:
        _note(errors, path, f"Too big: expected number to be <={schema['max']}")


def _check_object(schema: Schema, value: dict[str, Any], path: Path, errors: list[str], strict: bool) -> None:
    for key in schema["required"]:
        if key not in value:
            kind = schema["props"][key]["type"]
            wanted = "number" if kind == "integer" else kind
            _note(errors, (*path, key), f"Invalid input: expected {wanted}, received undefined")
    unknown = [key for key in value if key not in schema["props"]]
    if unknown and strict:
        plural = "s" if len(unknown) > 1 else ""
        _note(errors, path, f"Unrecognized key{plural}: " + ", ".join(f'"{key}"' for key in unknown))
    for key, item in value.items():
        if key in schema["props"]:
            _check(schema["props"][key], item, (*path, key), errors, strict)


def _note(errors: list[str], path: Path, message: str) -> None:
    at = ""
    for part in path:
        if isinstance(part, int):
            at += f"[{part}]"
        elif re.search(r"[^\w$]", part):
            at += f'["{part}"]'
        else:
            at += f".{part}" if at else part
    errors.append(f"✖ {message}" + (f"\n  → at {at}" if at else ""))


def strip_unknown(schema: Schema, value: Any) -> Any:
    if schema["type"] == "object" and isinstance(value, dict):
        return {k: strip_unknown(schema["props"][k], v) for k, v in value.items() if k in schema["props"]}
    if schema["type"] == "array" and isinstance(value, list):
        return [strip_unknown(schema["items"], item) for item in value]
    return value


def spec_problems(spec: dict[str, Any], label_dots: bool) -> list[str]:
    """What is wrong across the fields of a job, which the schema cannot say."""
    out = []
    if bool(spec.get("dockerImage")) == bool(spec.get("spaceId")):
        out.append("✖ Invalid input: provide exactly one of dockerImage and spaceId")
    if not spec.get("command") and not spec.get("spaceId"):
        out.append("✖ Invalid input: expected array, received undefined\n  → at command")
    mounts = [volume["mountPath"].rstrip("/") for volume in spec.get("volumes") or []]
    if len(set(mounts)) != len(mounts):
        out.append("✖ Duplicate mountPath\n  → at volumes")
    expose = spec.get("expose")
    if expose and not set(expose.get("portsPublic") or []) <= set(expose["ports"]):
        out.append("✖ portsPublic must be a subset of ports\n  → at expose.portsPublic")
    if not label_dots:
        # a period passes the Hub's own schema, then fails where labels become tags of the job
        for key, value in (spec.get("labels") or {}).items():
            if "." in key or "." in value:
                out.append(f'✖ Invalid tag: periods are not allowed (JobSpec.tags)\n  → at labels["{key}"]')
    return out
