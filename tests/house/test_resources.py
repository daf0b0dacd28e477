"""The kinds' definitions keep to one form, their page is fresh, and their examples fit them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.resource_pages import EXAMPLES, PAGE, fields, page
from tests.support.operator_crds import definitions

DEFINITIONS = definitions()
CONDITIONS_OF_ALL = ("Ready", "Reason", "Age")


def kind_of(definition: dict[str, Any]) -> str:
    return str(definition["spec"]["names"]["kind"])


def test_the_page_of_the_resources_is_fresh() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.house.resource_pages"


@pytest.mark.parametrize("definition", DEFINITIONS, ids=kind_of)
def test_a_kind_has_the_columns_the_category_and_the_status_of_all(definition: dict[str, Any]) -> None:
    version = definition["spec"]["versions"][0]
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]

    assert set(CONDITIONS_OF_ALL) <= set(columns)
    assert definition["spec"]["names"]["categories"] == ["tradeflow"]
    assert definition["spec"]["names"]["shortNames"]
    assert version["subresources"] == {"status": {}}
    assert status["properties"]["conditions"] == conditions_of_the_first()
    assert status["default"]["conditions"][0]["status"] == "Unknown"


@pytest.mark.parametrize("definition", DEFINITIONS, ids=kind_of)
def test_a_kind_is_found_by_the_label_of_the_whole(definition: dict[str, Any]) -> None:
    assert definition["metadata"]["labels"] == {"app.kubernetes.io/part-of": "tradeflow"}


@pytest.mark.parametrize("definition", DEFINITIONS, ids=kind_of)
def test_a_kind_sets_no_default_in_its_spec(definition: dict[str, Any]) -> None:
    assert "default" not in keys_in(
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    )


@pytest.mark.parametrize("definition", DEFINITIONS, ids=kind_of)
def test_kubectl_explain_has_a_word_for_each_field(definition: dict[str, Any]) -> None:
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

    assert [path for path, _, text in fields(spec, "spec") if not text] == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_is_of_a_kind_that_is_served(path: Path) -> None:
    kinds = {kind_of(definition) for definition in DEFINITIONS}

    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]

    assert documents
    assert {document["kind"] for document in documents if "tradeflow" in document["apiVersion"]} <= kinds


def conditions_of_the_first() -> Any:
    schema = DEFINITIONS[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema["properties"]["status"]["properties"]["conditions"]


def keys_in(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(keys_in, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    # A field may be called so; what counts are the words of the schema language.
    inner = [value for name, value in schema.items() if name != "properties"]
    fields = list(schema.get("properties", {}).values())
    return (set(schema) - {"properties"}) | keys_in(inner) | keys_in(fields)
