"""Inputs of the model: numbers with their units and sources, and what follows from them.

`inputs.json` has those that are published, assumed or taken from a page; the rest comes from the
results of other benchmarks, so that it is renewed with them. Every number can be given another
value for a run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks.capacity.simulation import Kind, Sizes, Store

INPUTS = Path(__file__).with_name("inputs.json")
RESULTS = Path(__file__).parents[1] / "results"
KODAK_MP = 768 * 512 / 1e6
THUMBNAIL_MP = 128 * 128 / 1e6

# JPEG files of web pages by megapixels: files, megapixels (the middle), median bits a pixel, and in
# how many padded sizes they come. HTTP Archive 2024, desktop, up to 0.8 megapixels (webmproject/
# codec-compare, wiki, "Bits per pixel of Internet images"); the last line, a tenth of all, and the
# number of sizes are assumed.
WEB = Sizes(
    (
        (14_319_104, 0.05, 3.07, 20),
        (3_930_652, 0.15, 2.07, 30),
        (2_622_207, 0.25, 1.95, 40),
        (1_828_927, 0.35, 1.84, 40),
        (1_270_873, 0.45, 1.80, 40),
        (821_690, 0.55, 1.71, 40),
        (892_690, 0.65, 1.52, 40),
        (601_017, 0.75, 1.56, 40),
        (2_920_000, 2.0, 1.50, 40),
    )
)
# What people upload from telephones: assumed.
UPLOADS = Sizes(((0.15, 0.3, 2.0, 20), (0.25, 2.0, 2.0, 10), (0.6, 12.2, 2.2, 4)))
MIXTURES = {"web": WEB, "uploads": UPLOADS}


@dataclass(frozen=True, slots=True)
class Inputs:
    """The numbers of `inputs.json`, which has the unit, the kind and the source of each."""

    vcpus: float
    lanes: float
    cores_per_vcpu: float
    cpu_dollars: float
    room_mp: float
    room_requests: float
    cpu_batch_mp: float
    batch_thumbnails: float
    thumbnail_batch: float
    gpu_vcpus: float
    gpu_dollars: float
    gpu_tflops: float
    gpu_share: float
    gpu_batch: float
    gpu_request: float
    gpu_batch_mp: float
    kop_per_pixel: float
    code_ms_per_mp: float
    image_workers: float
    big_gpu_vcpus: float
    big_gpu_dollars: float
    big_gpu_tflops: float
    balancer_cores: float
    balancer_gbit: float
    balancer_load: float
    puts_per_prefix: float
    gets_per_prefix: float
    prefixes: float
    store_median: float
    store_p99: float
    scrape_seconds: float
    hpa_seconds: float
    hpa_down_seconds: float
    hpa_tolerance: float
    node_seconds: float
    pull_seconds: float
    ready_seconds: float
    most_nodes: float
    ray_loop_seconds: float
    ray_health_seconds: float
    ray_push_seconds: float
    ray_replica_micros: float
    ray_window_seconds: float
    ray_down_seconds: float
    storage_dollars: float
    put_dollars: float
    get_dollars: float
    egress_dollars: float
    planned_load: float
    bpp: float
    watts_per_vcpu: float
    kwh_dollars: float

    @property
    def store(self) -> Store:
        """The bucket, of as many prefixes as streams have."""
        return Store(self.store_median, self.store_p99, self.puts_per_prefix * self.prefixes)


@dataclass(frozen=True, slots=True)
class Described:
    """A number with where it comes from.

    Attributes:
        name: of the input.
        value: as used.
        unit: of the value.
        kind: measured, derived, published, list price or assumed.
        source: who says so.
    """

    name: str
    value: float
    unit: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Costs:
    """Processor time that other benchmarks measured.

    Attributes:
        compress: images a second that two cores compress for 16 clients, by workload.
        spent: of `benchmarks.capacity.measure`, by name.
    """

    compress: Mapping[str, float]
    spent: Mapping[str, float]

    @property
    def tiles(self) -> float:
        """What a pixel of a large picture costs against one of a small one: tiles overlap."""
        return self.spent["psnr encode of 12 MP, s/MP"] / self.spent["psnr encode, s/MP"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What is bought and counted: a machine, or a GPU with its share of one.

    Attributes:
        name: for tables.
        kind: of its processes.
        processes: number of them.
        vcpus: number of them.
        dollars: an hour.
    """

    name: str
    kind: Kind
    processes: int
    vcpus: float
    dollars: float

    def limits(self, sizes: Sizes) -> dict[str, float]:
        """Find how many requests a second each of its parts takes, were there no other.

        No pictures share a batch: those of many sizes seldom do.
        """
        kind = self.kind
        share = sum(each[0] for each in sizes.classes)
        lane = sum(each[0] * kind.lane_seconds(each[1]) for each in sizes.classes) / share
        parts = {"lanes": kind.lanes / lane}
        if kind.loop:
            parts["event loop"] = 1 / (kind.loop + kind.loop_mb * sizes.mean_mb)
        if kind.readers:
            parts["readers"] = kind.readers / (kind.read_mp * sizes.mean_mp)
        if kind.coders:
            parts["coders"] = kind.coders / (kind.code_mp * sizes.mean_mp)
        return {name: self.processes * rate for name, rate in parts.items()}

    def capacity(self, sizes: Sizes) -> float:
        """Find how many requests a second it takes."""
        return min(self.limits(sizes).values())


