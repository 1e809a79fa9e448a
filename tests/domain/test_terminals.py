"""Sizes are clamped; text never ends inside a character."""

import pytest

from devpocket.domain.terminals import TerminalSize, Utf8Splitter

TEXT = "a ß € 你 🎉 \x1b[31mé\u0301\x1b[0m 👩‍💻 Tiếng Việt \U0010ffff z"


@pytest.mark.parametrize("cut", range(len(TEXT.encode()) + 1))
def test_text_cut_anywhere_comes_out_whole_and_at_once(cut: int):
    data = TEXT.encode()
    splitter = Utf8Splitter()
    first = splitter.feed(data[:cut])
    assert first == data[:cut].decode(errors="ignore"), "every complete character, and nothing else"
    assert first + splitter.feed(data[cut:]) + splitter.flush() == TEXT


def test_text_fed_byte_by_byte_comes_out_whole():
    splitter = Utf8Splitter()
    pieces = [splitter.feed(bytes([byte])) for byte in TEXT.encode()]
    assert "".join(pieces) == TEXT
    assert all(len(piece) <= 1 for piece in pieces)
    assert splitter.flush() == ""


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\xffb", "a\ufffdb"),
        (b"\x80", "\ufffd"),
        (b"\xc0\xaf", "\ufffd\ufffd"),  # an overlong slash
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # half of a surrogate pair
        (b"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"),  # beyond U+10FFFF
        (b"\xe4\xbdx", "\ufffdx"),  # broken off by another character
    ],
)
def test_invalid_bytes_become_replacement_characters_however_they_are_cut(data: bytes, text: str):
    for cut in range(len(data) + 1):
        splitter = Utf8Splitter()
        assert splitter.feed(data[:cut]) + splitter.feed(data[cut:]) + splitter.flush() == text


@pytest.mark.parametrize("unfinished", [b"\xc3", b"\xe4\xbd", b"\xf0\x9f\x8e"])
def test_flush_gives_back_an_unfinished_character_once(unfinished: bytes):
    splitter = Utf8Splitter()
    assert splitter.feed(b"a" + unfinished) == "a"
    assert splitter.flush() == "\ufffd"
    assert splitter.flush() == ""
    assert splitter.feed(b"b") == "b"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ((80, 24), (80, 24)),
        ((0, 0), (2, 1)),
        ((-5, -5), (2, 1)),
        ((100_000, 100_000), (500, 300)),
    ],
)
def test_sizes_are_clamped(asked: tuple[int, int], given: tuple[int, int]):
    size = TerminalSize(*asked)
    assert (size.columns, size.rows) == given


def test_the_default_is_the_terminal_of_the_phone():
    assert TerminalSize() == TerminalSize(80, 24)
