"""The command line's shell: help, exit codes, and sentences instead of traces."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from voltbus.__main__ import run
from voltbus.commands.up import summary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments, help is what one needs."""
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert "up" in shown
    assert "topics" in shown


@pytest.mark.parametrize("command", ["up", "topics"])
def test_every_commands_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An example to copy says more than a list of flags."""
    assert run([command, "--help"]) == 0
    assert f"voltbus {command}" in capsys.readouterr().out.split("Examples")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["up", "--nope"], "No such option: --nope"),
        (["up", "--ports-from", "many"], "'--ports-from'"),
        (["up", "--ports-from", "80"], "choose from 1024 to 65526"),
        (["up", "--partitions", "0"], "--partitions"),
        (["up", "--kafka", "broker"], "--kafka takes HOST:PORT"),
        (["up", "--kafka", "broker:port"], "--kafka takes HOST:PORT"),
        (["up", "--kafka", "broker:70000"], "--kafka takes HOST:PORT"),
        (["up", "--mongo", "127.0.0.1:27017"], "--mongo takes a connection string"),
        (["topics", "--kafka", "broker"], "--kafka takes HOST:PORT"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing on stdout, one line on stderr that says what is wrong."""
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert shown.err.count("\n") == 1


def test_a_wrong_connection_string_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """It may hold a password."""
    assert run(["up", "--mongo", "mongo://me:hunter2@host/"]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_an_unreachable_broker_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """`voltbus topics` against nobody."""
    assert run(["topics", "--kafka", "127.0.0.1:9"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("voltbus: The topics could not be")


def test_help_does_not_load_what_only_a_start_needs() -> None:
    """`voltbus --help` stays quick: no Kafka client, no MongoDB driver, no cryptography."""
    code = (
        "import sys, voltbus.__main__; "
        "print([m for m in ('aiokafka', 'pymongo', 'cryptography', 'jgo', 'httpx') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "[]\n"


def test_what_up_prints_for_a_person(tmp_path: Path) -> None:
    """Every address of the JSON line, where passwords and logs are, and how to stop."""
    what = {
        "ocpp": "ws://127.0.0.1:9000/ocpp",
        "ocpp_tls": "wss://localhost:9008/ocpp",
        "ocpp_mtls": "wss://localhost:9009/ocpp",
        "authority": "/home/certificates/ca.pem",
        "gateway": "http://127.0.0.1:9001",
        "auth": "http://127.0.0.1:9002",
        "config": "http://127.0.0.1:9003",
        "agreements": "http://127.0.0.1:9004",
        "kafka": "127.0.0.1:9005",
        "mongo": "mongodb://127.0.0.1:9007/?replicaSet=rs0",
        "operator_token": "a.b.c",
        "pids": {},
    }
    shown = summary(what, tmp_path)
    assert all(value in shown for value in what.values() if isinstance(value, str))
    assert str(tmp_path / "mongo-users.json") in shown
    assert str(tmp_path / "logs") in shown
    assert "Ctrl-C" in shown
