"""The Kubernetes manifests: valid, restricted, coherent, and in step with the code."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values
from twisted.trial.unittest import SynchronousTestCase

from autopilot import __version__
from autopilot.settings import Settings, load_settings, split_address
from autopilot.state.edge_account import USUAL_RATE
from tests.deploy.manifests import (
    KUBERNETES,
    dockerfile,
    kubernetes,
    memory,
    memory_needed,
    mistakes_in,
)
from tests.process.processes import ROOT
from tests.unit.service.platforms import ServiceTestCase
from tests.unit.web.browsers import request

NO_SCHEMA = "no schema"
_STOPPING = 5
"""Seconds that a stop takes besides the drain."""
_STORE = 6379
"""The port of Redis and Valkey."""
_STREAMS = 300
"""Requests of one worker, on average, from which on there should be another pod."""
_MINUTE = 60.0


class SchemaTests(SynchronousTestCase):
    """What Kubernetes' own schemas say."""

    def test_valid(self) -> None:
        """Nothing is wrong; those without a schema are not Kubernetes' own kinds."""
        problems = {name: each for name, each in kubernetes().problems.items() if each}
        self.assertEqual(
            problems,
            {
                "kustomization.yaml": [NO_SCHEMA],
                "prometheus-adapter-rule.yaml": [NO_SCHEMA],
                "servicemonitor.yaml": [NO_SCHEMA],
            },
        )

    def test_would_show(self) -> None:
        """A key or a value that they do not know would be."""
        copies = mistakes_in(KUBERNETES / "deployment.yaml")
        self.assertEqual(len(copies), 2)
        for problems in copies:
            shown = [each for each in problems if each != NO_SCHEMA]
            self.assertEqual(len(shown), 1)


class KubernetesTestCase(ServiceTestCase):
    """The manifests, read, and the settings of the pods."""

    def setUp(self) -> None:
        """Read them."""
        super().setUp()
        self.manifests = kubernetes()
        self.template: Any = self.manifests.of_kind("Deployment")["spec"]["template"]
        (self.container,) = self.template["spec"]["containers"]
        env = self.container["env"]
        given = {each["name"]: each["value"] for each in env if "value" in each}
        self.secrets = {each["name"]: each["valueFrom"] for each in env if "value" not in each}
        in_file = dotenv_values(KUBERNETES / "settings.env", interpolate=False)
        known = set(Settings.__dataclass_fields__)
        self.assertLessEqual({key.lower() for key in (*given, *in_file)}, known)
        # The environment, also the image's, would win over the file.
        set_by_image = set(re.findall(r"\b([A-Z_]+)=", dockerfile()))
        self.assertEqual(in_file.keys() & (given.keys() | set_by_image), set())
        self.settings = load_settings({}, given, in_file)
        self.ports = {each["name"]: each["containerPort"] for each in self.container["ports"]}

    def served(self, path: str, port: str) -> int:
        """The status that a path has on a port of the pod, by name."""
        addresses = {
            "listen_addr": self.settings.listen_addr,
            "admin_listen_addr": self.settings.admin_listen_addr,
        }
        self.reactor.tcpServers.clear()
        service = self.running(**addresses)
        browser = self.browser(service.ports.index(self.ports[port]))
        browser.sends(request(path.encode(), method=b"GET"))
        status = browser.response.status
        browser.leaves()
        self.successResultOf(service.stopService())
        return status


class RestrictedTests(KubernetesTestCase):
    """Pods as the restricted profile wants them, which the namespace enforces."""

    def test_security(self) -> None:
        """Not root, nothing to gain, nothing to write to, no token of the cluster."""
        pod, container = self.template["spec"], self.container["securityContext"]
        self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
        self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertIs(container["allowPrivilegeEscalation"], False)
        self.assertIs(container["readOnlyRootFilesystem"], True)
        self.assertEqual(container["capabilities"], {"drop": ["ALL"]})
        self.assertIs(pod["automountServiceAccountToken"], False)
        labels = self.manifests.of_kind("Namespace")["metadata"]["labels"]
        self.assertEqual(labels["pod-security.kubernetes.io/enforce"], "restricted")
        self.assertLessEqual({"cpu", "memory"}, set(self.container["resources"]["requests"]))
        self.assertIn("memory", self.container["resources"]["limits"])

    def test_user(self) -> None:
        """The user is that of the image."""
        user = self.template["spec"]["securityContext"]["runAsUser"]
        self.assertIn(f"{user}", dockerfile())

    def test_egress(self) -> None:
        """Out go names and the ports of the platform's addresses and of the store, nothing else."""
        policy = self.manifests.of_kind("NetworkPolicy")["spec"]
        usual = Settings()
        names = (each for each in usual.__dataclass_fields__ if each.endswith("_url"))
        urls = [url for url in (getattr(usual, name) for name in names) if url]
        platform = {urlsplit(url).port or {"https": 443}[urlsplit(url).scheme] for url in urls}
        ports = {port["port"] for each in policy["egress"] for port in each["ports"]}
        self.assertEqual(ports, {53, _STORE} | platform)


