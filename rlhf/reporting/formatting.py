"""Figures as a reader sees them: one spelling for percentages, ranges, counts, times and sizes."""

from collections.abc import Sequence

from rlhf.data.identity import Json

THIN = "\u202f"  # a narrow space that does not break, between a number and its unit
MINUS = "\u2212"
ABSENT = "–"
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def percent(share: float | None, digits: int = 0) -> str:
    """0.701 -> "70 %"."""
    return ABSENT if share is None else f"{number(100 * share, digits)}{THIN}%"


def percent_range(low: float, high: float) -> str:
    """0.65, 0.74 -> "65–74", for tables; the unit stands beside it."""
    return f"{number(100 * low, 0)}–{number(100 * high, 0)}"


def percent_span(low: float, high: float) -> str:
    """0.65, 0.74 -> "65 to 74 %", for sentences."""
    return f"{number(100 * low, 0)} to {percent(high)}"


def with_span(share: float, interval: Sequence[float] | None) -> str:
    """0.70, (0.65, 0.74) -> "70 % (65 to 74 %)"."""
    return percent(share) + (f" ({percent_span(*interval)})" if interval else "")


def number(value: float | None, digits: int = 2) -> str:
    """A number with a true minus sign; no minus before a zero."""
    if value is None:
        return ABSENT
    said = f"{value:,.{digits}f}"
    if not said.strip("-0.,"):
        said = said.lstrip("-")
    return said.replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """A difference, with its sign."""
    said = number(value, digits)
    return said if said.startswith(MINUS) or not said.strip("0.,") else f"+{said}"


def count(value: int, singular: str = "", plural: str = "") -> str:
    """1046, "ranking" -> "1,046 rankings"."""
    noun = singular if value == 1 else (plural or f"{singular}s")
    return f"{value:,} {noun}" if singular else f"{value:,}"


def duration(seconds: float) -> str:
    """667.8 -> "11 min 8 s"."""
    if seconds < 9.95:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours}{THIN}h {minutes}{THIN}min"
    return f"{minutes}{THIN}min {rest}{THIN}s" if minutes else f"{rest}{THIN}s"


def size(size_bytes: int) -> str:
    """3702059 -> "3.7 MB" (decimal units)."""
    value, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.{0 if unit == 'B' or value >= 99.5 else 1}f}{THIN}{unit}"


def day(moment: str) -> str:
    """ "2026-11-23T15:12:51+00:00" -> "23 November 2026"."""
    year, month, date = moment[:10].split("-")
    return f"{int(date)} {MONTHS[int(month) - 1]} {year}"


def kl(row: Json, digits: int = 1) -> str:
    """A policy's distance from SFT in nats; a bound where only that is known."""
    if row.get("kl") is not None:
        return number(row["kl"], digits)
    bound = row.get("kl_bound")
    return ABSENT if bound is None else f"≤{THIN}{number(bound, digits)}"
