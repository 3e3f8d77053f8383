"""Roots: what `--store`, `TAMIS_STORE` and `Store.open` take, a directory or the URL of an object store."""

from pathlib import Path

from storage.files import Files, Watch


def files_at(root: str | Path, watch: Watch | None = None) -> Files:
    """The bytes at a root: of a directory, or of an object store where the root is a URL such as `s3://bucket/a`.

    Raises:
        ValueError: the URL is of another form.
        ObjectStoreError: obstore, which object stores need, is not installed.
    """
    if str(root).startswith(("s3:", "gs:")) and not is_url(root):
        raise ValueError(f"{str(root)!r} cannot be a store: write an address as text, such as s3://bucket/prefix")
    if not is_url(root):
        return Files(Path(root), watch)
    from storage.objects import ObjectFiles

    return ObjectFiles(str(root), watch)


def absolute_root(root: str) -> str:
    """The root as it is named from anywhere on this machine."""
    return root if is_url(root) else str(Path(root).absolute())


def is_url(root: str | Path) -> bool:
    """Whether a root is the URL of an object store."""
    return isinstance(root, str) and "://" in root
