"""What Windows and macOS would refuse, as far as Linux can test it: names, modules, encodings."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gopro_tools.errors import InputError
from gopro_tools.sources import restored_folders
from gopro_tools.synthesize.sources import unique_stems

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gopro_tools", "baselines")
_UNIX_ALONE = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}


def is_portable(name: str) -> bool:
    """Whether Windows takes a file name."""
    return (
        not set(name) & set('<>:"/\\|?*')
        and all(ord(c) >= 32 for c in name)
        and name[-1] not in ". "
        and name.partition(".")[0].lower() not in _RESERVED
    )


@pytest.mark.parametrize(
    "name", ["CON", "nul", "com1", "lpt9.v2", "net.", "a:b", "a/b", "a\\b", "Sharp", "BLURRED"]
)
def test_method_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="--restored"):
        restored_folders([f"{name}=folder"])


def test_method_names_that_differ_only_in_case_are_refused() -> None:
    with pytest.raises(InputError, match="more than the case"):
        restored_folders(["MyNet=a", "mynet=b"])
    assert list(restored_folders(["MyNet=a", "MyNet+=b", "x (v1.2)=c"])) == [
        "MyNet", "MyNet+", "x (v1.2)",
    ]  # fmt: skip


def test_sequences_are_named_so_that_every_file_system_tells_them_apart() -> None:
    names = ["A.mp4", "a.mov", "b/a.mp4", "q?<x>:y.mp4", "trailing. .mp4", "new\nline.mp4", "é.mp4",
             "e\u0301.mp4", "long" * 80 + ".mp4"]  # fmt: skip
    folders = [f"{stem}_11_00" for stem in unique_stems(names)]
    assert all(is_portable(folder) for folder in folders)
    assert len({folder.casefold() for folder in folders}) == len(names)
    assert max(len(folder.encode()) for folder in folders) < 256


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef):
            yield child
            yield from at_import(child)


def test_no_module_needs_what_only_unix_has() -> None:
    found = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            # What a function imports, it can do without.
            for node in at_import(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                found += [f"{path.name}: {name}" for name in names if name in _UNIX_ALONE]
    assert not found


def test_text_is_read_and_written_as_utf_8_whatever_the_system_prefers() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--preview", "--select", "PLW1514", *PACKAGES,
         "benchmarks"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


def test_files_of_the_repository_have_names_that_check_out_everywhere() -> None:
    result = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        pytest.skip("not a git checkout")
    files = [name for name in result.stdout.split("\0") if name]
    assert len(files) > 100
    assert all(is_portable(part) for name in files for part in name.split("/"))
    assert len({name.casefold() for name in files}) == len(files)
    assert max(map(len, files)) < 180
