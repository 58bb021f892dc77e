"""The image and the compose file, as far as they can be held to the code without Docker."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]

BLOCKED = """
import importlib.metadata, sys
from packaging.requirements import Requirement

def closure(names):
    found, todo = set(), [Requirement(name) for name in names]
    while todo:
        wanted = todo.pop()
        key = (wanted.name.lower().replace("_", "-"), tuple(sorted(wanted.extras)))
        if key in found:
            continue
        found.add(key)
        try:
            needs = importlib.metadata.requires(wanted.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for need in map(Requirement, needs):
            extras = [*wanted.extras, ""]
            if need.marker is None or any(need.marker.evaluate({"extra": one}) for one in extras):
                todo.append(need)
    return {name for name, _ in found} | {"pip", "setuptools", "rlhf-pipeline"}

allowed = closure(sys.argv[2:])
owners = importlib.metadata.packages_distributions()

class Wall:
    def find_spec(self, name, path=None, target=None):
        dists = owners.get(name.partition(".")[0])
        if dists and not any(one.lower().replace("_", "-") in allowed for one in dists):
            raise ModuleNotFoundError(f"not in the image: {name}", name=name)
        return None

sys.meta_path.insert(0, Wall())
import labeling_app.server, pipelines.cli, pipelines.commands.label, pipelines.commands.store
import pkgutil, rlhf.feedback, labeling_app
for package in (rlhf.feedback, labeling_app):
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "migrations":
            __import__(f"{package.__name__}.{module.name}")
from rlhf.feedback.store import Store
with Store(sys.argv[1]) as store:
    store.create_campaign("main")
import psycopg, argon2
try:
    import torch
except ModuleNotFoundError as error:
    print(error)
"""


def instructions() -> list[tuple[str, str]]:
    """(instruction, its arguments) of the Dockerfile, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    parts = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [(name, arguments) for name, arguments in parts]


def installed() -> list[str]:
    """The packages that the image installs by name."""
    (listed,) = [
        arguments
        for name, arguments in instructions()
        if name == "RUN" and arguments.startswith("pip install") and "--no-deps" not in arguments
    ]
    return shlex.split(listed)[2:]


def test_the_image_installs_what_pyproject_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {*project["dependencies"], *project["optional-dependencies"]["postgres"]}
    named = {one.split(";")[0] for one in named}  # the image is no Windows
    assert set(installed()) <= named
    assert len(installed()) == 17
    assert all(Requirement(one).specifier for one in installed())


def test_what_the_image_installs_is_all_that_the_app_needs(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BLOCKED, str(tmp_path / "store.db"), *installed()],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "not in the image: torch\n"


def test_the_dockerfile_copies_what_is_there_and_runs_as_nobody_special() -> None:
    steps = instructions()
    assert [name for name, _ in steps if name not in {"FROM", "ENV", "RUN", "COPY"}] == [
        "WORKDIR", "USER", "WORKDIR", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD",
    ]  # fmt: skip
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [word for name, words in steps if name == "COPY" for word in words.split()[:-1]]
    for word in copied:
        assert (ROOT / word).exists()
        assert f"!{word}" in ignored
    assert dict(steps)["USER"] == "10001"


def test_the_compose_file_holds_together() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    app, database = compose["services"]["app"], compose["services"]["database"]
    assert app["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "healthcheck" in database
    assert app["ports"] == ["127.0.0.1:7860:7860"]
    volumes = [one.split(":")[0] for one in (*app["volumes"], *database["volumes"])]
    assert sorted(volumes) == sorted(compose["volumes"])
    (subnet,) = compose["networks"]["inside"]["ipam"]["config"]
    assert app["command"][app["command"].index("--proxy") + 1] == subnet["gateway"]
    given = str([app["command"], app.get("environment"), database.get("environment")])
    assert not re.search(r"password\b", given, re.IGNORECASE)
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"secrets.env", ".env"} <= set(ignored)
