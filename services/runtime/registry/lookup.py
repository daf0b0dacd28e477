"""Finding a schema file in a registry, in either form that it may have been registered in."""

from services.runtime.registry.client import RegisteredSchema, RegistryClient, SchemaReference
from services.runtime.registry.contract import SchemaFile


async def find_registered(client: RegistryClient, subject: str, file: SchemaFile) -> RegisteredSchema | None:
    """Find the version of a subject that is this file, importing these very imports.

    Registries that keep what they were given, such as Apicurio, tell the serialized form from the text: both are
    looked up, so that people may register either.

    Raises:
        UnavailableError: The registry doesn't answer.
    """
    references = []
    for each in file.imports:
        found = await find_registered(client, each.name, each)
        if found is None:
            return None
        references.append(SchemaReference(name=each.name, subject=each.name, version=found.version))
    for form in (file.encoded, file.text):
        found = await client.look_up(subject, form, references)
        if found is not None:
            return found
    return None
