"""Checks what stands under deploy/. Ends with 1 if anything is wrong.

What a tool of this machine cannot check is said, and with CI set it is an error.
"""

from __future__ import annotations

import copy
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
BIN = Path(os.environ["COPYDESK_BIN"])
TOOLS = Path(sys.executable).parent
HEALTH = "copydesk.v1.ClassifierService"

# The oldest version that knows all that is used, and the newest with schemas here.
KUBERNETES = ("1.27.0", kubernetes_validate.latest_version())

# What a server holds, in MiB: as measured (README), and a call whose reader has stopped.
MODEL, CALL = 230, 4

Manifest = dict[str, Any]


class Wrong(Exception):
    """What a check found."""


def need(held: bool, problem: str) -> None:
    if not held:
        raise Wrong(problem)


def missing(tool: str) -> None:
    need(not os.environ.get("CI"), f"{tool} is not on this machine")
    print(f"   not checked: {tool} is not on this machine")


def output(*command: str | Path, **more: Any) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, **more)
    need(ran.returncode == 0, f"{command}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def variables() -> set[str]:
    """The variables that the server and its health check know."""
    help = output(BIN, "serve", "--help") + output(BIN, "health", "--help")
    return set(re.findall(r"\[env: (\w+)=", help))


def known(names: set[str], place: str) -> None:
    unknown = {name for name in names if name.startswith("COPYDESK_")} - variables()
    need(not unknown, f"{place} sets {sorted(unknown)}, which nothing reads")


# Kubernetes.


def kubernetes() -> None:
    base = [yaml.safe_load(file.read_text()) for file in listed(DEPLOY / "kubernetes" / "base")]
    conforms(base)
    refuses(base)
    fits(base)
    if not shutil.which("kubectl"):
        return missing("kubectl")
    for name in ("base", "secured"):
        rendered = output("kubectl", "kustomize", DEPLOY / "kubernetes" / name)
        manifests = list(yaml.safe_load_all(rendered))
        conforms(manifests)
        fits(manifests)


def listed(folder: Path) -> list[Path]:
    """The files that the kustomization names: all that there are."""
    names = set(yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"])
    there = {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"}
    need(names == there, f"{folder}: named are {sorted(names)}, there are {sorted(there)}")
    return [folder / name for name in sorted(names)]


def conforms(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise Wrong(f"{manifest['kind']} under {version}: {error.message}") from None


def refuses(manifests: list[Manifest]) -> None:
    """That the schemas are looked at: a name that is misspelt and a kind of value are refused."""
    pod = ["spec", "template", "spec"]
    for path, value in [
        (pod, {"readOnly": True}),
        ([*pod, "securityContext"], {"runAsUser": "me"}),
    ]:
        manifest = copy.deepcopy(one(manifests, "Deployment"))
        at = manifest
        for key in path:
            at = at[key]
        at.update(value)
        try:
            conforms([manifest])
        except Wrong:
            continue
        raise Wrong(f"the schemas let {value} pass")


def one(manifests: list[Manifest], kind: str) -> Manifest:
    (manifest,) = (m for m in manifests if m["kind"] == kind)
    return manifest


def fits(manifests: list[Manifest]) -> None:
    """What no schema sees: names that must be the same, times and sizes that must suffice."""
    deployment = one(manifests, "Deployment")["spec"]
    pod, labels = deployment["template"]["spec"], deployment["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    settings = one(manifests, "ConfigMap")["data"]
    known(set(settings) | {v["name"] for v in container["env"]}, "the Deployment")

    selectors = {
        "Deployment": deployment["selector"]["matchLabels"],
        "Service": one(manifests, "Service")["spec"]["selector"],
        "PodDisruptionBudget": one(manifests, "PodDisruptionBudget")["spec"]["selector"][
            "matchLabels"
        ],
        "NetworkPolicy": one(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    }
    for kind, selector in selectors.items():
        need(selector.items() <= labels.items(), f"{kind} selects {selector}, pods have {labels}")
    target = one(manifests, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    need(
        target["name"] == one(manifests, "Deployment")["metadata"]["name"],
        "the autoscaler's target",
    )
    need("replicas" not in deployment, "the Deployment counts replicas, and so does the autoscaler")
    need(one(manifests, "Service")["spec"]["clusterIP"] == "None", "the Service is not headless")
    need(
        pod["serviceAccountName"] == one(manifests, "ServiceAccount")["metadata"]["name"], "account"
    )

    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for rule in one(manifests, "NetworkPolicy")["spec"]["ingress"]:
        need(all(p["port"] in ports for p in rule["ports"]), f"{rule} names none of {ports}")
    need(settings["COPYDESK_ADDR"].endswith(f":{ports['grpc']}"), "the address and the port")
    need(
        settings["COPYDESK_METRICS_ADDR"].endswith(f":{ports['metrics']}"), "metrics and their port"
    )
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container[kind]
        if "grpc" in probe:
            need(probe["grpc"] == {"port": ports["grpc"], "service": HEALTH}, f"{kind}: {probe}")
            need("COPYDESK_TLS_CERT" not in str(container["env"]), f"{kind} speaks no TLS")
        else:
            command = probe["exec"]["command"]
            need(int(command[3]) < probe["timeoutSeconds"], f"{kind} is killed before it can tell")

    wait, drain = int(settings["COPYDESK_DRAIN_WAIT"]), int(settings["COPYDESK_DRAIN_TIMEOUT"])
    need(pod["terminationGracePeriodSeconds"] >= wait + drain + 10, "killed while it drains")
    ready = container["readinessProbe"]
    need(wait > ready["periodSeconds"] + ready["timeoutSeconds"], "it drains before it is noticed")
    resources = container["resources"]
    request, limit = (mebibytes(resources[r]["memory"]) for r in ("requests", "limits"))
    need(request > MODEL, f"{request} MiB are asked for, {MODEL} are used")
    most = MODEL + CALL * int(settings["COPYDESK_MAX_CALLS"])
    need(limit > most, f"the limit is {limit} MiB, and {most} may be used")

    for place in (pod["securityContext"], container["securityContext"]):
        place = dict(place)
        expected = {
            "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"},
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        for key in expected.keys() & place.keys():
            need(place[key] == expected.pop(key), f"{key} is {place[key]}")
    need(pod["automountServiceAccountToken"] is False, "the pod gets a token")
    image = Dockerfile()
    need(
        image.user
        == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}",
        "users differ",
    )
    need(image.ports == set(ports.values()), "the image's ports are others")
    if ":" in container["image"]:
        tag = container["image"].rsplit(":", 1)[1]
        need(tag == version(), f"the image is {tag}, the package {version()}")


def mebibytes(text: str) -> int:
    factor = {"Mi": 1, "Gi": 1024}[text[-2:]]
    return int(text[:-2]) * factor


def version() -> str:
    return str(tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"])


# systemd.


def systemd() -> None:
    if not shutil.which("systemd-analyze"):
        return missing("systemd-analyze")
    text = (DEPLOY / "copydesk.service").read_text()
    known(set(re.findall(r"COPYDESK_\w+(?==)", text)), "the unit")
    drain = int(re.search(r"^Environment=COPYDESK_DRAIN_TIMEOUT=(\d+)$", text, re.M)[1])
    stop = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.M)[1])
    need(stop >= drain + 10, "killed while it drains")
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder) / "copydesk.service"
        unit.write_text(text.replace("/usr/local/bin/copydesk", str(BIN)))
        ran = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
        need(ran.returncode == 0 and not ran.stderr, f"systemd-analyze verify: {ran.stderr}")
        # In tenths: below 2.0 of 10, "OK".
        told = output("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
        print("  ", told.strip().splitlines()[-1])


# Envoy.


def envoy() -> None:
    """Envoy in front of one server and of one that is not there: gRPC's health checks, and grpc-web
    by HTTP/1.1 as from a browser."""
    output(
        TOOLS / "envoy", "--mode", "validate", "-c", DEPLOY / "envoy.yaml", "--log-level", "error"
    )
    admin, front, replica, nobody = free_ports(4)
    ports = {"9901": admin, "50050": front, "50051": replica, "50052": nobody}
    text = (DEPLOY / "envoy.yaml").read_text()
    text = re.sub(r"(?<=port_value: )\d+", lambda found: str(ports[found[0]]), text)
    tiny = ROOT / "tests" / "fixtures" / "tiny"
    serve = [BIN, "serve", "--addr", f"127.0.0.1:{replica}", "--workers", "1", "--model", tiny]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        proxy = [TOOLS / "envoy", "-c", file.name, "--log-level", "error", "--use-dynamic-base-id"]
        running = [
            subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in (serve, proxy)
        ]
        try:
            # By way of Envoy, which sends health checks to a replica as it does all calls.
            output(BIN, "health", f"http://127.0.0.1:{front}", "--wait", "120")
            by_web(front)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(timeout=60)


def by_web(port: int) -> None:
    """A call as a browser makes it: what it asks beforehand, and an empty message for GetModel."""
    path, origin = f"/{HEALTH}/GetModel", {"Origin": "https://newsroom.example"}
    before = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-grpc-web",
    }
    allowed = asked(port, "OPTIONS", path, origin | before)
    need(allowed.getheader("access-control-allow-origin") is not None, "CORS is not answered")
    web = {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1"}
    answer = asked(port, "POST", path, origin | web, bytes(5))
    body = answer.read()
    need(answer.status == 200 and b"news-en" in body, f"grpc-web: {answer.status} {body[:200]!r}")
    # The last frame, marked by its first bit, holds the trailers.
    need(
        b"\x80" in body and re.search(rb"grpc-status: ?0", body) is not None,
        f"trailers: {body[-100:]!r}",
    )


def asked(port: int, *request: Any) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    verb, path, headers, *body = request
    connection.request(verb, path, body[0] if body else None, headers)
    return connection.getresponse()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


# The image.


class Dockerfile:
    """What the last stage says."""

    def __init__(self) -> None:
        self.text = (DEPLOY / "Dockerfile").read_text()
        last = re.sub(r"\\\n\s*", " ", self.text).rsplit("\nFROM ", 1)[1]
        self.user = re.search(r"^USER (\S+)$", last, re.M)[1]
        self.ports = {int(port) for port in re.findall(r"(\d+)/tcp", last)}
        self.environment = dict(
            pair.split("=", 1)
            for line in re.findall(r"^ENV (.*)$", last, re.M)
            for pair in line.split()
        )
        self.command = words(last, "ENTRYPOINT") + words(last, "CMD")
        self.health = words(last, r"HEALTHCHECK .*?CMD")


def words(text: str, instruction: str) -> list[str]:
    """Of an instruction in JSON form."""
    return list(yaml.safe_load(re.search(rf"^{instruction} (\[.*\])$", text, re.M)[1]))


def dockerfile() -> None:
    output(TOOLS / "hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile")
    image = Dockerfile()
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    need(f"ARG RUST_VERSION={toolchain}\n" in image.text, f"the toolchain is {toolchain}")
    need(f"ARG VERSION={version()}\n" in image.text, f"the version is {version()}")
    known(set(image.environment), "the image")
    context()


def context() -> None:
    """That all that the build reads is let into its context."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [ROOT / line[1:] for line in lines if line.startswith("!")]
    gone = [path.name for path in let_in if not path.exists()]
    need(not gone, f".dockerignore names {gone}, which are not there")
    reads = {ROOT / name for name in ("Cargo.toml", "Cargo.lock", "build.rs")}
    for source in [ROOT / "build.rs", *(ROOT / "src").rglob("*.rs")]:
        for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
            reads.add((source.parent / name).resolve())
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    reads |= {ROOT / manifest["package"]["readme"]}
    reads |= {ROOT / target["path"] for kind in ("bin", "test") for target in manifest[kind]}
    reads |= {ROOT / "benches" / f"{bench['name']}.rs" for bench in manifest["bench"]}
    out = [str(p) for p in reads if not any(p.is_relative_to(folder) for folder in let_in)]
    need(not out, f".dockerignore keeps out {out}")


# Debian's packages that the base image is made of, as far as the binary needs them.
LIBRARIES = ("libc6", "libgcc-s1")


def image() -> None:
    """A server in the image's file tree: read-only, as its user, no capabilities, no network."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "dpkg-deb", "ip"))):
        return missing("root, unshare, setpriv, dpkg-deb or ip")
    stage = Dockerfile()
    with tempfile.TemporaryDirectory() as folder:
        debs, tree = Path(folder) / "debs", Path(folder) / "tree"
        debs.mkdir(mode=0o777)
        download = ("apt-get", "download", "-q", *LIBRARIES)
        if subprocess.run(download, cwd=debs, capture_output=True).returncode != 0:
            # A machine that is new knows no packages.
            output("apt-get", "update", "-q")
            output(*download, cwd=debs)
        for deb in debs.iterdir():
            output("dpkg-deb", "-x", deb, tree)
        for name in ("proc", "usr/local/bin", "etc"):
            (tree / name).mkdir(parents=True, exist_ok=True)
        (tree / "etc" / "passwd").write_text("nonroot:x:65532:65532::/:/sbin/nologin\n")
        shutil.copy(BIN, tree / "usr" / "local" / "bin" / "copydesk")
        (tree / "article.txt").write_text("The league met. “We go,” said Ida Brandt of Norland.\n")
        tree.chmod(0o755)
        Path(folder).chmod(0o755)
        inside = [
            "setpriv",
            "--no-new-privs",
            "--inh-caps=-all",
            "--bounding-set=-all,+setuid,+setgid,+sys_chroot",
        ]
        inside += ["chroot", f"--userspec={stage.user}", "--groups=", str(tree)]
        script = f"""
            set -eu
            ip link set lo up
            mount --bind {tree} {tree}
            mount -t proc proc {tree}/proc
            mount -o remount,ro,bind {tree}
            {" ".join(inside)} {" ".join(stage.command)} &
            server=$!
            {" ".join(inside)} {" ".join(stage.health)} --wait 120
            {" ".join(inside)} {stage.command[0]} classify \\
                --server http://127.0.0.1:50051 --format jsonl /article.txt
            grep -E '^(Uid|Gid|CapEff|NoNewPrivs)' {tree}/proc/$server/status
            kill -TERM $server
            wait $server
            echo ended with $?
        """
        environment = {"PATH": os.environ["PATH"], **stage.environment}
        told = output(
            "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script,
            env=environment, timeout=300,
        )  # fmt: skip
    for expected in (
        "http://127.0.0.1:50051 serves",
        '"id":"/article.txt"',
        '"text":"“We go,” said Ida Brandt of Norland."',
        "Uid:\t65532\t65532\t65532\t65532",
        "Gid:\t65532\t65532\t65532\t65532",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "ended with 0",
    ):
        need(expected in told, f"{expected!r} is missing in:\n{told}")


CHECKS: list[Callable[[], None]] = [kubernetes, systemd, envoy, dockerfile, image]


def main() -> int:
    wrong = 0
    for check in CHECKS:
        print(check.__name__, flush=True)
        try:
            check()
        except Wrong as problem:
            wrong += 1
            print(f"   wrong: {problem}", file=sys.stderr)
    print(f"{len(CHECKS) - wrong} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
