"""EventAccess on a Kafka that asks for users, with a real API server."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from services.runtime.broker.kafka_url import cluster_of
from tests.parts.kafka_users import add_user, allow
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.parts.plugin import run_of
from tests.support.operator_process import Operator
from tests.support.operator_shop import OperatorShop
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.part("kafka")]

ACCESS = "EventAccess"

GRANTS = [{"name": "orders", "operations": ["Read", "Describe"]}]

_ANY: Any = None  # the annotations don't know that a filter may leave a name out

Start = Callable[..., Operator]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedShop:
    """A namespace with a connection to a Kafka that asks for users, and users that no other test has."""

    shop: OperatorShop
    url: str
    """As the administrator has it."""
    admin: AdminClient

    def user(self, name: str = "ledger") -> str:
        """Name a user."""
        return self.shop.topic_name(name)

    def access(self, name: str = "ledger", *, user: str = "ledger", **spec: Any) -> None:
        """Apply an EventAccess; all are for one user, if they don't name another."""
        base = {"connectionRef": {"name": "kafka"}, "principal": self.user(user), "secretName": f"{name}-kafka"}
        self.shop.apply(ACCESS, name, **{**base, "topics": GRANTS, **spec})

    def password(self) -> str:
        """Read what the ledger signs in with."""
        return base64.b64decode(self.shop.namespace.get("secret", "ledger-kafka")["data"]["password"]).decode()

    def service_url(self) -> str:
        """Read by which URL the ledger comes to Kafka."""
        return base64.b64decode(self.shop.namespace.get("secret", "ledger-kafka")["data"]["url"]).decode()

    def signs_in(self, password: str, user: str = "ledger") -> bool:
        """Tell whether a user signs in with a password."""
        root = cluster_of(self.url).config
        return enters(
            AdminClient({**root, "sasl.username": self.user(user), "sasl.password": password, "log_level": 0})
        )

    def rights(self, user: str = "ledger") -> list[str]:
        """List what a user may do."""
        bindings = self.admin.describe_acls(self._rights_of(user)).result(30)
        return sorted(f"{each.operation.name} {each.name}" for each in bindings)

    def take_rights(self, user: str = "ledger") -> None:
        """Take all of a user's rights away, as somebody else would."""
        for taken in self.admin.delete_acls([self._rights_of(user)]).values():
            taken.result(30)

    def has_secret(self, name: str = "ledger-kafka") -> bool:
        """Tell whether there is a Secret of a name."""
        return any(body["metadata"]["name"] == name for body in self.shop.namespace.all_of("secret"))

    def _rights_of(self, user: str) -> AclBindingFilter:
        whose = f"User:{self.user(user)}"
        kinds = (AclOperation.ANY, AclPermissionType.ANY)
        return AclBindingFilter(ResourceType.ANY, _ANY, ResourcePatternType.ANY, whose, _ANY, *kinds)


@pytest.fixture(scope="module")
def guarded_kafka(request: pytest.FixtureRequest) -> Iterator[str]:
    """Start a Kafka that asks for users; name it as its administrator does."""
    server = run_of(request.config).private("kafka", ("--sasl",))
    server.start()
    yield server.url
    server.wipe()


@pytest.fixture
def guarded(kubernetes_shop: KubernetesNamespace, guarded_kafka: str) -> GuardedShop:
    """Connect to it as its administrator."""
    admin = cluster_of(guarded_kafka).config
    servers = str(admin["bootstrap.servers"]).split(",")
    credentials = {"username": admin["sasl.username"], "password": admin["sasl.password"]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "admin"}, "stringData": credentials}
    kubernetes_shop.apply(secret)
    shop = OperatorShop(kubernetes_shop, servers, "http://127.0.0.1:1")
    shop.apply("KafkaConnection", "kafka", bootstrapServers=servers, secretRef={"name": "admin"})
    return GuardedShop(shop=shop, url=guarded_kafka, admin=AdminClient({**admin, "log_level": 0}))


