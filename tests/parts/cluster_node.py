"""What makes an API server a cluster: containerd, kubelet, scheduler, proxy and names, as processes of this machine."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts.cluster_network import DNS_ADDRESS, NODE_ADDRESS, POD_ADDRESSES, POD_LINK
from tests.parts.go_programs import ensure_program
from tests.parts.kubernetes_identities import Identities
from tests.parts.machine_programs import CNI_FOLDER

NODE = "node1"

PAUSE_IMAGE = "registry.local/pause:3.10"
"""What holds a pod's network; see `pause_image.py`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFiles:
    """Writes the files of a node, and says which words start its processes."""

    folder: Path
    identities: Identities

    @property
    def containerd_socket(self) -> Path:
        """Where images are loaded."""
        return self.folder / "containerd.sock"

    def write(self) -> None:
        """Write all of them; the proxy leaves when its own is written again, so only a change is."""
        (self.folder / "cni").mkdir(parents=True, exist_ok=True)
        for name, text in self._files():
            file = self.folder / name
            if not file.exists() or file.read_text() != text:
                file.write_text(text)

    def containerd(self) -> list[str]:
        """Run containers."""
        return ["/usr/bin/containerd", "--config", str(self.folder / "containerd.toml")]

    def ctr(self, *words: str) -> list[str]:
        """Talk to containerd."""
        return ["/usr/bin/ctr", "--address", str(self.containerd_socket), "--namespace", "k8s.io", *words]

    def scheduler(self) -> list[str]:
        """Put pods on the node."""
        return [
            str(ensure_program("kube-scheduler")),
            *("--kubeconfig", str(self.identities.kubeconfig("system:kube-scheduler", group=None))),
            "--leader-elect=false",
            *("--secure-port", "0"),
        ]

    def proxy(self) -> list[str]:
        """Make Services reachable."""
        return [str(ensure_program("kube-proxy")), "--config", str(self.folder / "kube-proxy.json")]

    def kubelet(self) -> list[str]:
        """Run pods."""
        return [
            str(ensure_program("kubelet")),
            *("--config", str(self.folder / "kubelet.json")),
            *("--kubeconfig", str(self.identities.kubeconfig(f"system:node:{NODE}", group="system:nodes"))),
            *("--hostname-override", NODE),
            *("--node-ip", NODE_ADDRESS),
            *("--root-dir", str(self.folder / "kubelet")),
            *("--cert-dir", str(self.folder / "kubelet-pki")),
        ]

    def names(self) -> list[str]:
        """Answer for the names of Services."""
        return [str(ensure_program("coredns")), "-conf", str(self.folder / "Corefile")]

    def _files(self) -> Iterator[tuple[str, str]]:
        yield "containerd.toml", self._containerd_toml()
        yield "cni/10-bridge.conflist", json.dumps(self._cni())
        yield "kubelet.json", json.dumps(self._kubelet())
        yield "kube-proxy.json", json.dumps(self._proxy())
        yield "Corefile", self._corefile()

    def _containerd_toml(self) -> str:
        # Without CAP_SYS_RESOURCE a process can't lower its OOM score, and containerd must not try.
        return f"""\
version = 2
root = "{self.folder}/containerd/root"
state = "{self.folder}/containerd/state"
oom_score = 0
[grpc]
  address = "{self.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_FOLDER}"
    conf_dir = "{self.folder}/cni"
"""

    def _cni(self) -> dict[str, object]:
        addresses = {
            "type": "host-local",
            "dataDir": str(self.folder / "addresses"),
            "ranges": [[{"subnet": POD_ADDRESSES.replace("/16", "/24")}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {
            "type": "bridge",
            "bridge": POD_LINK,
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": addresses,
        }
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "1.0.0", "name": "tests", "plugins": [bridge, ports]}

    def _kubelet(self) -> dict[str, object]:
        served = self.identities.authority.issue("kubelet", hosts=(NODE_ADDRESS, NODE))
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": NODE_ADDRESS,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.identities.authority.ca_file)},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(served.certificate_file),
            "tlsPrivateKeyFile": str(served.key_file),
            "containerRuntimeEndpoint": f"unix://{self.containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "clusterDomain": "cluster.local",
            "clusterDNS": [DNS_ADDRESS],
            "resolvConf": "/etc/resolv.conf",
            "enforceNodeAllocatable": [],
            # Images can't be pulled again: they are never collected.
            "imageGCHighThresholdPercent": 100,
            "imageMaximumGCAge": "0s",
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "2%", "imagefs.available": "2%"},
            "nodeStatusUpdateFrequency": "5s",
            # A mounted Secret that changed is seen within this, not within a minute.
            "syncFrequency": "10s",
        }

    def _proxy(self) -> dict[str, object]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            # The usual minimum, a second, leaves a Service without its new endpoints for as long.
            "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
            "clusterCIDR": POD_ADDRESSES,
            "bindAddress": "127.0.0.1",
            "metricsBindAddress": "127.0.0.1:10249",
            "healthzBindAddress": "127.0.0.1:10256",
            "clientConnection": {"kubeconfig": str(self.identities.kubeconfig("system:kube-proxy", group=None))},
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "hostnameOverride": NODE,
        }

    def _corefile(self) -> str:
        return f"""\
.:53 {{
    bind {NODE_ADDRESS}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {self.identities.kubeconfig()}
        pods insecure
    }}
    cache 5
    forward . /etc/resolv.conf
}}
"""


def names_service() -> list[dict[str, object]]:
    """Return the Service of names: it leads to a process of the host."""
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    service: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {"clusterIP": DNS_ADDRESS, "ports": ports},
    }
    addresses: dict[str, object] = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-host",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [NODE_ADDRESS]}],
    }
    return [service, addresses]
