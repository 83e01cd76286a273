"""From a base job template and job variables to a run's job configuration.

:func:`populate` fills in job variables, :func:`references` lists the blocks and variables to fetch
from the server, :func:`resolve` fills those in. The rules are those of ``prefect/workers/base.py``
and ``prefect/utilities/templating.py``, in their newest version. Arguments are never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..domain.errors import InvalidJob
from ..domain.masking import is_secret_name, secrets_in, texts_in
from ..domain.model import Json
from .configuration import OWN_PLACEHOLDERS, default_base_job_template
from .placeholders import (
    BLOCK_PREFIX,
    ENVIRONMENT_PREFIX,
    PLACEHOLDER,
    VARIABLE_PREFIX,
    Hole,
    at_path,
    fill_text,
    rewrite,
    split_path,
)
from .variables import default_values, expand_dotted, merge_env, merge_variables


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block document by name: ``{{ prefect.blocks.<type_slug>.<name> }}``."""

    type_slug: str
    name: str


@dataclass(frozen=True, slots=True)
class BlockIdRef:
    """A block document by id: ``{"$ref": {"block_document_id": "<id>"}}``."""

    id: str


@dataclass(frozen=True, slots=True)
class VariableRef:
    """A variable: ``{{ prefect.variables.<name> }}``."""

    name: str


Reference = BlockRef | BlockIdRef | VariableRef
"""A value that the server holds."""

Values = Mapping[Reference, Json]
"""A block's ``data`` or a variable's value; absent where the server answered 404."""

Populated = Mapping[str, Json]
"""A job configuration that may still hold placeholders of blocks and variables."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A complete job configuration, and the secrets in it."""

    configuration: Mapping[str, Json]
    secrets: frozenset[str] = frozenset()


def populate(
    template: Mapping[str, Json],
    deployment_variables: Mapping[str, Json] | None,
    run_variables: Mapping[str, Json] | None,
    *,
    environ: Mapping[str, str],
) -> Populated:
    """The pool's job configuration with the job variables of a deployment and a run filled in.

    An empty ``template`` means the default one: a pool that was created without a template has
    none. The worker's own variables count even if the template does not mention them. ``environ``
    holds the values of ``{{ $NAME }}``. Raises InvalidJob.
    """
    template = template or default_base_job_template()
    configuration = {**OWN_PLACEHOLDERS, **_mapping(template, "job_configuration")}
    defaults = default_values(_mapping(_mapping(template, "variables"), "properties"))
    variables = {
        **defaults,
        **expand_dotted(merge_variables(deployment_variables or {}, run_variables or {})),
    }
    env = merge_env(configuration.get("env"), defaults.get("env"), variables.get("env"))
    if env is not None:
        configuration["env"] = env
    return fill(configuration, variables, environ)


def fill(
    configuration: Mapping[str, Json], variables: Mapping[str, Json], environ: Mapping[str, str]
) -> Populated:
    """``configuration`` with plain and environment placeholders replaced, in a single pass."""

    def lookup(name: str) -> Json:
        if name.startswith((BLOCK_PREFIX, VARIABLE_PREFIX)):
            return Hole.KEEP
        if name.startswith(ENVIRONMENT_PREFIX):
            return environ.get(name.lstrip(ENVIRONMENT_PREFIX), "")
        return at_path(variables, name)

    filled: Populated = rewrite(configuration, lambda text: fill_text(text, lookup))
    return filled


