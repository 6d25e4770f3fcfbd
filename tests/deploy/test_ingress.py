"""The Ingress: what its annotations make ingress-nginx write, tried with the real nginx."""

from __future__ import annotations

import re
from string import Template

from autopilot.settings import Settings
from tests.deploy.manifests import KUBERNETES, kubernetes
from tests.deploy.nginx import NAME, NginxTestCase
from tests.deploy.test_nginx import CONFIGURATION
from tests.process.faults.cases import PLAIN
from tests.process.faults.upstreams import says
from tests.unit.relay.upstreams import whole

_DIRECTIVES = {
    "proxy-buffering": "proxy_buffering {}",
    "proxy-read-timeout": "proxy_read_timeout {}s",
    "proxy-body-size": "client_max_body_size {}",
    "proxy-next-upstream": "proxy_next_upstream {}",
}
"""The directive of each annotation, in the template of ingress-nginx."""

_SITE = Template("""
upstream balancer { server 127.0.0.1:$router; keepalive 320; keepalive_timeout 60s; }
map $$http_upgrade $$connection_upgrade { default upgrade; '' ''; }
server {
    listen 127.0.0.1:$front ssl;
    server_name $name;
    ssl_certificate $pem;
    ssl_certificate_key $pem;
    location $path {
        $directives
        proxy_http_version 1.1;
        proxy_set_header Host $$host;
        proxy_set_header Connection $$connection_upgrade;
        proxy_set_header X-Forwarded-For $$remote_addr;
        proxy_request_buffering on;
        proxy_pass http://balancer;
    }
    location / { return 404; }
}
""")
"""What ingress-nginx writes for a host with one path, in short."""


class IngressTests(NginxTestCase):
    """The manifest that is shipped."""

    def setUp(self) -> None:
        """Read the manifest."""
        super().setUp()
        self.ingress = kubernetes().of_kind("Ingress")
        noted = self.ingress["metadata"]["annotations"]
        self.options = {name.rpartition("/")[2]: value for name, value in noted.items()}
        self.prefixes = {name.rpartition("/")[0] for name in noted}

    def site(self) -> str:
        """Return the site of the manifest, with the ports and the certificate of this test."""
        (rule,) = self.ingress["spec"]["rules"]
        (path,) = rule["http"]["paths"]
        self.assertEqual((rule["host"], path["pathType"]), (NAME, "Prefix"))
        written = (_DIRECTIVES[name].format(value) for name, value in self.options.items())
        return _SITE.substitute(
            directives=" ".join(f"{each};" for each in written),
            path=path["path"],
            router=self.port,
            front=self.front,
            name=NAME,
            pem=self.folder / "pem",
        )

    def test_annotations(self) -> None:
        """They are those of ingress-nginx, and fit the pods and the configuration of nginx."""
        self.assertEqual(self.prefixes, {"nginx.ingress.kubernetes.io"})
        self.assertEqual(self.options.keys(), _DIRECTIVES.keys())
        text = CONFIGURATION.read_text("utf-8")
        for name in ("proxy-buffering", "proxy-read-timeout", "proxy-next-upstream"):
            self.assertIn(f" {_DIRECTIVES[name].format(self.options[name])};", text)
        given = re.search(
            r"^MAX_REQUEST_BYTES=(\d+)", (KUBERNETES / "settings.env").read_text(), re.M
        )
        assert given is not None
        largest = int(self.options["proxy-body-size"].removesuffix("m")) << 20
        self.assertGreater(largest, int(given[1]))
        self.assertGreater(
            int(self.options["proxy-read-timeout"]) * 1000, Settings().total_deadline_ms
        )

    def test_in_front_of_the_router(self) -> None:
        """Events pass one by one, a client's end is noticed, and only the API is reachable."""
        self.start(TRUST_PROXY_HEADERS="true", TRUSTED_PROXY_CIDRS="127.0.0.1")
        self.upstream.scripts["one"] = says(whole(200, PLAIN))
        self.start_nginx(self.site())
        self.assert_streams()
        self.assert_leaves()
        for path, status in ((b"/v1/models", 200), (b"/metrics", 404), (b"/readyz", 404)):
            self.assertEqual((path, self.through(path).status), (path, status))
