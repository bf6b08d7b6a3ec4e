"""Restored images are cached by the code that makes them: what a change of a file makes again."""

import shutil
from pathlib import Path

import grimp
import pytest

import baselines
from baselines.method import Method
from baselines.methods import METHODS, OTHERS
from gopro_tools.plugins import imports_sha256

PARTS = {  # modules whose code restores, beside `baselines.method`
    "sun2015": ("sun2015.network", "sun2015.restorer"),
    "deepdeblur": ("deepdeblur.network", "restoring"),
    "deblurgan": ("deblurgan.network", "restoring"),
    "spandrel": ("zoo", "restoring"),
}


def keys() -> dict[str, str]:
    return {method.name: method.code_sha256 for method in (*METHODS, *OTHERS)}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, from which keys are taken."""
    folder = Path(baselines.__file__).parent
    shutil.copytree(folder, tmp_path / "baselines", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(baselines, "__path__", [str(tmp_path / "baselines")])
    return tmp_path / "baselines"


def changed_by(path: Path) -> set[str]:
    """Methods whose key is another after a change of a file."""
    before, text = keys(), path.read_text()
    path.write_text(text + "\n# changed\n")
    after = keys()
    path.write_text(text)
    return {name for name in before if before[name] != after[name]}


K = {"deepdeblur-k1", "deepdeblur-k2", "deepdeblur-k3"}
EVERY = K | {"sun2015", "sun2015-plus", "deblurgan", "spandrel"}


@pytest.mark.parametrize(
    ("file", "methods"),
    [
        ("deepdeblur/network.py", K),
        ("deblurgan/network.py", {"deblurgan"}),
        ("sun2015/confidences.py", {"sun2015", "sun2015-plus"}),
        ("zoo.py", {"spandrel"}),
        ("deepdeblur/method.py", K),
        ("deepdeblur/pyramid.py", K | {"deblurgan"}),
        ("restoring.py", EVERY),
        ("checkpoints/tensors.py", EVERY),
        ("deblurgan/learner.py", set()),  # what it trained is known by the hash of the weights
    ],
)
def test_a_file_changes_the_keys_of_what_imports_it(
    copy: Path, file: str, methods: set[str]
) -> None:
    assert changed_by(copy / file) == methods


def test_keys_are_of_what_the_import_graph_says(copy: Path) -> None:
    graph = grimp.build_graph("baselines", exclude_type_checking_imports=True, cache_dir=None)
    wanted: dict[str, set[str]] = {module: set() for module in graph.modules}
    for method in (*METHODS, *OTHERS):
        parts = PARTS[method.kind.name.removesuffix("-plus") if method.kind else method.name]
        roots = {"baselines.method", *(f"baselines.{part}" for part in parts)}
        used = roots.union(*(graph.find_upstream_modules(root) for root in roots))
        for module in used:
            wanted[module].add(method.name)
    files = {
        ".".join(path.relative_to(copy.parent).with_suffix("").parts): path
        for path in copy.rglob("*.py")
        if path.name != "__init__.py"
    }
    assert {module: changed_by(path) for module, path in files.items()} == {
        module: wanted[module] for module in files
    }


def test_imports_are_followed_late_relative_and_from_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "followed"
    (package / "inner").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "root.py": "from typing import TYPE_CHECKING\n"
        "import json, followed.plain\nfrom followed import part\nfrom .inner import deep\n"
        "def f():\n    from followed.late import g\n"
        "if TYPE_CHECKING:\n    from followed.typing_only import T\n",
        "plain.py": "",
        "part.py": "",
        "late.py": "from . import sibling\ndef g(): pass\n",
        "sibling.py": "",
        "inner/__init__.py": "",
        "inner/deep.py": "from ..above import value\n",
        "above.py": "value = 1\n",
        "typing_only.py": "T = int\n",
        "other.py": "",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = imports_sha256(["followed.root"])
    for name, text in files.items():
        (package / name).write_text(text + "# changed\n")
        is_seen = imports_sha256(["followed.root"]) != before
        assert is_seen == (name not in ("typing_only.py", "other.py")), name
        (package / name).write_text(text)
    assert imports_sha256(["followed.root"]) == before


def test_a_method_of_another_package_is_keyed_by_that_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lone_method.py").write_text("def opened(weights, options): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    import lone_method

    method = Method(name="lone", title="Lone", open_untrained=lone_method.opened)
    before = method.code_sha256
    (tmp_path / "lone_method.py").write_text("def opened(weights, options): return 1\n")
    assert method.code_sha256 != before
