"""Where scripts/test_clients installed the clients."""

import os

import pytest

from conftest import ROOT

FOLDER = ROOT / ".venv-clients"
LEFT_OUT = os.environ.get("PACKHORSE_SKIP_CLIENTS", "").split(",")


def unless_left_out(client):
    if client in LEFT_OUT:
        pytest.skip(f"PACKHORSE_SKIP_CLIENTS names {client}")


def program(client, name):
    unless_left_out(client)
    return FOLDER / client / "bin" / name
