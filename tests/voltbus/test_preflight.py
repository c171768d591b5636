"""What a machine must have, and the sentence for each lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from voltbus.embedded import preflight
from voltbus.errors import CommandError


@pytest.mark.parametrize(
    ("system", "machine"), [("Darwin", "arm64"), ("Linux", "aarch64"), ("Windows", "AMD64")]
)
def test_another_machine_is_refused_with_the_way_out(system: str, machine: str) -> None:
    """The embedded servers are Linux x86-64 binaries; elsewhere one uses servers that exist."""
    with pytest.raises(CommandError, match=rf"{system} {machine}.*--kafka HOST:PORT"):
        preflight.check_machine(system, machine)


def test_this_kind_of_machine_is_accepted() -> None:
    """Linux on x86-64 passes."""
    preflight.check_machine("Linux", "x86_64")


def test_missing_libraries_are_read_from_both_forms_of_ldd() -> None:
    """`ldd` says "not found" for a file and for a symbol's version in another form."""
    output = (
        "\tlinux-vdso.so.1 (0x00007f7b2b43d000)\n"
        "\tlibcurl.so.4 => not found\n"
        "\tliblzma.so.5 => /lib/x86_64-linux-gnu/liblzma.so.5 (0x00007f7b24b19000)\n"
        "/lib/x86_64-linux-gnu/libssl.so.3: version `OPENSSL_3.0.0' not found (required by m)\n"
        "\tlibssl.so.3 => not found\n"
    )
    assert preflight.missing_libraries(output) == ["libcurl.so.4", "libssl.so.3"]


def test_the_advice_is_a_command_to_copy() -> None:
    """The Debian packages are named once each, in one apt-get command."""
    sentence = preflight.describe_missing(["libcurl.so.4", "libssl.so.3", "libcrypto.so.3"])
    assert "apt-get install libcurl4 libssl3'" in sentence
    assert "--mongo URI" in sentence


def test_an_unknown_library_is_still_named() -> None:
    """A library we know no package of is named all the same."""
    assert "libodd.so.9" in preflight.describe_missing(["libodd.so.9"])


def test_a_program_that_lacks_nothing_passes() -> None:
    """The dynamic linker is really asked."""
    preflight.check_libraries(Path("/bin/sh"))
