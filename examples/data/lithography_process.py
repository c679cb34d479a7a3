#!/usr/bin/env python3
"""Writes lithography_process.csv, a synthetic process table: no number in it was measured anywhere.

Six lots of two wafers each pass through five lithography steps. Every value is a nominal figure of the step plus a
spread that follows from the row alone, by SHA-256, so that the same program always writes the same bytes:

    python3 lithography_process.py > lithography_process.csv

Doses, focus offsets and thicknesses are made up, of a plausible order for immersion and EUV lithography. The yield falls
with the distance of dose, focus and overlay from their nominal figures, so that the table hangs together.
"""

import hashlib
import sys

COLUMNS = "lot,wafer,step,tool,exposure_dose_mj_cm2,focus_nm,overlay_nm,resist,thickness_nm,yield_pct"
LOTS = [f"SYN-{number:03}" for number in range(1, 7)]
WAFERS = (7, 19)
# step, tool, dose in mJ/cm2, focus offset in nm, largest overlay error in nm, resist, resist thickness in nm
STEPS = (
    ("fin", "SCANNER-A", 32.0, -20.0, 2.5, "RESIST-1", 90.0),
    ("gate", "SCANNER-A", 34.5, -15.0, 2.2, "RESIST-1", 85.0),
    ("contact", "SCANNER-B", 58.0, -30.0, 1.8, "RESIST-2", 38.0),
    ("via-1", "SCANNER-B", 62.0, -28.0, 1.9, "RESIST-2", 40.0),
    ("metal-1", "SCANNER-B", 47.0, -25.0, 2.0, "RESIST-2", 36.0),
)


def spread(*key):
    """A number from -1 to 1 that depends on the key alone."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 0xFFFFFFFF * 2 - 1


def rows():
    for lot in LOTS:
        for wafer in WAFERS:
            for step, tool, dose, focus, overlay, resist, thickness in STEPS:
                off = {name: spread(lot, wafer, step, name) for name in ("dose", "focus", "overlay", "thickness")}
                loss = 4 * off["dose"] ** 2 + 3 * off["focus"] ** 2 + 5 * off["overlay"] ** 2
                yield (
                    lot,
                    wafer,
                    step,
                    tool,
                    f"{dose * (1 + 0.03 * off['dose']):.2f}",
                    f"{focus + 12 * off['focus']:.1f}",
                    f"{overlay * abs(off['overlay']):.2f}",
                    resist,
                    f"{thickness * (1 + 0.02 * off['thickness']):.1f}",
                    f"{98.5 - loss:.1f}",
                )


sys.stdout.write(COLUMNS + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows()))
