"""The published numbers, from ``published.toml``."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from gopro_tools.errors import InputError
from gopro_tools.metrics import METRICS
from gopro_tools.tables.model import QUANTITIES, SOURCES, Column, Row, quantity_of

PUBLISHED_FILE = Path(__file__).resolve().parent.parent / "published.toml"


def published_rows(path: Path = PUBLISHED_FILE) -> list[Row]:
    """Every published number, in the file's order.

    Raises:
        InputError: An entry is incomplete, or its metric, protocol or citation is missing.
    """
    data = _read_toml(path)
    rows: list[Row] = []
    for index, table in enumerate(data["tables"], start=1):
        try:
            rows += _published_table(data, table)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: [[tables]] number {index} cannot be used: {error}."
            ) from error
    return [replace(row, origin=path.name) for row in rows]


def protocol_facts(protocol: str) -> Mapping[str, str]:
    """What ``published.toml`` says about a protocol: about, color_space, rounding, ssim_kind."""
    facts: Mapping[str, str] = _read_toml(PUBLISHED_FILE)["protocols"].get(protocol, {})
    return facts


def _published_table(data: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[Row]:
    source = table.get("source", "published")
    if source not in SOURCES[1:]:
        raise ValueError(f"source {source!r} is not one of {', '.join(SOURCES[1:])}")
    if not isinstance(table["verified"], bool):
        raise ValueError("verified must be true or false")
    for method, entry in table["rows"].items():
        scores = {name: value for name, value in entry.items() if name != "citation"}
        for name, value in scores.items():
            quantity = quantity_of(name)
            protocol = table.get("protocol", name)
            if quantity is None:
                raise ValueError(f"{name!r} is not one of {', '.join(QUANTITIES)}")
            if protocol not in METRICS and protocol not in data["protocols"]:
                raise ValueError(f"protocol {protocol!r} is not described")
            yield Row(
                method=method,
                column=Column(
                    quantity=quantity,
                    protocol=protocol,
                    settings=table.get("settings", ""),
                    dataset=table["dataset"],
                    split=table.get("split", ""),
                    blur_kind=table["blur_kind"],
                    resolution=table.get("resolution", ""),
                    source=source,
                ),
                value=float(value),
                printed=str(value),
                n_images=table.get("n_images"),
                verified=table["verified"],
                citation=data["citations"][entry.get("citation", table.get("citation"))],
                note=table.get("notes", {}).get(method, ""),
            )


@lru_cache(maxsize=4)
def _read_toml(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file, parse_float=Decimal)  # 0.9100 stays 0.9100
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error}).") from error
