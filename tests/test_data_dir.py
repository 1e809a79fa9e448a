"""The mark in ``DATA_DIR`` that says to which database it belongs."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devpocket.clock import SystemClock
from devpocket.server import _read_or_write, claim_data_dir
from devpocket.store.sqlite.store import SqliteStore


def test_all_that_start_at_once_read_the_whole_mark(tmp_path: Path) -> None:
    starters = 8
    together = threading.Barrier(starters)

    def start(folder: Path) -> str:
        together.wait()
        return _read_or_write(folder / "installation", "the-id-of-this-installation")

    with ThreadPoolExecutor(starters) as pool:
        for number in range(100):
            folder = tmp_path / str(number)
            folder.mkdir()
            found = set(pool.map(start, [folder] * starters))
            assert found == {"the-id-of-this-installation"}
            assert [path.name for path in folder.iterdir()] == ["installation"]


async def test_a_folder_belongs_to_the_database_that_marked_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    first, second = (SqliteStore(tmp_path / f"{name}.db", SystemClock()) for name in ("first", "second"))
    await first.start()
    await second.start()
    assert await claim_data_dir(data_dir, first)
    assert await claim_data_dir(data_dir, first)
    assert not await claim_data_dir(data_dir, second)
    await first.close()
    await second.close()
