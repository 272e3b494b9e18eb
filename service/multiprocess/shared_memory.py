"""Anonymous shared memory with one slot for each worker process.

Every process may read every slot; only the worker of a slot writes its text. A worker may be killed at any
moment, also while it writes. The content of a text is opaque to this module.
"""

import mmap
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

_PID = struct.Struct("<q")
_BUFFER_HEADER = struct.Struct("<II")  # length and CRC-32 of the text that follows
_INDEX_OFFSET = _PID.size
_STATE_OFFSET = _PID.size + 1
_SLOT_HEADER_BYTES = 16
_MAX_READS = 100


class WorkerState(IntEnum):
    """State of a worker process."""

    STARTING = 0
    SERVING = 1
    DRAINING = 2  # it is stopping


@dataclass(frozen=True)
class WorkerStatus:
    """One slot, as `GET /readyz?verbose` can show it.

    Attributes:
        slot: Number of the slot, from 0.
        pid: Process id of the worker; 0 if the slot has none.
        state: State of that worker.
    """

    slot: int
    pid: int
    state: WorkerState


class SharedMemory:
    """One slot for each worker: its process id, its state, and a text of bounded size.

    A text is double-buffered: a one-byte index selects the valid copy, so a process killed while writing
    leaves the previous text intact. Pages are allocated when they are first written.
    """

    def __init__(self, slots: int, max_bytes: int = 4 * 2**20) -> None:
        """Map the memory; call it before the first fork.

        Args:
            slots: Number of workers.
            max_bytes: Size limit of one text.
        """
        self.slots = slots
        self._max_bytes = max_bytes
        self._stride = _SLOT_HEADER_BYTES + 2 * (_BUFFER_HEADER.size + max_bytes)
        self._memory = mmap.mmap(-1, slots * self._stride)
        self._last = [b""] * slots  # the last valid text that was read, by slot

    def write(self, slot: int, text: bytes) -> bool:
        """Replace the text of a slot; return False, and change nothing, if it exceeds the size limit."""
        if len(text) > self._max_bytes:
            return False
        index = 1 - self._memory[self._slot_offset(slot) + _INDEX_OFFSET]
        begin = self._buffer_offset(slot, index)
        _BUFFER_HEADER.pack_into(self._memory, begin, len(text), zlib.crc32(text))
        self._memory[begin + _BUFFER_HEADER.size : begin + _BUFFER_HEADER.size + len(text)] = text
        self._memory[self._slot_offset(slot) + _INDEX_OFFSET] = index
        return True

    def read(self, slot: int) -> bytes:
        """Return the text of a slot; empty if none was written."""
        for _ in range(_MAX_READS):  # a read is torn only if the writer writes twice meanwhile
            begin = self._buffer_offset(slot, self._memory[self._slot_offset(slot) + _INDEX_OFFSET])
            length, checksum = _BUFFER_HEADER.unpack_from(self._memory, begin)
            begin += _BUFFER_HEADER.size
            text = self._memory[begin : begin + min(length, self._max_bytes)]
            if zlib.crc32(text) == checksum:
                self._last[slot] = text
                break
        return self._last[slot]

    def set_pid(self, slot: int, pid: int) -> None:
        """Assign a slot to a process that is starting; 0 frees the slot."""
        self.set_state(slot, WorkerState.STARTING)
        _PID.pack_into(self._memory, self._slot_offset(slot), pid)

    def pid(self, slot: int) -> int:
        """Return the process id of the worker in a slot, or 0."""
        return int(_PID.unpack_from(self._memory, self._slot_offset(slot))[0])

    def set_state(self, slot: int, state: WorkerState) -> None:
        """Set the state of the worker in a slot."""
        self._memory[self._slot_offset(slot) + _STATE_OFFSET] = state

    def statuses(self) -> list[WorkerStatus]:
        """Return process id and state of every slot."""
        return [
            WorkerStatus(
                slot, self.pid(slot), WorkerState(self._memory[self._slot_offset(slot) + _STATE_OFFSET])
            )
            for slot in range(self.slots)
        ]

    def _slot_offset(self, slot: int) -> int:
        return slot * self._stride

    def _buffer_offset(self, slot: int, index: int) -> int:
        return self._slot_offset(slot) + _SLOT_HEADER_BYTES + index * (_BUFFER_HEADER.size + self._max_bytes)
