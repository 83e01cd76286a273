"""Base job templates: from placeholders and variables to a run's job configuration.

In two steps, so that nothing here has to wait: :func:`populate` fills in what is at hand and
leaves placeholders of blocks and variables, :func:`references` names what those need from the
server, and :func:`resolve` puts the fetched values in (contract section 8).
"""

from __future__ import annotations

from dataclasses import dataclass


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
"""What a configuration needs from the server before it is complete."""