def test_a_user_signs_in_with_the_secret_that_was_written_and_goes_with_its_resource(
    guarded: GuardedShop, start_operator: Start
) -> None:
    shop = guarded.shop
    start_operator()
    guarded.access(deletionPolicy="Delete")
    shop.wait_for(ACCESS, "ledger", "True", "InSync")
    password = guarded.password()
    wait_until(lambda: guarded.signs_in(password), "the user can't sign in")
    assert guarded.rights() == ["DESCRIBE orders", "READ orders"]
    assert password not in str(shop.status(ACCESS, "ledger"))

    guarded.access(deletionPolicy="Delete", topics=[{"name": "orders", "operations": ["Describe", "Write"]}])
    wait_until(lambda: guarded.rights() == ["DESCRIBE orders", "WRITE orders"], "the rights aren't changed")
    assert guarded.password() == password

    shop.namespace.kubectl("delete", "eventaccess", "ledger", "--timeout=60s")
    wait_until(lambda: not guarded.signs_in(password), "the user still signs in")
    assert guarded.rights() == []
    wait_until(lambda: not guarded.has_secret(), "the Secret is still there")


def test_a_service_enters_by_the_url_of_its_secret_which_goes_with_the_connection(
    guarded: GuardedShop, start_operator: Start
) -> None:
    shop = guarded.shop
    start_operator()
    guarded.access()
    shop.wait_for(ACCESS, "ledger", "True", "InSync")
    service = AdminClient({**cluster_of(guarded.service_url()).config, "log_level": 0})
    wait_until(lambda: enters(service), "the service isn't let in")

    servers = [*str(cluster_of(guarded.url).config["bootstrap.servers"]).split(","), "another:9092"]
    shop.apply("KafkaConnection", "kafka", bootstrapServers=servers, secretRef={"name": "admin"})

    wait_until(lambda: "another:9092" in guarded.service_url(), "the Secret still leads to where Kafka was")
    assert cluster_of(guarded.service_url()).config["sasl.password"] == guarded.password()
    wait_until(lambda: guarded.signs_in(guarded.password()), "the user can't sign in any more")


def enters(client: AdminClient) -> bool:
    """Tell whether a client is let in."""
    try:
        client.list_topics(timeout=5)
    except KafkaException:
        return False
    return True


def test_what_others_take_from_a_user_is_given_back(guarded: GuardedShop, start_operator: Start) -> None:
    shop = guarded.shop
    start_operator()
    guarded.access()
    shop.wait_for(ACCESS, "ledger", "True", "InSync")

    guarded.take_rights()
    wait_until(lambda: guarded.rights() == ["DESCRIBE orders", "READ orders"], "the rights aren't given back")

    shop.namespace.kubectl("delete", "secret", "ledger-kafka")
    wait_until(guarded.has_secret, "no new Secret is written")
    wait_until(lambda: guarded.signs_in(guarded.password()), "the user can't sign in with the new Secret")


@pytest.mark.parametrize("left", [None, "", "//8="], ids=["no password", "an empty one", "no text"])
def test_a_user_whose_password_somebody_took_out_of_the_secret_gets_a_new_one(
    guarded: GuardedShop, start_operator: Start, left: str | None
) -> None:
    shop = guarded.shop
    start_operator()
    guarded.access()
    shop.wait_for(ACCESS, "ledger", "True", "InSync")
    patch = json.dumps({"data": {"password": left}})

    shop.namespace.kubectl("patch", "secret", "ledger-kafka", "--type=merge", "--patch", patch)
    guarded.access(topics=[{"name": "orders", "operations": ["Describe"]}])

    wait_until(lambda: guarded.rights() == ["DESCRIBE orders"], "it isn't looked at")
    shop.wait_for(ACCESS, "ledger", "True", "InSync")
    wait_until(lambda: guarded.signs_in(guarded.password()), "the user can't sign in with the new password")


def test_a_user_whose_secret_somebody_replaced_stays_its_resources_and_goes_with_it(
    guarded: GuardedShop, start_operator: Start
) -> None:
    shop = guarded.shop
    start_operator()
    guarded.access(deletionPolicy="Delete")
    shop.wait_for(ACCESS, "ledger", "True", "InSync")
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ledger-kafka"}}

    replace(shop, theirs)
    shop.wait_for(ACCESS, "ledger", "False", "SecretNotOurs")
    shop.namespace.kubectl("delete", "secret", "ledger-kafka")
    shop.wait_for(ACCESS, "ledger", "True", "InSync")
    password = guarded.password()
    wait_until(lambda: guarded.signs_in(password), "the user can't sign in with the new Secret")

    replace(shop, theirs)
    shop.wait_for(ACCESS, "ledger", "False", "SecretNotOurs")
    shop.namespace.kubectl("delete", "eventaccess", "ledger", "--timeout=60s")
    wait_until(lambda: not guarded.signs_in(password), "the user still signs in")
    assert guarded.rights() == []


