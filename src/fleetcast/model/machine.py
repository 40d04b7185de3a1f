"""A host of the company, and how services say which hosts they want."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, TypeAlias

from fleetcast.model.errors import Invalid, Unprocessable
from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.limits import GIVEN_LABELS_MAX, LABEL_VALUE_BYTES_MAX, REPORTED_MACHINE_BYTES
from fleetcast.model.spelling import Spelling, stated

LABEL_KEY: Final = Spelling(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
LabelsToGive: TypeAlias = Annotated[
    Mapping[Annotated[str, LABEL_KEY.meta], Annotated[str, stated(maxLength=LABEL_VALUE_BYTES_MAX)]],
    stated(maxProperties=GIVEN_LABELS_MAX),
]
"""As :func:`given_labels` takes them."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a machine is and what it is labelled with. Empty ``zone`` or ``rack`` means unknown."""

    id: MachineId
    region: RegionName
    zone: str = ""
    rack: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def labelled(self, given: Mapping[str, str]) -> Machine:
        """This machine with ``given`` over its own labels."""
        return replace(self, labels={**self.labels, **given}) if given else self

    @property
    def too_long(self) -> bool:
        """Whether zone, rack and labels leave no room for the rest of what a region reports of a machine."""
        texts = (self.zone, self.rack, *self.labels.keys(), *self.labels.values())
        return sum(len(text.encode()) for text in texts) > REPORTED_MACHINE_BYTES // 2


@dataclass(frozen=True, slots=True)
class GivenLabels:
    """What control writes of a machine's given labels into the global KV. Empty: all were taken away again."""

    machine: MachineId
    labels: Mapping[str, str]


def label_key(text: str) -> str:
    """Raises :class:`Invalid` for what cannot be given: one that ends with '-' could never be taken away again."""
    if not LABEL_KEY.fits(text):
        rule = "use 1 to 63 of letters, digits, '.', '_', '/' and '-', a letter or digit first and last"
        raise Invalid("illegal_label", f"label {text!r} has no legal key: {rule}")
    return text


def given_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as people may give them to a machine, by key. Raises :class:`Invalid`."""
    if len(labels) > GIVEN_LABELS_MAX:
        raise Invalid("too_many_labels", f"{len(labels)} labels are too many: a machine is given at most {GIVEN_LABELS_MAX}")
    for key, value in labels.items():
        label_key(key)
        if not value.isprintable() or len(value.encode()) > LABEL_VALUE_BYTES_MAX:
            raise Unprocessable(
                "illegal_label", f"the value of label {key} must be printable, and at most {LABEL_VALUE_BYTES_MAX} bytes"
            )
    return dict(sorted(labels.items()))


@dataclass(frozen=True, slots=True)
class Selector:
    """All stated conditions must hold; an empty selector matches every machine."""

    regions: tuple[RegionName, ...] = ()
    """Any of these; empty: all."""
    zones: tuple[str, ...] = ()
    """Any of these; empty: all."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Every pair must be on the machine."""

    def matches(self, machine: Machine) -> bool:
        return (
            (not self.regions or machine.region in self.regions)
            and (not self.zones or machine.zone in self.zones)
            and all(machine.labels.get(key) == value for key, value in self.labels.items())
        )

    def apart_from(self, other: Selector) -> bool:
        """Whether no machine, however it is labelled, could ever match both: a machine has one region, one zone, and one value
        of each label."""
        return (
            bool(self.regions and other.regions and not {*self.regions} & {*other.regions})
            or bool(self.zones and other.zones and not {*self.zones} & {*other.zones})
            or any(other.labels.get(key, value) != value for key, value in self.labels.items())
        )
