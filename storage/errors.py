"""The errors a caller may want to catch; everything else is ValueError or TypeError.

TamisError
├── NotFoundError        a name, version, artifact or column that does not exist (the message lists what does)
├── SourceError          a source that cannot be read: missing, unknown format, ragged, wrong types
├── ContractError        rows break the data contract and the contract says `fail`
├── ConflictError        a name's next version stayed contested after all retries
├── CorruptError         something in the store is not what its record says
├── ObjectStoreError     an object store does not answer or refuses, or obstore is not installed
├── DiskError            a full or broken disk, or missing rights to it (an OSError too)
├── MissingPackageError  an optional package that is not installed (an ImportError too)
└── QueryError           SQL that is wrong, or that tries to leave the sandbox
"""


class TamisError(Exception):
    """Base of tamis' own errors: one clear sentence about what, where and the remedy."""


class NotFoundError(TamisError):
    """A name, version, artifact or column that does not exist; the message lists those that do."""


class SourceError(TamisError):
    """A source of examples that cannot be read; the message says where and what to change."""


class ContractError(TamisError):
    """Rows break the data contract, and the contract says to fail."""


class ConflictError(TamisError):
    """A name's next version stayed contested after all retries."""


class CorruptError(TamisError):
    """A file or record in the store is not what its record says."""


class DiskError(TamisError, OSError):
    """The operating system refuses to read or write a file of the store: full, broken, or not allowed."""


class ObjectStoreError(TamisError):
    """An object store that does not answer or refuses; the message says what to check."""


class MissingPackageError(TamisError, ImportError):
    """An optional package that something needs and that is not installed; the message says how to install it."""


class QueryError(TamisError):
    """SQL that DuckDB refuses, or that tries to write or to read outside the store."""
