# SPDX-License-Identifier: MIT
"""The package as pip makes it from the tree, installed offline into fresh environments: what is in it, that it needs
nothing, and that pytest finds the plugin by itself."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from conftest import ROOT

PACKAGE = os.path.join(ROOT, "client", "python")


def run(*words, **more):
    # What is installed decides here, not the tree that the other tests use.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "PYTEST_"))}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False, **more)
    assert done.returncode == 0, f"{words}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    tree = directory / "tree"  # setuptools leaves its work beside what it builds
    shutil.copytree(PACKAGE, tree, ignore=shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build"))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-build-isolation", "--no-deps", "-w",
        str(directory), str(tree))
    (path,) = directory.glob("*.whl")
    return path


@pytest.fixture
def installed(wheel, tmp_path):
    """installed(*options of venv): the Python of a fresh environment with the wheel in it."""
    def make(*options):
        run(sys.executable, "-m", "venv", "--without-pip", *options, str(tmp_path / "venv"))
        python = str(tmp_path / "venv" / "bin" / "python")
        run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", str(wheel))
        return python
    return make


def test_the_wheel_is_pure_and_complete(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("sshlease/")}
        metadata = archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))).decode()
    source = os.path.join(PACKAGE, "src", "sshlease")
    assert names == {f"sshlease/{name}" for name in os.listdir(source) if name.endswith((".py", ".typed"))}
    assert "sshlease/py.typed" in names
    assert re.search(r"^Requires-Python: >=3\.9$", metadata, re.MULTILINE)
    assert not re.search(r"^Requires-Dist:(?!.*extra ==)", metadata, re.MULTILINE)


def test_alone_it_works_without_anything_else(installed, tmp_path):
    """In an environment where nothing else is installed, paramiko and testinfra neither."""
    python = installed()
    said = run(python, "-c", """if True:
        import importlib, pkgutil
        import sshlease, sshlease.testinfra
        for module in pkgutil.iter_modules(sshlease.__path__):
            if module.name not in ("pytest_plugin", "_testinfra_backend"):  # pytest and testinfra import these
                importlib.import_module(f"sshlease.{module.name}")
        assert not sshlease.testinfra.register()
        try:
            sshlease.lease("t", socket="nobody.sock")
        except sshlease.NoDaemon as error:
            print(error)
    """, cwd=str(tmp_path))
    assert said.startswith("t: no sshleased is listening at nobody.sock; start one of your own with `sshleased --user &`")


@pytest.mark.once
def test_it_builds_without_a_network_as_the_readme_has_it(tmp_path):
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        text = " ".join(f.read().split())
    options = re.search(r"`pip install (--[a-z-]+) ./client/python`", text)[1], re.search(r"python3 -m venv (--[a-z-]+)`", text)[1]
    shutil.copytree(PACKAGE, tmp_path / "tree", ignore=shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build"))
    run(sys.executable, "-m", "venv", "--without-pip", options[1], str(tmp_path / "venv"))
    python = str(tmp_path / "venv" / "bin" / "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", options[0], str(tmp_path / "tree"))
    where = run(python, "-c", "import sshlease; print(sshlease.__file__)", cwd=str(tmp_path)).strip()
    assert where.startswith(str(tmp_path / "venv"))


@pytest.mark.once
def test_pytest_finds_the_plugin(installed, tmp_path):
    python = installed("--system-site-packages")
    (tmp_path / "test_it.py").write_text("def test_it(ssh_lease): ssh_lease('t')\n")
    said = run(python, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--sshlease-no-daemon=skip",
               "--sshlease-socket=nobody.sock", "test_it.py", cwd=str(tmp_path))
    assert "no sshleased is listening" in said and "1 skipped" in said
    where = run(python, "-c", "import sshlease; print(sshlease.__file__)", cwd=str(tmp_path)).strip()
    assert where.startswith(str(tmp_path))


def test_the_sources_are_of_python_3_9():
    source = os.path.join(PACKAGE, "src", "sshlease")
    for name in sorted(os.listdir(source)):
        if name.endswith(".py"):
            with open(os.path.join(source, name), encoding="utf-8") as f:
                ast.parse(f.read(), name, feature_version=(3, 9))
