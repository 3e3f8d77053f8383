"""Finds in source code what writes to a disk: calls that make, change, move or remove a file or directory."""

import ast
from collections.abc import Iterator

METHODS = {
    "chmod",
    "copy_into",
    "hardlink_to",
    "makedirs",
    "mkdir",
    "rmdir",
    "rmtree",
    "save_file",
    "save_to_disk",
    "savetxt",
    "savez",
    "savez_compressed",
    "symlink_to",
    "to_csv",
    "to_parquet",
    "tofile",
    "touch",
    "truncate",
    "unlink",
    "write_bytes",
    "write_deltalake",
    "write_table",
    "write_text",
}
"""Names that write whatever they are called on."""

PREFIXES = (
    "sink_",
    "write_parquet",
    "write_csv",
    "write_json",
    "write_ndjson",
    "write_ipc",
    "write_avro",
    "write_delta",
)
CLASSES = {
    "NamedTemporaryFile",
    "ParquetWriter",
    "SpooledTemporaryFile",
    "TarWriter",
    "ShardWriter",
    "TemporaryDirectory",
    "TemporaryFile",
    "mkdtemp",
    "mkstemp",
}
OF_MODULES = {
    "os": {
        "chown",
        "link",
        "mkfifo",
        "open",
        "remove",
        "removedirs",
        "rename",
        "renames",
        "replace",
        "symlink",
        "utime",
    },
    "shutil": {"copy", "copy2", "copyfile", "copyfileobj", "copytree", "make_archive", "move", "unpack_archive"},
    "np": {"save"},
    "numpy": {"save"},
    "torch": {"save"},
    "json": {"dump"},
    "pickle": {"dump"},
}
"""Functions that write, by their module."""

BY_MODE = {"ZipFile": 1, "memmap": 2, "open_memmap": 1}
"""What writes if its mode says so, and the place of the mode among its arguments."""

STATEMENTS = ("ATTACH ", "COPY ", "EXPORT DATABASE ")
PASSING = {"native_write", "writing"}
"""Contexts in which a native library may write, since they tell the watch before and after."""


def writes(source: str) -> list[str]:
    """What in a module writes, outside contexts that the watch knows: `line: call`, in order."""
    return [f"{line}: {name}" for line, name in sorted(_found(ast.parse(source), passing=False))]


def _found(node: ast.AST, *, passing: bool) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.With | ast.AsyncWith):
        passing = passing or any(
            isinstance(item.context_expr, ast.Call) and _name(item.context_expr.func) in PASSING for item in node.items
        )
    if not passing:
        if isinstance(node, ast.Call):
            name = _writing_call(node)
            if name is not None:
                yield node.lineno, name
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            statement = next((one for one in STATEMENTS if node.value.startswith(one)), None)
            if statement is not None:
                yield node.lineno, statement.strip()
    for child in ast.iter_child_nodes(node):
        yield from _found(child, passing=passing)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _writing_call(call: ast.Call) -> str | None:
    """The name of a call that writes; None if it does not."""
    name = _name(call.func)
    module = (
        call.func.value.id if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) else ""
    )
    if name in OF_MODULES.get(module, ()):
        return f"{module}.{name}"
    if name in METHODS or name in CLASSES or name.startswith(PREFIXES):
        return name if call.args or call.keywords or name not in ("write_csv", "write_json") else None
    if name in BY_MODE:
        mode = _mode(call, BY_MODE[name])
        return None if (isinstance(mode, ast.Constant) and mode.value in ("r", "c")) or not mode else name
    if name in ("open", "fdopen"):
        return _writing_open(call, name)
    moves = isinstance(call.func, ast.Attribute) and len(call.args) == 1 and not call.keywords
    if name in ("rename", "replace") and moves and not isinstance(call.args[0], ast.Dict | ast.DictComp):
        return name
    return None


def _writing_open(call: ast.Call, name: str) -> str | None:
    """`open` with a mode that writes, or that cannot be told; a class's own `open` has no mode."""
    place = 0 if isinstance(call.func, ast.Attribute) and name == "open" else 1
    mode = _mode(call, place)
    if mode is None:
        return None
    if isinstance(mode, ast.Constant) and isinstance(mode.value, str):
        is_mode = set(mode.value) <= set("rwxabt+") and mode.value != ""
        return f"open {mode.value}" if is_mode and set(mode.value) & set("wxa+") else None
    return None if isinstance(call.func, ast.Attribute) else f"{name} with a mode that is not written out"


def _mode(call: ast.Call, place: int) -> ast.expr | None:
    """The argument `mode`, given by name or at its place; None if it is not given."""
    named = next((one.value for one in call.keywords if one.arg == "mode"), None)
    return call.args[place] if named is None and len(call.args) > place else named