def described(changes: Mapping[str, float] | None = None) -> list[Described]:
    """Read `inputs.json`, with other values for some.

    Raises:
        KeyError: there is no input of a name in `changes`.
    """
    found = {name: Described(name=name, **each) for name, each in json.loads(INPUTS.read_text()).items()}
    for name, value in (changes or {}).items():
        was = found[name]
        found[name] = Described(name, value, was.unit, "changed", f"instead of {was.value:g}: {was.source}")
    return list(found.values())


def inputs(changes: Mapping[str, float] | None = None) -> Inputs:
    """Read the numbers alone."""
    values = {each.name: float(each.value) for each in described(changes)}
    return Inputs(**{field.name: values[field.name] for field in fields(Inputs)})


def costs() -> Costs:
    """Read what was measured."""
    rows = json.loads((RESULTS / "throughput.json").read_text())["rows"]
    spent = json.loads((RESULTS / "capacity-costs.json").read_text())["costs"]
    return Costs({row["workload"]: row["clients"] for row in rows}, spent)


def cpu_machine(given: Inputs, measured: Costs) -> Machine:
    """Make a machine without a GPU: processes of four lanes, each with a core of its own.

    Two rates of the service on two cores, of photographs and of thumbnails, give what a picture and
    a megapixel cost, all work of the request included; also the clients', which ran beside it.
    """
    photograph = 2 / measured.compress["compress images"]
    thumbnail = 2 / measured.compress["compress 128x128"]
    batch_mp = given.batch_thumbnails * THUMBNAIL_MP  # as pixels, what a batch costs beside its own
    saved = batch_mp * (1 - 1 / given.thumbnail_batch)
    pixels = (photograph - thumbnail) / (KODAK_MP - THUMBNAIL_MP + saved)
    request = photograph - pixels * (KODAK_MP + batch_mp)
    speed = 1 / given.cores_per_vcpu
    kind = Kind(
        lanes=round(given.lanes),
        batch=batch_mp * pixels * speed,
        request=request * speed,
        pixels=pixels * speed,
        large_pixels=measured.tiles * pixels * speed,
        batch_mp=given.cpu_batch_mp,
        room_mp=given.room_mp,
        room_requests=given.room_requests,
    )
    processes = round(given.vcpus / given.lanes)
    return Machine(f"{given.vcpus:g} vCPU", kind, processes, given.vcpus, given.cpu_dollars)


def gpu_machine(given: Inputs, measured: Costs, *, big: bool = False) -> Machine:
    """Make a GPU with the cores beside it and one process: an L4, or an H100. None was measured."""
    vcpus = given.big_gpu_vcpus if big else given.gpu_vcpus
    tflops = given.big_gpu_tflops if big else given.gpu_tflops
    pixels = given.kop_per_pixel * 1e9 / (tflops * 1e12 * given.gpu_share)
    kind = Kind(
        batch=given.gpu_batch,
        request=given.gpu_request,
        pixels=pixels,
        large_pixels=measured.tiles * pixels,
        batch_mp=given.gpu_batch_mp,
        loop=measured.spent["service's loop, ms a request"] / 1e3,
        loop_mb=measured.spent["service's loop, ms/MB of body"] / 1e3,
        readers=round(given.image_workers),
        read_mp=measured.spent["jpeg decode, s/MP"],
        coders=round(vcpus) - 2,
        code_mp=given.code_ms_per_mp / 1e3,
        room_mp=given.room_mp,
        room_requests=given.room_requests,
    )
    dollars = given.big_gpu_dollars if big else given.gpu_dollars
    return Machine("H100, 24 vCPU" if big else "L4, 8 vCPU", kind, 1, vcpus, dollars)
