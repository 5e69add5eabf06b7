"""Memory that a process really costs, where it shares pages with others."""

from __future__ import annotations

from pathlib import Path

from runtimes.errors import RuntimeUnavailable


def proportional_bytes(pid: int | str = "self", kind: str = "Pss") -> int:
    """Proportional set size of a process in bytes: a page that n mappings share counts 1/n.

    ``kind``: ``Pss`` for all, ``Pss_Anon`` for what the process alone has, ``Pss_File`` for mapped
    files. Summed over processes it counts every page once, which resident set sizes do not.
    Raises ``RuntimeUnavailable`` where the kernel does not say (Linux before 4.14, others).
    https://www.kernel.org/doc/html/latest/filesystems/proc.html
    """
    path = Path(f"/proc/{pid}/smaps_rollup")
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise RuntimeUnavailable(f"{path} cannot be read: {error.strerror}") from error
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name == kind:
            return int(rest.split()[0]) * 1024
    raise RuntimeUnavailable(f"{path} does not say {kind!r}")
