"""The wheel carries what the code needs beside itself, and works from any folder."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from service.resources import config_dir, migrations_dir

ROOT = Path(__file__).resolve().parent.parent
_TELL = """
from pathlib import Path
import service
from service.resources import config_dir, migrations_dir
from service.settings import load
load(config=config_dir() / "bridge.toml", environ={})
print(Path(service.__file__).parent, config_dir(), migrations_dir(), sep="\\n")
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `pip install .` does, but with the locked backend: no network."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    [built] = out.glob("contact_bridge-*.whl")
    return built


def files_below(folder: Path) -> set[str]:
    """Relative names, without caches."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in paths if path.suffix not in (".pyc", ".db")}


def test_a_checkout_finds_its_own_files() -> None:
    assert config_dir() == ROOT / "config"
    assert migrations_dir() == ROOT / "migrations"


def test_the_wheel_carries_everything(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"service/{name}" for name in files_below(ROOT / "service") if not name.startswith(".")}
    expected |= {f"service/_config/{name}" for name in files_below(ROOT / "config")}
    expected |= {f"service/_migrations/{name}" for name in files_below(ROOT / "migrations")}
    assert {name for name in expected if "/." not in name} - names == set()
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_it_works_installed_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    [site] = (home / "lib").glob("python*/site-packages")
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=tmp_path
    )
    # The dependencies are this environment's; as a path and not through its .pth files, which lead to the checkout.
    [ours] = {Path(path) for path in sys.path if path.startswith(sys.prefix) and path.endswith("site-packages")}
    (site / "shared.pth").write_text(f"{ours}\n")

    package, config, migrations = map(Path, run(python, "-c", _TELL, cwd=tmp_path).split())
    assert package == site / "service"
    assert config == package / "_config"
    assert files_below(config) == files_below(ROOT / "config")
    if files_below(ROOT / "migrations"):
        assert migrations == package / "_migrations"
        assert files_below(migrations) == files_below(ROOT / "migrations")
    assert (home / "bin" / "contact-bridge").exists()
