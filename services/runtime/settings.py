"""Settings come from environment variables, are read once, and a wrong one stops the start and names itself."""

import sys
from collections.abc import Iterator
from typing import Annotated, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

EXIT_CODE_OF_WRONG_SETTINGS = 2
"""The code that shells give to wrong usage; orchestrators show it, and 1 stays free for crashes."""


class ServiceSettings(BaseSettings):
    """What every process's settings share; a subclass sets its `env_prefix` and its fields, each with a docstring.

    A subclass writes `model_config = SettingsConfigDict(env_prefix="TRADEFLOW_X_")`: the rest is inherited.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        validate_default=True,
        extra="ignore",
    )

    traces_url: str | None = None
    """Where spans go, such as zipkin+http://zipkin:9411/api/v2/spans or otlp+http://collector:4318/v1/traces"""

    traces_sampled_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Which part of the traces that begin here is recorded; 0.01 is one in a hundred."""

    unready_seconds: Annotated[float, Field(ge=0, le=60)] = 0.0
    """For how long a process that stops still serves while it says that it isn't ready, so that balancers hear it.

    The process is ended 20 s after that at the latest.
    """


S = TypeVar("S", bound=BaseSettings)


def load_settings(settings_class: type[S]) -> S:
    """Read the settings from the environment, or say what is wrong with each variable and exit.

    Raises:
        SystemExit: With code 2, after one line on stderr for each missing or wrong variable: its full name, what is
            wrong and what it is for. Values are never printed.
    """
    try:
        return settings_class()
    except ValidationError as error:
        complaints = list(_complaints(settings_class, error.errors(include_input=False, include_url=False)))
    except SettingsError as error:
        complaints = list(_complaints_of_unreadable_json(settings_class, error))
    sys.stderr.write("The settings are not right:\n" + "".join(f"  {complaint}\n" for complaint in complaints))
    raise SystemExit(EXIT_CODE_OF_WRONG_SETTINGS)


def variable_name(settings_class: type[BaseSettings], field_name: str) -> str:
    """Tell the environment variable that a field is read from."""
    return f"{settings_class.model_config.get('env_prefix', '')}{field_name}".upper()


def _complaints(settings_class: type[BaseSettings], errors: list[ErrorDetails]) -> Iterator[str]:
    for error in errors:
        location = [str(part) for part in error["loc"]]
        if not location:
            yield error["msg"]
            continue
        field_name = next((name for name in settings_class.model_fields if name.upper() == location[0].upper()), None)
        if field_name is None:
            yield f"{'.'.join(location)}: {error['msg']}"
            continue
        yield _complaint(settings_class, field_name, error, location[1:])


def _complaint(settings_class: type[BaseSettings], field_name: str, error: ErrorDetails, inside: list[str]) -> str:
    field = settings_class.model_fields[field_name]
    if error["type"] == "missing" and not inside:
        wrong = "is missing"
    elif SecretStr in _types_of(field.annotation):
        wrong = "is not valid"  # a validator's message may quote the value
    else:
        wrong = f"is wrong at {'.'.join(inside)}: {error['msg']}" if inside else f"is wrong: {error['msg']}"
    purpose = " ".join((field.description or "").split())
    return f"{variable_name(settings_class, field_name)} {wrong}" + (f" ({purpose})" if purpose else "")


def _complaints_of_unreadable_json(settings_class: type[BaseSettings], error: SettingsError) -> Iterator[str]:
    quoted_words = str(error).split('"')[1::2]
    for name, field in settings_class.model_fields.items():
        if name in quoted_words:
            purpose = " ".join((field.description or "").split())
            yield f"{variable_name(settings_class, name)} is not JSON ({purpose})"
            return
    yield "a variable that should hold JSON does not"


def _types_of(annotation: object) -> set[object]:
    """Collect a type and the members of its unions and containers."""
    inner = getattr(annotation, "__args__", ())
    return {annotation}.union(*(_types_of(part) for part in inner))