def _mapping(parent: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    value = parent.get(key) or {}
    if not isinstance(value, Mapping):
        raise InvalidJob(
            f"The work pool's base job template is broken: {key!r} is not an object. "
            "Correct it on the work pool's page."
        )
    return value


def references(populated: Populated, values: Values) -> frozenset[Reference]:
    """What ``populated`` needs from the server, given the ``values`` that were fetched so far.

    A block's data may name variables in turn, so ask again when blocks were fetched.
    """
    found = set(_references_in(populated))
    placed = [values[ref] for ref in found if ref in values and not isinstance(ref, VariableRef)]
    texts = list(texts_in(placed))
    return frozenset(
        found | {ref for ref in _references_in(texts) if isinstance(ref, VariableRef)}
    )


def resolve(populated: Populated, values: Values) -> Resolved:
    """``populated`` with the values of its blocks, then of its variables.

    A variable that does not exist becomes empty text. A block or a key of a block that does not
    exist raises InvalidJob.
    """

    def block(name: str) -> Json:
        return _block_value(name, values) if name.startswith(BLOCK_PREFIX) else Hole.KEEP

    def block_data(mapping: Mapping[str, Json]) -> Json:
        ref = _block_id(mapping)
        return Hole.KEEP if ref is None else _block_data(ref, values)

    def variable(name: str) -> Json:
        if not name.startswith(VARIABLE_PREFIX):
            return Hole.KEEP
        return values.get(VariableRef(name.removeprefix(VARIABLE_PREFIX)), "")

    with_blocks = rewrite(populated, lambda text: fill_text(text, block, _scalar_text), block_data)
    complete = rewrite(with_blocks, lambda text: fill_text(text, variable))
    used = references(populated, values)
    return Resolved(complete, frozenset().union(*(_secrets_of(ref, values) for ref in used)))


def _references_in(tree: Json) -> Iterator[Reference]:
    """The references in all texts and mappings of ``tree``."""
    match tree:
        case str():
            for name in PLACEHOLDER.findall(tree):
                if name.startswith(BLOCK_PREFIX):
                    yield _parse_block(name)[0]
                elif name.startswith(VARIABLE_PREFIX):
                    yield VariableRef(name.removeprefix(VARIABLE_PREFIX))
        case Mapping() if ref := _block_id(tree):
            yield ref
        case Mapping():
            yield from _references_in(list(tree.values()))
        case list():
            for item in tree:
                yield from _references_in(item)


def _parse_block(placeholder: str) -> tuple[BlockRef, str]:
    """The block that a placeholder names, and the key path into it, which may be empty."""
    type_slug, dot, rest = placeholder.removeprefix(BLOCK_PREFIX).partition(".")
    name, _, path = rest.partition(".")
    if not (type_slug and dot and name):
        raise InvalidJob(
            f"{{{{ {placeholder} }}}} does not name a block: write "
            "{{ prefect.blocks.<block type>.<block name> }}."
        )
    return BlockRef(type_slug, name), path


def _block_id(mapping: Mapping[str, Json]) -> BlockIdRef | None:
    ref = mapping.get("$ref")
    block_id = ref.get("block_document_id") if isinstance(ref, Mapping) else None
    return BlockIdRef(str(block_id)) if block_id else None


def _block_data(ref: BlockRef | BlockIdRef, values: Values) -> Json:
    if ref in values:
        return values[ref]
    known_as = f"{ref.name!r} of type {ref.type_slug!r}" if isinstance(ref, BlockRef) else ref.id
    raise InvalidJob(
        f"The block {known_as} does not exist, but the job's configuration needs it. "
        "Create it, or change the job variables of the deployment or the work pool."
    )


def _block_value(placeholder: str, values: Values) -> Json:
    """The value of a block placeholder.

    If a block's only key is ``value``, a key path may leave it out.
    """
    ref, path = _parse_block(placeholder)
    data = _block_data(ref, values)
    wrapped = isinstance(data, Mapping) and data.keys() == {"value"}
    if wrapped and (not path or split_path(path)[0] != "value"):
        data = data["value"]
    value = at_path(data, path) if path else data
    if value is Hole.MISSING:
        raise InvalidJob(
            f"{{{{ {placeholder} }}}} has no value: the block {ref.name!r} has no {path!r}."
        )
    return value


def _scalar_text(value: Json) -> str:
    if isinstance(value, Mapping | list):
        raise InvalidJob(
            "A block placeholder within other text stands for an object or a list; only plain "
            "values can be written into text. Name one of its keys."
        )
    return str(value)


def _secrets_of(ref: Reference, values: Values) -> frozenset[str]:
    secret = not isinstance(ref, VariableRef) or is_secret_name(ref.name)
    return secrets_in(values.get(ref)) if secret else frozenset()
