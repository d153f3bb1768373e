"""Requirements as people write them."""

from __future__ import annotations

import pytest

from hfjobs_trainer.specs.requirements import chooses_version, package_name, package_names, stays_within


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("einops", "einops"),
        ("Flash_Attn>=2.8", "flash-attn"),
        ("ruamel.yaml[jinja2] ; python_version < '3.13'", "ruamel-yaml"),
        ("math-verify @ https://example.com/math_verify.whl", "math-verify"),
        ("einops 0.8", "einops"),
        ("_private", "-private"),
        ("", ""),
    ],
)
def test_a_package_has_one_name(text: str, name: str) -> None:
    assert package_name(text) == name
    assert package_names([text, name]) == {name}


@pytest.mark.parametrize(
    ("text", "chooses"),
    [
        ("trl", False),
        ("trl[peft]", False),
        ("trl; python_version >= '3.11'", False),
        ("trl>=1.0", True),
        ("trl @ https://example.com/trl.whl", True),
        ("trl 1.0", True),
    ],
)
def test_a_marker_is_no_choice_of_a_version(text: str, chooses: bool) -> None:
    assert chooses_version(text) is chooses


@pytest.mark.parametrize(
    ("text", "within"),
    [
        ("kernels", False),
        ("kernels>=0.12", True),
        ("kernels==0.12.*", True),
        ("kernels<0.14", False),
        ("kernels>=0.14", False),
        ("kernels @ https://example.com/kernels.whl", True),
        ("kernels 0.12", False),
    ],
)
def test_every_version_is_within_the_bounds(text: str, within: bool) -> None:
    assert stays_within(text, "0.11", "0.14") is within
