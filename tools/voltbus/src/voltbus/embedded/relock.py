"""Resolve Kafka's jars anew and write `kafka.lock.json`: `python -m voltbus.embedded.relock`.

For developers who change a version below. Resolution needs the network; a start never does it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

# kafka-clients comes first because the resolver would otherwise pick an older one that some
# dependency asks for, and the broker then dies with NoSuchMethodError.
COORDINATES = (
    "org.apache.kafka:kafka-clients:4.3.1",
    "org.apache.kafka:kafka_2.13:4.3.1",
    "at.yawk.lz4:lz4-java:1.10.1",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
)


def resolve(repository: Path) -> list[dict[str, str | int]]:
    """All jars that the coordinates need at run time, fetched into a folder and measured."""
    # Imported here because the module is read by tests that only want the coordinates.
    from jgo.config import GlobalSettings  # noqa: PLC0415 - see above
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - see above
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - see above
    from jgo.parse import Coordinate  # noqa: PLC0415 - see above

    context = MavenContext(
        resolver=PythonResolver(),
        repo_cache=repository,
        remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
    )
    wanted = [
        context.create_dependency(replace(Coordinate.parse(text), scope="compile"))
        for text in COORDINATES
    ]
    inputs, transitive = context.resolver.resolve(wanted)
    needed = [*inputs, *(found for found in transitive if found.scope in {"compile", "runtime"})]
    jars: list[dict[str, str | int]] = []
    for dependency in needed:
        content = Path(dependency.artifact.resolve()).read_bytes()
        name = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
        sha256 = hashlib.sha256(content).hexdigest()
        jars.append({"coordinate": name, "sha256": sha256, "size": len(content)})
    return jars


def main() -> None:
    """Write the lock file beside this module."""
    with tempfile.TemporaryDirectory() as folder:
        jars = resolve(Path(folder))
    target = Path(__file__).with_name("kafka.lock.json")
    content = {"coordinates": COORDINATES, "jars": jars}
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{target}: {len(jars)} jars, {sum(int(jar['size']) for jar in jars)} bytes\n")


if __name__ == "__main__":
    main()
