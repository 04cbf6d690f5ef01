"""What the supervisor sees of a leader that loads keys: which key it is at, and what the files were that it read."""

from __future__ import annotations

import fcntl
import os
from typing import Final

from phoenixdkim.config.load import read_octets
from phoenixdkim.keystore.identities import Identities
from phoenixdkim.keystore.progress import LoadProgress, crashed, hung

_MAX_OCTETS: Final = 64 * 1024 * 1024
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class KeyLoading:
    """Shared by supervisor and leader; made before the fork.

    Attributes:
        progress: which key the leader is at.
        identities: what the key files were, as ``unchanged`` takes it; empty until ``receive``.
    """

    def __init__(self, path: str, data: bytes) -> None:
        """Begin.

        Args:
            path: what faults call the configuration file.
            data: its octets.
        """
        self.progress = LoadProgress()
        self.identities = b""
        self._path = path
        self._data = data
        self._memory = os.memfd_create("phoenixdkim-key-files", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)

    def send(self, identities: Identities) -> None:
        """Hand over what the files were, for good. For the leader; too much for a message."""
        encoded = memoryview(identities.encode())
        try:
            while encoded:
                encoded = encoded[os.write(self._memory, encoded) :]
            fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            # Without memory for it every reload makes a new generation, which is no reason to refuse this one.
            pass
        finally:
            self.close()

    def receive(self) -> None:
        """Take what the leader sent. For the supervisor; nobody can change it any more."""
        # The kernel may add a seal of its own (F_SEAL_EXEC, by vm.memfd_noexec).
        sealed = fcntl.fcntl(self._memory, fcntl.F_GET_SEALS) & _SEALS == _SEALS
        if sealed and os.fstat(self._memory).st_size <= _MAX_OCTETS:
            self.identities = os.pread(self._memory, _MAX_OCTETS, 0)
        self.close()

    def crash(self, how: str) -> list[str]:
        """Return the error of the key at which the leader ended; none when it was not loading one.

        Args:
            how: as in ``signal SIGSEGV``.
        """
        return self._error(crashed(how))

    def hang(self, now: float) -> list[str]:
        """Return the error of a key that takes too long; none when the leader goes on.

        Args:
            now: monotonic seconds.
        """
        return self._error(hung()) if self._memory >= 0 and self.progress.hanging(now) else []

    def _error(self, message: str) -> list[str]:
        name = self.progress.key() if self._memory >= 0 else ""
        if not name:
            return []
        return [str(read_octets(self._data, self._path).fault(("keys", name, "file"), message))]

    def close(self) -> None:
        """Let go of the shared memory; may be called again."""
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1
            self.progress.close()
