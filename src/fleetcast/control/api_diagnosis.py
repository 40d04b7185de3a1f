"""The API for people: what control sees of the installation, looked at now."""

from __future__ import annotations

import asyncio
from typing import Final

from litestar import get

from fleetcast import __version__
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import Parts, PartsHere
from fleetcast.control.presence import seen
from fleetcast.control.remote_heads import git_error
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import SILENT_MACHINES_NAMED_MAX
from fleetcast.model.machine import Selector
from fleetcast.model.messages.diagnosis import Diagnosis, RegionDiagnosis
from fleetcast.rollouts.inventory import Region, known_machines, known_regions, silent
from fleetcast.rollouts.trunk_looks import count_polled
from fleetcast.stores.blobs import BlobReader

_NO_BLOB: Final = "diagnosis/none"
"""A key nobody uses: looking for it shows whether a bucket answers."""


@get("/v1/diagnosis", guards=PEOPLE)
async def get_diagnosis(parts: PartsHere) -> Diagnosis:
    """What is wrong with regions, their buckets and machines, and which control processes there are.

    Looks into every bucket before it answers.
    """
    async with parts.database.reading() as reading:
        regions = await known_regions(reading)
        machines = len(await known_machines(reading))
        controls = await seen(reading)
        polled = await count_polled(reading)
        quiet = await silent(reading, Selector(), SILENT_MACHINES_NAMED_MAX + 1)
    main, looks = await asyncio.gather(_look(parts.main), asyncio.gather(*(_region(parts, region) for region in regions)))
    return Diagnosis(
        version=__version__,
        regions=tuple(looks),
        machines=machines,
        silent=quiet[:SILENT_MACHINES_NAMED_MAX],
        more_silent=len(quiet) > SILENT_MACHINES_NAMED_MAX,
        main_bucket_error=main,
        polled=polled,
        git_error=git_error(),
        controls=controls,
    )


async def _region(parts: Parts, region: Region) -> RegionDiagnosis:
    bucket = parts.buckets(region.name)
    error = "it never said where it is" if bucket is None else await _look(bucket)
    return RegionDiagnosis(region.name, region.drained, region.last_report_age_s, error, region.alarms)


async def _look(bucket: BlobReader) -> str:
    try:
        await bucket.stat(_NO_BLOB)
    except FleetcastError as error:
        return error.message
    return ""


HANDLERS = (get_diagnosis,)