class CoherentTests(KubernetesTestCase):
    """What one manifest says of another."""

    def test_files(self) -> None:
        """All files are applied, but for those that need something installed."""
        made = self.manifests["kustomization.yaml"]
        files = {each.name for each in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
        optional = {"ingress.yaml", "servicemonitor.yaml", "prometheus-adapter-rule.yaml"}
        self.assertEqual(set(made["resources"]), files - optional)
        self.assertEqual(made["configMapGenerator"][0]["files"], ["settings.env"])
        self.assertEqual(made["namespace"], self.manifests.of_kind("Namespace")["metadata"]["name"])

    def test_selectors(self) -> None:
        """Every selector meets the pods."""
        labels = self.template["metadata"]["labels"]
        spec = {
            kind: self.manifests.of_kind(kind)["spec"]
            for kind in ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")
        }
        for selector in (
            spec["Deployment"]["selector"]["matchLabels"],
            spec["Service"]["selector"],
            spec["PodDisruptionBudget"]["selector"]["matchLabels"],
            spec["NetworkPolicy"]["podSelector"]["matchLabels"],
            *(
                each["labelSelector"]["matchLabels"]
                for each in self.template["spec"]["topologySpreadConstraints"]
            ),
        ):
            self.assertEqual(selector, labels)
        (added,) = self.manifests["kustomization.yaml"]["labels"]
        monitored = self.manifests.of_kind("ServiceMonitor")["spec"]["selector"]["matchLabels"]
        self.assertEqual(monitored, added["pairs"])

    def test_names(self) -> None:
        """What is referred to by name is there."""
        target = self.manifests.of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
        deployment = self.manifests.of_kind("Deployment")
        self.assertEqual(
            target,
            {key: deployment[key] for key in ("apiVersion", "kind")}
            | {"name": deployment["metadata"]["name"]},
        )
        (volume,) = self.template["spec"]["volumes"]
        (generated,) = self.manifests["kustomization.yaml"]["configMapGenerator"]
        self.assertEqual(volume["configMap"]["name"], generated["name"])
        account = self.manifests.of_kind("ServiceAccount")["metadata"]["name"]
        self.assertEqual(self.template["spec"]["serviceAccountName"], account)
        served = {each["name"]: each for each in self.manifests.of_kind("Service")["spec"]["ports"]}
        self.assertEqual({each["targetPort"] for each in served.values()}, set(self.ports))
        (endpoint,) = self.manifests.of_kind("ServiceMonitor")["spec"]["endpoints"]
        self.assertIn(endpoint["port"], served)
        ingress = self.manifests.of_kind("NetworkPolicy")["spec"]["ingress"]
        named = {port["port"] for each in ingress for port in each["ports"]}
        self.assertEqual(named, set(self.ports))

    def test_reload(self) -> None:
        """The router reads the file of the ConfigMap, in a directory that follows its changes."""
        (volume,) = self.template["spec"]["volumes"]
        (mount,) = self.container["volumeMounts"]
        (generated,) = self.manifests["kustomization.yaml"]["configMapGenerator"]
        (file,) = generated["files"]
        self.assertEqual(mount["name"], volume["name"])
        self.assertNotIn("subPath", mount)  # one file alone would stay as it was at the start
        self.assertEqual(self.container["args"], [f"--env-file={mount['mountPath']}/{file}"])

    def test_image(self) -> None:
        """The image is that of this version."""
        (image,) = self.manifests["kustomization.yaml"]["images"]
        self.assertEqual(image["name"], self.container["image"])
        self.assertEqual(image["newTag"], __version__)


class InStepTests(KubernetesTestCase):
    """Facts of the code that the manifests repeat."""

    def test_ports(self) -> None:
        """The ports of the container are those that its settings listen on."""
        listened = (self.settings.listen_addr, self.settings.admin_listen_addr)
        http, admin = (split_address(each)[1] for each in listened)
        self.assertEqual(self.ports, {"http": http, "admin": admin})

    def test_probes(self) -> None:
        """Readiness asks for readiness; life and start do not; all where it is answered."""
        for probe, path in (
            ("startupProbe", "/healthz"),
            ("livenessProbe", "/healthz"),
            ("readinessProbe", "/readyz"),
        ):
            asked = self.container[probe]["httpGet"]
            self.assertEqual(asked["path"], path)
            self.assertEqual(self.served(path, asked["port"]), 200)

    def test_operators(self) -> None:
        """The metrics are scraped where they are, and are not where clients are."""
        (endpoint,) = self.manifests.of_kind("ServiceMonitor")["spec"]["endpoints"]
        self.assertEqual(self.served(endpoint["path"], endpoint["port"]), 200)
        self.assertEqual(self.served(endpoint["path"], "http"), 404)

    def test_stopping(self) -> None:
        """A pod leaves the endpoints before its port closes, and is not killed while it drains."""
        delay, drain = self.settings.drain_delay_ms / 1000, self.settings.drain_timeout_ms / 1000
        probe = self.container["readinessProbe"]
        notice = (probe["periodSeconds"] + probe["timeoutSeconds"]) * probe["failureThreshold"]
        self.assertGreater(delay, notice)
        grace = self.template["spec"]["terminationGracePeriodSeconds"]
        self.assertGreater(grace, delay + drain + _STOPPING)

    def test_autoscaling(self) -> None:
        """The metric is one that is exported, and is reached before requests are refused."""
        spec = self.manifests.of_kind("HorizontalPodAutoscaler")["spec"]
        (metric,) = (each["pods"] for each in spec["metrics"])
        name = metric["metric"]["name"]
        service = self.service()
        service.startService()
        browser = self.browser()
        browser.sends(request(b"/metrics", method=b"GET"))
        exported = browser.response.body.decode()
        self.assertRegex(exported, rf"(?m)^# TYPE {name} gauge$")
        assert isinstance(self.settings.workers, int)
        self.assertEqual(int(metric["target"]["averageValue"]), _STREAMS * self.settings.workers)
        self.assertLess(
            int(metric["target"]["averageValue"]), self.settings.max_concurrent_requests
        )
        self.assertGreaterEqual(spec["minReplicas"], 2)
        (rule,) = self.manifests["prometheus-adapter-rule.yaml"]["rules"]["custom"]
        self.assertEqual(re.match(r"\w+", rule["seriesQuery"]).group(), name)  # type: ignore[union-attr]

    def test_memory(self) -> None:
        """The memory limit bears the workers and all that they may buffer."""
        assert isinstance(self.settings.workers, int)
        needed = memory_needed(self.settings.workers, self.settings.max_buffered_bytes)
        self.assertGreater(memory(self.container["resources"]["limits"]["memory"]), needed)
        self.assertNotIn("cpu", self.container["resources"]["limits"])


class ReplicasTests(KubernetesTestCase):
    """Several pods that behave as one router."""

    def test_store(self) -> None:
        """The store and the key come from one Secret; without it the pods start all the same."""
        names = set()
        for name, source in self.secrets.items():
            wanted = source["secretKeyRef"]
            self.assertEqual((wanted["key"], wanted["optional"]), (name, True))
            names.add(wanted["name"])
        shared_by_pods = {"STATE_URL", "STICKY_HASH_KEY", "EDGE_RATE"}
        self.assertEqual((len(names), set(self.secrets)), (1, shared_by_pods))
        self.assertIsNone(self.settings.state_url)
        page = (ROOT / "docs" / "deploy.md").read_text()
        (command,) = re.findall(r"create secret generic (\S+) .*?\n```", page, re.DOTALL)
        self.assertEqual({command}, names)
        told = dict(re.findall(r"--from-literal=(\w+)=\"?([^\s\"]+)", page))
        self.assertEqual(set(told), set(self.secrets))
        shared = load_settings({}, told, {})
        self.assertIsNotNone(shared.state_url)
        self.assertEqual(urlsplit(told["STATE_URL"]).port, _STORE)
        self.assertEqual(shared.edge_rate, "auto")

    def test_limit_of_keys(self) -> None:
        """Without a store all pods together, also in a rollout, send what one router may."""
        scaler = self.manifests.of_kind("HorizontalPodAutoscaler")["spec"]
        rollout = self.manifests.of_kind("Deployment")["spec"]["strategy"]["rollingUpdate"]
        pods = scaler["maxReplicas"] + rollout["maxSurge"]
        rate = self.settings.edge_rate
        assert isinstance(rate, int)
        self.assertEqual(rate, int(USUAL_RATE / pods))

    def test_any_pod(self) -> None:
        """The Service keeps no client with a pod, and the pods are on several hosts and zones."""
        self.assertEqual(self.manifests.of_kind("Service")["spec"]["sessionAffinity"], "None")
        spread = self.template["spec"]["topologySpreadConstraints"]
        self.assertEqual(
            {each["topologyKey"] for each in spread},
            {"kubernetes.io/hostname", "topology.kubernetes.io/zone"},
        )

    def test_without_utilization(self) -> None:
        """Without the utilization API alone, a pod is ready for 45 minutes from the last fetch."""
        service = self.running(
            readyz_max_snapshot_age_ms=self.settings.readyz_max_snapshot_age_ms,
            readyz_max_allowlist_age_ms=self.settings.readyz_max_allowlist_age_ms,
            utilization_refresh_ms=86_400_000,  # only the catalog is fetched again
        )
        codes = []
        for _minute in range(48):
            browser = self.browser()
            browser.sends(request(b"/readyz", b"Connection: close", method=b"GET"))
            codes.append(browser.response.status)
            browser.leaves()
            self.reactor.advance(_MINUTE)
            self.platform.take()
        self.assertEqual((codes.count(200), codes.index(503)), (46, 46))
        self.successResultOf(service.stopService())
