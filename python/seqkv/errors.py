# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Exceptions: one class for every numbered error of the library (docs/errors.md).

Each is also the built-in exception that Python programs expect in its place: a file that is not there is a
FileNotFoundError, a bad argument a ValueError.
"""

from __future__ import annotations

from . import _core


class Error(Exception):
    """What went wrong, and where. `str()` is one line that says all of it."""

    code: int = 100
    file: str | None = None
    """Path of the file."""
    field: str | None = None
    """Tensor, key, option or session."""
    offset: int | None = None
    """Byte in the file."""
    block: int | None = None
    """Coded block."""

    @property
    def name(self) -> str:
        """Of the code, for example "checksum_mismatch"."""
        return _core.error_name(self.code)

    def __str__(self) -> str:  # KeyError would quote it
        return str(self.args[0]) if self.args else ""


class CorruptError(Error):
    """Base of what is wrong with files of seqkv: damage, forgery, an unknown version."""


# fmt: off
class InternalError(Error, RuntimeError): code = 100
class InvalidArgument(Error, ValueError): code = 200
class InvalidCodecSpec(Error, ValueError): code = 201
class BadFormat(Error, ValueError): code = 300
class Unsupported(Error, NotImplementedError): code = 301
class ShapeMismatch(Error, ValueError): code = 302
class MissingField(Error, ValueError): code = 303
class NotFinite(Error, ValueError): code = 304
class NotUtf8(Error, ValueError): code = 305
class EmptyInput(Error, ValueError): code = 306
class TokenOutOfRange(Error, ValueError): code = 307
class WrongModel(Error, ValueError): code = 310
class WrongStore(Error, ValueError): code = 311
class SessionDiffers(Error, ValueError): code = 312
class WrongProfile(Error, ValueError): code = 313
class WrongKey(Error, ValueError): code = 314
class RanksDiffer(Error, RuntimeError): code = 315
class FileNotFound(Error, FileNotFoundError): code = 400
class SessionNotFound(Error, KeyError): code = 401
class Corrupt(CorruptError): code = 500
class ChecksumMismatch(CorruptError): code = 501
class Truncated(CorruptError): code = 502
class UnsupportedVersion(CorruptError): code = 503
class MissingReference(CorruptError): code = 504
class Forged(CorruptError): code = 505
class InputOutputError(Error, OSError): code = 600
class DiskFull(Error, OSError): code = 601
class Communication(Error, RuntimeError): code = 602
class OutOfMemory(Error, MemoryError): code = 700
class LimitExceeded(Error, ValueError): code = 701
class Busy(Error, RuntimeError): code = 702
class Interrupted(Error, RuntimeError): code = 800
# fmt: on


def _register() -> list[str]:
    names = ["Error", "CorruptError"]
    for name, value in sorted(globals().items()):
        if isinstance(value, type) and issubclass(value, Error) and name not in names:
            _core.set_error_class(value.code, value)
            names.append(name)
    return names


__all__ = _register()  # pyright: ignore[reportUnsupportedDunderAll]
