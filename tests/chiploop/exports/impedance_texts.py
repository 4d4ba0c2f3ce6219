"""Impedance files written by hand for the tests: one sound file per format, all of the same spectrum."""

from __future__ import annotations

import math

import numpy as np

HZ = np.logspace(5, 0, 16)


def impedance(hz: np.ndarray = HZ) -> np.ndarray:
    return np.asarray(200.0 + 3000.0 / (1.0 + 3000.0 * 2e-6 * (2j * math.pi * hz) ** 0.9))


def gamry(hz: np.ndarray = HZ, aborted: bool = False, last_hz: float = 1.0) -> str:
    lines = [
        "EXPLAIN",
        "TAG\tEISPOT",
        "TITLE\tLABEL\tPotentiostatic EIS\tTest &Identifier",
        "DATE\tLABEL\t3/18/2026\tDate",
        "FREQINIT\tQUANT\t1.00000E+005\tInitial Fre&q. (Hz)",
        f"FREQFINAL\tQUANT\t{last_hz:.5E}\tFinal Fre&q. (Hz)",
        "AREA\tQUANT\t1.00000E+000\t&Area (cm^2)",
        "ZCURVE\tTABLE",
        "\tPt\tTime\tFreq\tZreal\tZimag\tZsig\tZmod\tZphz\tIdc\tVdc\tIERange",
        "\t#\ts\tHz\tohm\tohm\tV\tohm\t\u00b0\tA\tV\t#",
    ]
    for i, (f, z) in enumerate(zip(hz, impedance(hz), strict=True)):
        phase = math.degrees(math.atan2(z.imag, z.real))
        lines.append(
            f"\t{i}\t{i + 1}\t{f:.7g}\t{z.real:.7g}\t{z.imag:.7g}\t1\t{abs(z):.7g}\t{phase:.7g}"
            "\t-5.89286E-006\t-0.3413299\t9"
        )
    if aborted:
        lines.append("EXPERIMENTABORTED\tTOGGLE\tT\tExperiment Aborted")
    return "\r\n".join(lines) + "\r\n"


def biologic(hz: np.ndarray = HZ, comma: bool = False, last_hz: float = 1.0) -> str:
    header = [
        "EC-Lab ASCII FILE",
        "Nb header lines : 11                          ",
        "",
        "Potentio Electrochemical Impedance Spectroscopy",
        "",
        "Electrode surface area : 0.330 cm\u00b2",
        "fi                  100.000             ",
        "unit fi             kHz                 ",
        f"ff                  {last_hz:.3f}".ljust(40),
        "unit ff             Hz                  ",
        "freq/Hz\tRe(Z)/Ohm\t-Im(Z)/Ohm\t|Z|/Ohm\tPhase(Z)/deg\ttime/s\tCs/\u00b5F\tcycle number\t",
    ]
    rows = []
    for i, (f, z) in enumerate(zip(hz, impedance(hz), strict=True)):
        phase = math.degrees(math.atan2(z.imag, z.real))
        values = (f, z.real, -z.imag, abs(z), phase, i + 1.0, 1.25, 1.0)
        rows.append("\t".join(f"{value:.7E}" for value in values))
    body = "\r\n".join(rows)
    if comma:
        header[5] = header[5].replace(".", ",")
        body = body.replace(".", ",")
    return "\r\n".join([*header, body]) + "\r\n"


def zplot(hz: np.ndarray = HZ, declared: int | None = None) -> str:
    lines = [
        "ZPLOT2 ASCII",
        "  Measured Data, ZPlot:       3.2c",
        "  Date:                       10-12-2026",
        "    vs Freq-Final:            1",
        "    Calibration File",
        "    Surface Area:             1",
        f"  Data Points:                {declared or hz.size}",
        "  Freq(Hz)\tAmpl\tBias\tTime(Sec)\tZ'(a)\tZ''(b)\tGD\tErr\tRange",
        "End Comments",
    ]
    for i, (f, z) in enumerate(zip(hz, impedance(hz), strict=True)):
        lines.append(
            f"{f:.6E}\t1.0000E-02\t0.0000E+00\t{i + 2.5:.6E}\t{z.real:.4E}\t{z.imag:.4E}"
            "\t0.0000E+00\t0\t4"
        )
    return "\n".join(lines) + "\n"


def zplot_quoted(hz: np.ndarray = HZ) -> str:
    lines = [
        '"ZPlotW Data File: Version 3.2c"',
        '"Raw Data"',
        '"Sweep Frequency: Control Voltage"',
        "Date: 12-17-2026    Time: 16:24:35",
        '"Frequency"',
        "0,3,0,1,100000,1",
        f"{hz.size}",
        "\"  Freq(Hz)    Ampl     Bias   Time(Sec)   Z'(a)    Z''(b)    GD   Err   Range\"",
    ]
    for i, (f, z) in enumerate(zip(hz, impedance(hz), strict=True)):
        lines.append(
            f"{f:.6E}, 1.0000E-02, 0.0000E+00, {i + 2.5:.6E}, {z.real:.4E}, {z.imag:.4E}, 0.0000E+00, 0, 5"
        )
    return "\n".join(lines) + "\n"


def pstrace(
    hz: np.ndarray = HZ, heading: str = "Z''", separator: str = ",", declared: bool = True
) -> str:
    """Return the text of an export; it always writes -Z'', whatever its heading says."""
    lines = [
        f"Date and time:{separator}2026-05-04 14:30:00",
        f"Measurement:{separator}Impedance Spectroscopy",
        f"CH 3: Fixed at {hz.size} freqs" if declared else "Impedance",
        separator.join(
            ["freq / Hz", "neg. Phase / \u00b0", "Idc / uA", "Z / Ohm", "Z' / Ohm",
             f"{heading} / Ohm", "Cs / F"]
        ),
    ]  # fmt: skip
    for f, z in zip(hz, impedance(hz), strict=True):
        phase = math.degrees(math.atan2(-z.imag, z.real))
        values = (f, phase, 0.25, abs(z), z.real, -z.imag, 1e-7)
        row = separator.join(f"{value:.6E}" for value in values)
        lines.append(row.replace(".", ",") if separator == ";" else row)
    return "\r\n".join(lines) + "\r\n"


def plain_csv(hz: np.ndarray = HZ, declared: bool = True) -> str:
    lines = [f"# points: {hz.size}"] if declared else []
    lines.append("frequency_hz,z_real_ohm,z_imag_ohm")
    lines += [f"{f:.7g},{z.real:.8g},{z.imag:.8g}" for f, z in zip(hz, impedance(hz), strict=True)]
    return "\n".join(lines) + "\n"


SOUND: dict[str, tuple[str, bytes]] = {
    "gamry": ("gamry", gamry().encode("latin-1")),
    "biologic": ("biologic", biologic().encode("latin-1")),
    "biologic_comma": ("biologic", biologic(comma=True).encode("latin-1")),
    "zplot": ("zplot", zplot().encode()),
    "zplot_quoted": ("zplot", zplot_quoted().encode()),
    "pstrace": ("pstrace", pstrace().encode("utf-16")),
    "pstrace_comma": (
        "pstrace",
        pstrace(heading="-Z''", separator=";", declared=False).encode("utf-8-sig"),
    ),
    "csv": ("csv", plain_csv().encode()),
}
"""Case -> format and bytes."""
