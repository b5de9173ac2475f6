# SPDX-License-Identifier: Apache-2.0
"""Results of a grid as CSV, as Markdown in the layout of the paper's Tables 1 to 3, as a figure and as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from anomalib_clip3dad.benchmark.figure import draw
from anomalib_clip3dad.benchmark.grid import Job
from anomalib_clip3dad.benchmark.page import write_page
from anomalib_clip3dad.benchmark.published import MEAN
from anomalib_clip3dad.benchmark.summary import costs, results, summary

TITLES = {
    "image_AUROC": "Detection, I-AUROC (layout of Table 1)",
    "pixel_AUPRO": "Localisation, AUPRO up to a false-positive rate of 0.3 (layout of Table 2)",
    "image_AUPR": "Detection, AUPR",
    "pixel_AUROC": "Localisation, P-AUROC",
}
_MIB = 2**20


def write_report(jobs: Sequence[Job], finished: Path, failures: Mapping[str, str], folder: Path) -> str:
    """Write the report of the finished jobs: `results.csv` (one row per job), `summary.csv`, `report` as md, png, html.

    A job that tests other categories than it trains on has one row for each.

    Args:
        jobs: Jobs of the grid.
        finished: Folder of the finished jobs.
        failures: Reason for each failed job, by its key.
        folder: Output folder.

    Returns:
        The Markdown.
    """
    found = results(jobs, finished)
    numbers = summary(jobs, found)
    folder.mkdir(parents=True, exist_ok=True)
    found.to_csv(folder / "results.csv", index=False)
    numbers.to_csv(folder / "summary.csv", index=False)
    parts = [_heading(jobs, found), *_tables(numbers), *([_costs(found)] if len(found) else [])]
    text = "\n\n".join([*parts, *_unfinished(jobs, found, failures)]) + "\n"
    (folder / "report.md").write_text(text, encoding="utf-8")
    if len(found):
        draw(numbers, folder / "report.png")
    write_page(folder, text)
    return text


def _heading(jobs: Sequence[Job], found: pd.DataFrame) -> str:
    size = jobs[0].evaluation_size
    pixels = "the size of the masks' files" if size == "native" else f"{size} x {size}"
    finished = found.job.nunique() if len(found) else 0
    spread = "seeds and training categories" if jobs[0].tested else "seeds"
    lines = [
        f"{finished} of {len(jobs)} jobs finished. Per cent, mean ± standard deviation over the {spread} (n - 1). "
        f"Raw scores; maps and masks at {pixels}; nothing padded, nothing masked."
    ]
    if any(job.is_random for job in jobs):
        lines.append("**(random weights): these scores mean nothing.** They only show that the model runs.")
    if sources := dict.fromkeys(job.init_args["texture_dir"] for job in jobs if "texture_dir" in job.init_args):
        named = ", ".join(f"the images of {source}" if source else "the shots' own and noise" for source in sources)
        lines.append(f"Textures of the synthetic anomalies: {named}.")
    versions = found.filter(regex="^(version_|device$)").drop_duplicates()
    lines += [
        "; ".join(f"{name.removeprefix('version_')} {value}" for name, value in row.items())
        for row in versions.to_dict("records")
    ]
    return "\n\n".join(lines)


def _tables(numbers: pd.DataFrame) -> list[str]:
    """One table per metric like Tables 1 and 2, then all four means like Table 3."""
    parts = [
        f"## {title}\n\n{_markdown(_rows(numbers[numbers.metric == metric], 'category'))}"
        for metric, title in TITLES.items()
    ]
    means = numbers[numbers.category == MEAN]
    return [*parts, f"## Mean of the categories (layout of Table 3)\n\n{_markdown(_rows(means, 'metric'))}"]


def _rows(numbers: pd.DataFrame, across: str) -> list[dict[str, str]]:
    """One row per k and model; below it published numbers and differences, if there are any."""
    rows = []
    for (k_shot, model), alike in numbers.groupby(["k_shot", "model"], sort=False):
        known = {"k-shot": f"{k_shot}", "method": str(model)}
        cells = alike.set_index(across)
        rows.append(known | {str(name): _with_spread(cell["mean"], cell["std"]) for name, cell in cells.iterrows()})
        if alike.published.notna().any():
            printed = {name: _plain(value) for name, value in cells.published.items()}
            rows.append(known | {"method": "published"} | printed)
            apart = {name: _plain(value, "+.1f") for name, value in cells.difference.items()}
            rows.append(known | {"method": "difference"} | apart)
    return rows


def _with_spread(mean: float | None, std: float | None) -> str:
    return _plain(mean) + (f"±{std:.1f}" if pd.notna(std) else "")


def _plain(value: float | None, form: str = ".1f") -> str:
    return format(value, form) if pd.notna(value) else "-"


def _costs(found: pd.DataFrame) -> str:
    rows = []
    for row in costs(found).to_dict("records"):
        gpu = row["peak_gpu_bytes"]
        rows.append(
            {
                "k-shot": row["k_shot"],
                "method": row["model"],
                "fit, s": _plain(row["fit_seconds"]),
                "test, s": _plain(row["test_seconds"]),
                "samples / s": _plain(row["samples_per_second"], ".2f"),
                "CPU, MiB": _plain(row["peak_cpu_bytes"] / _MIB, ".0f"),
                "GPU, MiB": _plain(gpu / _MIB, ".0f") if pd.notna(gpu) else "-",
                "trained": f"{row['trained_parameters']:.0f}",
                "file, MiB": _plain(row["checkpoint_bytes"] / _MIB),
            }
        )
    title = "Cost of a job: mean time, largest memory, trained parameters, checkpoint"
    return f"## {title}\n\n{_markdown(rows)}"


def _unfinished(jobs: Sequence[Job], found: pd.DataFrame, failures: Mapping[str, str]) -> list[str]:
    done = set(found.job) if len(found) else set()
    missing = [job for job in jobs if job.key not in done]
    if not missing:
        return []
    return ["## Not finished\n\n" + "\n".join(f"- {job}: {failures.get(job.key, 'not run yet')}" for job in missing)]


def _markdown(rows: list[dict[str, str]]) -> str:
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *(list(map(str, row.values())) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
