"""Writes as fast as it can and prints what was acknowledged, until it is killed.

python -m tests.store.writer URL
"""

import asyncio
import itertools
import sys

from devpocket.clock import SystemClock
from devpocket.store import open_store
from devpocket.store.port import Store


async def write(store: Store, name: str) -> None:
    """Insert one document after the other and change each once; a line for each acknowledgement."""
    for number in itertools.count():
        document = {"_id": f"{name}-{number:05}", "value": 0}
        await store.settings.insert(document)
        sys.stdout.write(f"{document['_id']} 0\n")
        sys.stdout.flush()
        await store.settings.replace({**document, "version": 1, "value": 1})
        sys.stdout.write(f"{document['_id']} 1\n")
        sys.stdout.flush()


async def main(url: str) -> None:
    """Write from eight coroutines."""
    store = open_store(url, SystemClock())
    await store.start()
    await asyncio.gather(*(write(store, f"writer{number}") for number in range(8)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
