"""The files of examples/ are what their own tools take, and say what tuneonce understands.

The schemas of Kubernetes are those of `kubernetes-validate`, Compose's that of `check-jsonschema`.
No cluster and no container runs anything here.
"""

from __future__ import annotations

import copy
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.servers import need, redis_server
from tests.factories import make_key, put_verdict
from tuneonce.replica import open_replica, read_address
from tuneonce.replica.base import Offer
from tuneonce.settings import VARIABLES
from tuneonce.store import open_store
from tuneonce.store.files import FileStore

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
MANIFESTS = sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
# Below the mounts of a server's pod that are not the container's own, read-only, file system.
WRITABLE = ("/cache", "/tmp", "/dev/shm", "/mnt/tuneonce")
PAGE = (ROOT / "docs/fleet.md").read_text(encoding="utf-8")


def documents(file: Path) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    found: list[dict[str, Any]] = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    return found


def pod_of(file: Path, name: str = "vllm") -> dict[str, Any]:
    """What a deployment runs."""
    [found] = [
        one["spec"]["template"]["spec"]
        for one in documents(file)
        if one["kind"] == "Deployment" and one["metadata"]["name"] == name
    ]
    assert isinstance(found, dict)
    return found


def variables_of(pod: dict[str, Any]) -> dict[str, str]:
    [container] = pod["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


def compose() -> dict[str, Any]:
    [found] = documents(EXAMPLES / "compose/compose.yaml")
    return found


# -- by their own tools --------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.31", "latest"])
@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_manifests_are_what_kubernetes_takes(file: Path, version: str) -> None:
    need(module="kubernetes_validate")
    import kubernetes_validate

    chosen = kubernetes_validate.latest_version() if version == "latest" else version
    found = documents(file)
    assert found
    for document in found:
        assert chosen.startswith(kubernetes_validate.validate(document, chosen, strict=True))
    misspelt = copy.deepcopy(found[-1])
    misspelt["spec"]["template"]["spec"]["containers"][0]["resource"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, chosen, strict=True)


@pytest.mark.parametrize("misspelt", [False, True])
def test_the_compose_file_is_what_compose_takes(misspelt: bool, tmp_path: Path) -> None:
    need(module="check_jsonschema")
    text = (EXAMPLES / "compose/compose.yaml").read_text(encoding="utf-8")
    file = tmp_path / "compose.yaml"
    file.write_text(text.replace("read_only:", "readonly:") if misspelt else text)
    schema = ["--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, str(file)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode != 0) is misspelt, done.stdout + done.stderr


# -- by tuneonce ---------------------------------------------------------------------------------


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_servers_have_settings_that_are_known(file: Path) -> None:
    pod = pod_of(file)
    ours = {n: text for n, text in variables_of(pod).items() if n.startswith("TUNEONCE_")}
    assert "TUNEONCE_STORE" in ours
    assert ours.keys() <= set(VARIABLES)
    with open_store(ours["TUNEONCE_STORE"]) as store:
        assert store.describe().location.startswith(WRITABLE)
    if remote := ours.get("TUNEONCE_REMOTE"):
        assert not read_address(remote).others
    # A Service of the cluster would put variables of its name into the pod.
    assert pod["enableServiceLinks"] is False
    services = [one["metadata"]["name"] for one in documents(file) if one["kind"] == "Service"]
    assert not [name for name in services if name.startswith("tuneonce")]


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_servers_may_do_no_more_than_they_need_and_write_where_they_must(file: Path) -> None:
    pod = pod_of(file)
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}
    assert set(mounted.values()) <= set(WRITABLE)
    places = [text for text in variables_of(pod).values() if text.startswith("/")]
    assert len(places) >= 4
    for place in places:
        assert place.startswith(tuple(mounted.values())), place
    assert container["readinessProbe"]["httpGet"] == container["startupProbe"]["httpGet"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_servers_differ_in_where_results_are_and_in_nothing_else() -> None:
    alike = set()
    for file in MANIFESTS:
        pod = pod_of(file)
        [container] = pod["containers"]
        container["env"] = [one for one in container["env"] if "TUNEONCE" not in one["name"]]
        for part in ("volumeMounts", "volumes"):
            place = pod if part == "volumes" else container
            place[part] = [one for one in place[part] if one["name"] != "tuneonce"]
        for name in ("image", "envFrom"):
            container.pop(name, None)
        for name in ("serviceAccountName", "automountServiceAccountToken"):
            pod.pop(name, None)
        alike.add(repr(pod))
    assert len(alike) == 1


def test_what_is_to_be_filled_in_is_seen() -> None:
    images = [pod_of(file)["containers"][0]["image"] for file in MANIFESTS]
    images.append(compose()["services"]["server"]["image"])
    for image in images:
        assert re.fullmatch(r"registry\.example\.com/YOUR-[A-Z-]+:YOUR-TAG", image)
    secrets = [one for file in MANIFESTS for one in documents(file) if one["kind"] == "Secret"]
    assert len(secrets) == 2
    for secret in secrets:
        assert all(re.search("CHANGE-ME|YOUR-", text) for text in secret["stringData"].values())


# -- the accounts of Redis -----------------------------------------------------------------------


def accounts(text: str) -> dict[str, list[str]]:
    """By account, what it may do; of lines of an ACL file, or of commands."""
    lines = re.findall(r"(?:user|SETUSER) (tuneonce-\w+) on >\S+ (.+)$", text, re.MULTILINE)
    return {name: words.split() for name, words in lines}


def users_of_compose(password: str) -> str:
    text: str = compose()["configs"]["users"]["content"]
    return text.replace("${REDIS_PASSWORD}", password)


def secret_of_redis() -> dict[str, str]:
    [secret] = [
        one for one in documents(EXAMPLES / "kubernetes/redis.yaml") if one["kind"] == "Secret"
    ]
    found: dict[str, str] = secret["stringData"]
    return found


def test_the_accounts_are_those_of_the_page() -> None:
    of_page = accounts(PAGE)
    assert of_page.keys() == {"tuneonce-reader", "tuneonce-writer"}
    assert accounts(secret_of_redis()["users.acl"]) == of_page
    writer = {"tuneonce-writer": of_page["tuneonce-writer"]}
    assert accounts(users_of_compose("word")) == writer


def test_a_server_takes_the_accounts_and_nobody_else(tmp_path: Path) -> None:
    secret = secret_of_redis()
    [container] = pod_of(EXAMPLES / "kubernetes/redis.yaml", "redis-tuneonce")["containers"]
    (tmp_path / "users.acl").write_text(secret["users.acl"])
    program, *words = container["args"]
    assert program == "redis-server"
    words = [word.replace("/etc/tuneonce", str(tmp_path)) for word in words]
    shelf, name = "NVIDIA-H200-90~81c2", "v1/kernel~1/NVIDIA-H200-90~81c2/0a1b/c02.1.verdict.json"
    with redis_server(options=[*words, "--dir", str(tmp_path)]) as port:
        for key in ("writer-url", "reader-url"):
            url = secret[key].replace("redis-tuneonce:6379", f"127.0.0.1:{port}")
            with open_replica(url) as replica:
                if key == "writer-url":
                    assert replica.push(shelf, [Offer(name, b"data")]) == [None]
                assert [one.name for one in replica.pull(shelf).entries] == [name]
        import redis

        with redis.Redis(port=port) as nobody, pytest.raises(redis.AuthenticationError):
            nobody.ping()


def test_compose_knows_when_its_server_of_redis_is_there(tmp_path: Path) -> None:
    need(program="redis-cli")
    (tmp_path / "users.acl").write_text(users_of_compose("word"))
    service = compose()["services"]["redis"]
    kind, check = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    program, *words = shlex.split(service["command"])
    assert program == "redis-server"
    words = [word.replace("/etc/tuneonce", str(tmp_path)) for word in words]
    with redis_server(options=[*words, "--dir", str(tmp_path)]) as port:
        here = check.replace("redis-cli", f"redis-cli -p {port}")
        assert subprocess.run(["sh", "-c", here]).returncode == 0
        url = compose()["services"]["server"]["environment"]["TUNEONCE_REMOTE"]
        url = re.sub(r"\$\{[^}]*\}", "word", url).replace("redis:6379", f"127.0.0.1:{port}")
        with open_replica(url) as replica:
            assert replica.try_writing()
    assert subprocess.run(["sh", "-c", here]).returncode != 0


# -- the image -----------------------------------------------------------------------------------


def test_the_steps_of_the_image_leave_a_base_that_everybody_reads(tmp_path: Path) -> None:
    canary = FileStore(tmp_path / "canary")
    for kernel in ("add", "mul"):
        put_verdict(canary, make_key(kernel), {64: (0.2,), 128: (0.1,)})
    text = (EXAMPLES / "image/Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    text = text.replace("/opt/", f"{tmp_path}/opt/").replace("/usr/src/", f"{tmp_path}/")
    [step] = re.findall(r"^RUN (.*tuneonce import.*)$", text, re.MULTILINE)
    [base] = re.findall(r"^ENV TUNEONCE_BASE=(.*)$", text, re.MULTILINE)
    [of_pod] = [one for one in MANIFESTS if one.stem == "baked-image"]
    assert not variables_of(pod_of(of_pod))["TUNEONCE_STORE"].startswith("/opt")

    def run(words: str, **environment: str) -> str:
        program = f'tuneonce() {{ {shlex.quote(sys.executable)} -m tuneonce "$@"; }}'
        done = subprocess.run(
            ["sh", "-c", f"umask 077; {program}; {words}"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(f"tuneonce export {tmp_path}/results.tgz --store {canary.describe().location}")
    run(step)
    before = {path: path.stat() for path in Path(base).rglob("*")}
    known = run("tuneonce ls", TUNEONCE_BASE=base, TUNEONCE_STORE=f"{tmp_path}/store")
    assert "2 verdicts" in known
    assert "base" in known
    assert before
    for path, state in before.items():
        assert state.st_mode & 0o055 == (0o055 if path.is_dir() else 0o044), path
    assert {path: path.stat() for path in Path(base).rglob("*")} == before


# -- the pages -----------------------------------------------------------------------------------


def test_each_example_is_linked() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for file in EXAMPLES.rglob("*"):
        if file.is_file() and file.name != "README.md":
            place = file.relative_to(EXAMPLES).as_posix()
            assert f"]({place})" in listed
            assert f"](../examples/{place})" in PAGE
