"""What leaves the laboratory says nothing of passwords, and nothing of how people are reached."""

from __future__ import annotations

import tomllib

import pytest

from chiploop.record.without_secrets import LEFT_OUT, lab_without_secrets


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://eva:s3cret@host/lab",
        "postgresql://eva:s3/cret@host/lab",
        "postgresql://eva:p@s3cret@host/lab",
        "rfc2217://host:4000?token=s3cret",
        "host=h password=s3cret user=eva",
    ],
)
def test_a_secret_within_a_value_does_not_leave(value: str) -> None:
    left = lab_without_secrets(f'[pumps.P1]\nport = "{value}"\nmake = "ne1000"\n')
    assert "cret" not in left and "eva:" not in left
    assert tomllib.loads(left)["pumps"]["P1"]["make"] == "ne1000"


@pytest.mark.parametrize("key", ["password", "pw", "auth", "api_key", "key", "webhook", "token"])
def test_a_value_whose_key_speaks_of_a_secret_does_not_leave(key: str) -> None:
    left = tomllib.loads(lab_without_secrets(f'[reader]\n{key} = "s3cret"\n'))
    assert left["reader"][key] == LEFT_OUT


def test_ways_to_reach_people_do_not_leave_and_the_rest_does() -> None:
    text = '[notify.mail]\nto = ["eva@lab.example"]\n[pumps.P1]\nport = "/dev/ttyUSB0"\n'
    left = lab_without_secrets(text)
    assert "eva" not in left and tomllib.loads(left)["pumps"]["P1"]["port"] == "/dev/ttyUSB0"
