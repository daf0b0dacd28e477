"""Kafka 4.3: broker and controller in one process, of Maven Central's jars."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from services.runtime.broker.kafka_url import cluster_of
from tests.parts.apt import end_of
from tests.parts.kafka_security import ADMIN, ADMIN_PASSWORD, Security, security_settings, url_of
from tests.parts.maven import fetch_jars, java
from tests.parts.part import Place
from tests.parts.server import ServerFailedError

VERSION = "4.3.1"

JARS = (
    ("org.apache.kafka", "kafka_2.13", VERSION),
    # 2.x stays silent beside the slf4j-api 1.7 that Kafka brings.
    ("org.slf4j", "slf4j-simple", "1.7.36"),
)
"""What Maven fetches, with all that it needs."""

FORMAT_SECONDS_MAX = 60

ASK_SECONDS_MAX = 3
"""A broker that accepts and doesn't answer is asked again after this."""

CONTROLLER_BELOW = 12_000
"""How far the controller's port lies below the broker's: further than the servers' ports reach."""

CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qk"
"""Any will do: each server is a cluster of its own."""

JVM = (
    "-Xms128m",
    "-Xmx512m",
    # Starts sooner and takes less memory, at a speed that tests never need.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENTS",
    "num.partitions": "3",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}
"""One machine, quickly started; topics are never made by asking for them."""


IMAGE_PROPERTIES, IMAGE_DATA = "/tmp/tradeflow.properties", "/tmp/tradeflow"  # noqa: S108 - inside of a container
"""Where the image's own user may write."""

IMAGE_CONTROLLER_PORT = 9093


class KafkaPart:
    """Kafka; who may enter it is said by flags, see `kafka_security`."""

    name = "kafka"
    image = f"apache/kafka:{VERSION}"
    image_port = 9092

    def image_environment(self, place: Place) -> Mapping[str, str]:
        """Hand the settings over: the image's own script can't make the first SCRAM user."""
        return {
            "PROPERTIES": _properties(
                place,
                listen_host="",
                listen_port=self.image_port,
                controller_port=IMAGE_CONTROLLER_PORT,
                data=IMAGE_DATA,
            )
        }

    def image_command(self, place: Place) -> Sequence[str]:
        """Format the data folder of a new container, and start the broker in any."""
        form = ["/opt/kafka/bin/kafka-storage.sh", *_format_words(place, IMAGE_PROPERTIES)]
        run = ["/opt/kafka/bin/kafka-server-start.sh", IMAGE_PROPERTIES, *_overrides(place)]
        script = (
            f"printenv PROPERTIES > {IMAGE_PROPERTIES}; "
            f"[ -e {IMAGE_DATA} ] || {shlex.join(form)}; exec {shlex.join(run)}"
        )
        return ("sh", "-c", script)

    def install(self, folder: Path, log_file: Path) -> None:
        """Fetch the jars."""
        java(self.name)
        fetch_jars(self.name, JARS, into=folder / "libs", log_file=log_file)

    def prepare(self, installed: Path, place: Place) -> None:
        """Write the settings and format the data folder."""
        file = _properties_file(place)
        controller_port = place.port - CONTROLLER_BELOW
        file.touch(mode=0o600)
        file.write_text(
            _properties(
                place,
                listen_host=place.host,
                listen_port=place.port,
                controller_port=controller_port,
                data=str(place.data),
            )
        )
        command = self._java(installed, ["kafka.tools.StorageTool", *_format_words(place, str(file))])
        with place.log_file.open("a") as log:
            ended = subprocess.run(command, stdout=log, stderr=log, check=False, timeout=FORMAT_SECONDS_MAX)
        if ended.returncode != 0:
            raise ServerFailedError(f"kafka can't format, see {place.log_file}:\n{end_of(place.log_file)}")

    def command(self, installed: Path, place: Place) -> list[str]:
        """Return the words that start a broker."""
        return self._java(installed, ["kafka.Kafka", str(_properties_file(place)), *_overrides(place)])

    def url(self, place: Place) -> str:
        """Name the cluster, with its administrator where it has one."""
        return url_of(place)

    def ask(self, url: str) -> str:
        """Return the id of the cluster that answers."""
        client = AdminClient({**cluster_of(url).config, "log_level": 0})
        try:
            return str(client.list_topics(timeout=ASK_SECONDS_MAX).cluster_id)
        except KafkaException as error:
            raise OSError(f"{url} doesn't answer: {error}") from error

    def _java(self, installed: Path, words: list[str]) -> list[str]:
        return [java(self.name), *JVM, "-cp", f"{installed / 'libs'}/*", *words]


def _properties(place: Place, *, listen_host: str, listen_port: int, controller_port: int, data: str) -> str:
    """Write the settings; the controller is spoken to by nobody outside."""
    settings = {
        **SETTINGS,
        "controller.quorum.voters": f"1@{place.host}:{controller_port}",
        "listeners": f"CLIENTS://{listen_host}:{listen_port},CONTROLLER://{place.host}:{controller_port}",
        "advertised.listeners": f"CLIENTS://{place.host}:{place.port}",
        "log.dirs": data,
        **security_settings(place),
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _format_words(place: Place, properties_file: str) -> list[str]:
    """Format with the administrator, whom nobody could make afterwards."""
    user = f"SCRAM-SHA-512=[name={ADMIN},password={ADMIN_PASSWORD}]"
    scram = ["--add-scram", user] if Security.of(place.flags).sasl else []
    return ["format", "-t", CLUSTER_ID, "-c", properties_file, *scram]


def _overrides(place: Place) -> list[str]:
    return [word for setting in Security.of(place.flags).settings for word in ("--override", setting)]


def _properties_file(place: Place) -> Path:
    return place.folder / "server.properties"
