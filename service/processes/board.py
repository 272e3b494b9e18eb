"""Memory that several processes share: each leaves there what the others may read.

What that means, those know who write and read it. A process can end at any moment, also while it writes.
"""

import mmap
import struct
import zlib

_PID = struct.Struct("<q")
_HEAD = struct.Struct("<II")  # length and checksum of what follows
_PLACE_BYTES = 16
_TRIES = 100


class Board:
    """A place for every process, which it alone writes.

    A place holds two sheets. A new text is written on the one that nobody reads, and then one byte says that
    it counts: who is killed while writing leaves the old text as it was. Memory is taken as it is written.
    """

    def __init__(self, places: int, most_bytes: int = 4 * 2**20) -> None:
        self.places = places
        self._most_bytes = most_bytes
        self._stride = _PLACE_BYTES + 2 * (_HEAD.size + most_bytes)
        self._memory = mmap.mmap(-1, places * self._stride)
        self._last = [b""] * places  # that was read

    def write(self, place: int, text: bytes) -> bool:
        """Replace what stands at a place; return whether there was room for it."""
        if len(text) > self._most_bytes:
            return False
        which = 1 - self._memory[self._start(place) + _PID.size]
        begin = self._sheet(place, which)
        _HEAD.pack_into(self._memory, begin, len(text), zlib.crc32(text))
        self._memory[begin + _HEAD.size : begin + _HEAD.size + len(text)] = text
        self._memory[self._start(place) + _PID.size] = which
        return True

    def read(self, place: int) -> bytes:
        """Return what stands at a place; nothing, if nobody wrote there."""
        for _ in range(_TRIES):  # a sheet is overtaken only if its writer writes twice meanwhile
            begin = self._sheet(place, self._memory[self._start(place) + _PID.size])
            length, checksum = _HEAD.unpack_from(self._memory, begin)
            text = self._memory[begin + _HEAD.size : begin + _HEAD.size + min(length, self._most_bytes)]
            if zlib.crc32(text) == checksum:
                self._last[place] = text
                break
        return self._last[place]

    def show_pid(self, place: int, pid: int) -> None:
        """Say which process has a place; 0 is none."""
        _PID.pack_into(self._memory, self._start(place), pid)

    def pid(self, place: int) -> int:
        """Return which process has a place, or 0."""
        return int(_PID.unpack_from(self._memory, self._start(place))[0])

    def _start(self, place: int) -> int:
        return place * self._stride

    def _sheet(self, place: int, which: int) -> int:
        return self._start(place) + _PLACE_BYTES + which * (_HEAD.size + self._most_bytes)
