"""The tables of what people say to, and ask of, single machines. As in ``tables.py``: times are BIGINT, the database's clock in
UTC milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, String, Table

from fleetcast.model.report import MachineAnswer
from fleetcast.schema.columns import AsJson
from fleetcast.schema.tables import metadata

machine_labels: Final = Table(
    "machine_labels",
    metadata,
    # Given by people, over what the machine's own settings say. Intent: the machine's report says what it has.
    Column("machine", String(63), primary_key=True),
    Column("labels", AsJson(Mapping[str, str]), nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("published", Boolean, nullable=False),
    Index("ix_machine_labels_published", "published"),
)

machine_questions: Final = Table(
    "machine_questions",
    metadata,
    # What somebody wants to know of one machine: its region is asked in the answer to its next report. Dropped soon after.
    Column("machine", String(63), primary_key=True),
    Column("region", String(63), nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("answered_at", BigInteger),
    Column("answer", AsJson(MachineAnswer)),
    Index("ix_machine_questions_region", "region"),
)
