"""What a DatabaseMigration asks for, and the Jobs that are made of it. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from tradeflow_operator import GROUP, VERSION
from tradeflow_operator.reconcile.durations import PATTERN, seconds_of
from tradeflow_operator.reconcile.ownership import MANAGED_BY
from tradeflow_operator.resources import FORCE_ANNOTATION, Resource

RUN_LABEL = f"{GROUP}/migration"
"""On Jobs: the name of the resource."""

LAST_WORDS = "/dev/termination-log"
"""Where the container writes its report; Kubernetes keeps it in the Pod's status."""

CONTAINER = "migrate"

RESOURCES: Mapping[str, Any] = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
"""Where none are asked for: statements run on the server, and the Job waits."""

_PLACEMENT = ("nodeSelector", "tolerations", "affinity", "priorityClassName")
"""Of a person's wishes, those that stand in a Pod as they are."""

Job = Mapping[str, Any]


class SecretKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of a Secret of the same namespace."""

    name: str
    key: str = "url"


class PullSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Secret for pulling the image."""

    name: str


class Volume(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Files of the namespace for the Pods. Of other types none: nobody gets at a node or a token by a migration."""

    name: str
    secret: Mapping[str, Any] | None = None
    config_map: Mapping[str, Any] | None = None
    projected: Mapping[str, Any] | None = None
    empty_dir: Mapping[str, Any] | None = None


class PodWishes(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """Where the Pods run and what they find there, each field in a Pod's own form; all else is ours to say."""

    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    node_selector: Mapping[str, str] = {}
    tolerations: tuple[Mapping[str, Any], ...] = ()
    affinity: Mapping[str, Any] = {}
    priority_class_name: str = ""
    fs_group: int | None = None
    volumes: tuple[Volume, ...] = ()
    volume_mounts: tuple[Mapping[str, Any], ...] = ()
    resources: Mapping[str, Any] = {}


class DatabaseMigrationSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a person asks for."""

    service: Literal["ledger", "orders"]
    image: str
    database_secret: SecretKey
    phase: Literal["pre", "post"] = "pre"
    image_pull_secrets: tuple[PullSecret, ...] = ()
    target_revision: str | None = None
    approval: Literal["Automatic", "Manual"] = "Automatic"
    timeout: Annotated[str, msgspec.Meta(pattern=PATTERN, min_length=2)] = "1h"
    service_account_name: str | None = None
    pod: PodWishes = PodWishes()


def job_names_of(resource: Resource[DatabaseMigrationSpec]) -> tuple[str, str]:
    """Name the two Jobs: another image, database, Pod or force annotation is another pair."""
    spec = resource.spec
    told: list[Any] = [spec.service, spec.phase, spec.image, spec.database_secret.name, spec.database_secret.key]
    told += [resource.uid, resource.annotations.get(FORCE_ANNOTATION)]
    if wishes := msgspec.to_builtins(spec.pod):
        told.append(wishes)
    mark = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    stem = resource.name[:40].rstrip("-.")
    return f"{stem}-plan-{mark[:10]}", f"{stem}-apply-{mark[:10]}"


def job_of(resource: Resource[DatabaseMigrationSpec], name: str, words: list[str], *, tries_max: int) -> Job:
    """Write a Job that passes the restricted pod security, and goes with its resource."""
    spec, wishes = resource.spec, resource.spec.pod
    labels = {**MANAGED_BY, RUN_LABEL: resource.name[:63].rstrip("-."), "app.kubernetes.io/component": "migration"}
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": resource.key.kind,
        "name": resource.name,
        "uid": resource.uid,
        "controller": True,
    }
    metadata: dict[str, Any] = {"labels": {**wishes.labels, **labels}}
    if wishes.annotations:
        metadata["annotations"] = dict(wishes.annotations)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": resource.namespace, "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "backoffLimit": tries_max,
            "activeDeadlineSeconds": seconds_of(spec.timeout),
            "template": {"metadata": metadata, "spec": _pod(spec, words)},
        },
    }


def _pod(spec: DatabaseMigrationSpec, words: list[str]) -> dict[str, Any]:
    """Write the Pod; what a person wishes adds to it, and loosens nothing."""
    wishes = msgspec.to_builtins(spec.pod)
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            *wishes.get("volumes", ()),
        ],
        "containers": [_container(spec, words)],
        **{name: wishes[name] for name in _PLACEMENT if name in wishes},
    }
    if "fsGroup" in wishes:
        pod["securityContext"]["fsGroup"] = wishes["fsGroup"]
    if spec.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret.name} for secret in spec.image_pull_secrets]
    if spec.service_account_name:
        pod["serviceAccountName"] = spec.service_account_name
    return pod


def _container(spec: DatabaseMigrationSpec, words: list[str]) -> dict[str, Any]:
    """Write the container; the URL comes from the Secret and stands on no command line."""
    command, *options = words
    return {
        "name": CONTAINER,
        "image": spec.image,
        "command": ["tradeflow", "migrate", command, "--service", spec.service, "--phase", spec.phase, *options],
        "env": [
            {
                "name": f"TRADEFLOW_{spec.service.upper()}_DATABASE_URL",
                "valueFrom": {"secretKeyRef": {"name": spec.database_secret.name, "key": spec.database_secret.key}},
            }
        ],
        "resources": dict(spec.pod.resources) or RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": LAST_WORDS,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
            *spec.pod.volume_mounts,
        ],
    }
