"""Every error that LossLens raises on purpose, beside `ValueError` for a bad argument."""

from __future__ import annotations


class LossLensError(Exception):
    """Something that a reader or a recorder cannot do; the message says what was expected and what to do."""


class LogdirError(LossLensError):
    """A log directory does not exist or cannot be read."""


class CorruptChunkError(LossLensError):
    """The bytes of a chunk or of a tail are not what was written."""


class NewerFormatError(LossLensError):
    """Data in a format of a later release.

    Attributes:
        format: the version found.
    """

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"written by a newer LossLens (format {found}, this one reads up to {known}): upgrade tb_losslens to read it"
        )
        self.format = found


class UnknownEncodingError(LossLensError):
    """A column is encoded in a way, or has a number type, that this release does not know."""