def replace(shop: OperatorShop, secret: dict[str, Any]) -> None:
    """Delete a Secret and make another one of its name at once."""
    shop.namespace.kubectl("replace", "--force", "--filename", "-", stdin=json.dumps(secret))


def test_a_forced_user_is_looked_at_anew_and_a_paused_one_is_left_as_it_is(
    guarded: GuardedShop, start_operator: Start
) -> None:
    shop = guarded.shop
    start_operator()
    guarded.access()
    shop.wait_for(ACCESS, "ledger", "True", "InSync")

    shop.annotate(ACCESS, "ledger", paused="true")
    shop.wait_for(ACCESS, "ledger", "True", of_type="Paused")
    shop.patch(ACCESS, "ledger", topics=[{"name": "orders", "operations": ["Read"]}])
    shop.wait_for(ACCESS, "ledger", "True", of_type="Paused")
    assert guarded.rights() == ["DESCRIBE orders", "READ orders"]

    shop.annotate(ACCESS, "ledger", paused="false", force="1")
    shop.wait_for(ACCESS, "ledger", "True", "InSync")
    assert guarded.rights() == ["READ orders"]
    assert shop.status(ACCESS, "ledger")["lastHandledForce"] == "1"


def test_of_two_resources_for_one_user_the_older_has_it(guarded: GuardedShop, start_operator: Start) -> None:
    shop = guarded.shop
    start_operator()
    guarded.access()
    shop.wait_for(ACCESS, "ledger", "True", "InSync")
    guarded.access("second")
    shop.wait_for(ACCESS, "second", "False", "ResourceConflict")
    assert not guarded.has_secret("second-kafka")

    guarded.access(deletionPolicy="Delete")
    shop.namespace.kubectl("delete", "eventaccess", "ledger", "--timeout=60s")
    shop.wait_for(ACCESS, "second", "True", "InSync")


def test_users_rights_and_secrets_of_others_are_left_as_they_are(guarded: GuardedShop, start_operator: Start) -> None:
    shop = guarded.shop
    add_user(guarded.url, guarded.user(), "their-own")
    allow(guarded.url, guarded.user("certified"), "READ", prefix="orders")
    shop.namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken-kafka"}})
    start_operator()

    guarded.access(deletionPolicy="Delete")
    guarded.access("certified", user="certified", deletionPolicy="Delete")
    guarded.access("taken", user="taken", deletionPolicy="Delete")

    shop.wait_for(ACCESS, "ledger", "False", "AdoptionRefused")
    shop.wait_for(ACCESS, "certified", "False", "AdoptionRefused")
    shop.wait_for(ACCESS, "taken", "False", "SecretNotOurs")
    shop.namespace.kubectl("delete", "eventaccess", "--all", "--timeout=60s")
    assert guarded.signs_in("their-own")
    assert guarded.rights("certified") == ["READ orders"]
    assert "data" not in shop.namespace.get("secret", "taken-kafka")


def test_a_user_that_outlived_its_resource_is_taken_over_where_that_is_asked_for(
    guarded: GuardedShop, start_operator: Start
) -> None:
    shop = guarded.shop
    start_operator()
    guarded.access()
    shop.wait_for(ACCESS, "ledger", "True", "InSync")
    former = guarded.password()
    shop.namespace.kubectl("delete", "eventaccess", "ledger", "--timeout=60s")
    wait_until(lambda: not guarded.has_secret(), "the Secret is still there")
    assert guarded.signs_in(former)

    guarded.access(topics=[{"name": "orders", "operations": ["Read"]}])
    shop.wait_for(ACCESS, "ledger", "False", "AdoptionRefused")
    assert guarded.signs_in(former)

    guarded.access(topics=[{"name": "orders", "operations": ["Read"]}], adoptionPolicy="Adopt")
    shop.wait_for(ACCESS, "ledger", "True", "InSync")
    wait_until(lambda: guarded.signs_in(guarded.password()), "the user can't sign in with the new password")
    wait_until(lambda: not guarded.signs_in(former), "the former password is still good")
    assert guarded.rights() == ["READ orders"]
