# SPDX-License-Identifier: Apache-2.0
"""`clip3dad demo`: a trained model in the browser."""

import html
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from anomalib_clip3dad.data.listing import Sample
from anomalib_clip3dad.errors import InputError, need
from anomalib_clip3dad.inference.folder import Results, judge, list_parts
from anomalib_clip3dad.inference.runtimes import Runtime, open_model
from anomalib_clip3dad.report import write_report
from anomalib_clip3dad.toy import write_toy3d

_ABOUT = "Drop an image and a 3D file of the same pixels, or take an example. 0.5 is the threshold of the score."
# of one part the report's tables and histogram tell nothing
_PART_ALONE = "h1, #said, .top { display: none }</style>"


def demo(
    model: Path, examples: Path | None = None, intrinsics: Path | None = None, device: str = "auto", port: int = 7860
) -> None:
    """Judge parts in the browser: verdict, anomaly map, and the part to turn with its score on the surface.

    Args:
        model: The .onnx, .xml or .ckpt file of a trained model.
        examples: Folder of parts to choose from, as for `clip3dad check`; default: toy gears.
        intrinsics: JSON file of the camera intrinsics; default: intrinsics.json in the folder of examples or above.
        device: cpu, gpu, or auto: what the runtime prefers.
        port: Port of the page, which only this machine reaches.
    """
    need("gradio", what="the demo", extra="demo")
    runtime = open_model(model, device)
    with tempfile.TemporaryDirectory() as made:
        folder = examples or toy_parts(Path(made))
        page(runtime, folder, intrinsics).launch(server_name="127.0.0.1", server_port=port)


def toy_parts(folder: Path) -> Path:
    """Write a normal toy gear and one with each kind of defect; give their folder."""
    write_toy3d(folder, "gear", train=0, validation=0, good=1, defects=1, progress=False)
    return folder / "gear/test"


def page(model: Runtime, examples: Path, intrinsics: Path | None = None) -> Any:
    """Make the page.

    Args:
        model: See `open_model`.
        examples: See `demo`.
        intrinsics: See `demo`.

    Returns:
        gradio's Blocks.

    Raises:
        ValueError: If there is no example.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
    import gradio as gr  # noqa: PLC0415  # takes seconds, and is an extra

    parts = {sample.image.relative_to(examples).as_posix(): sample for sample in list_parts(examples)[0]}
    if not parts:
        msg = f"examples={examples}: no image with a 3D file of the same name; see `clip3dad check {examples}`"
        raise InputError(msg)

    def of_files(image: str | None, scan: str | None, camera: str | None) -> tuple[str, str]:
        if not image or not scan:
            return "Give an image and its 3D file.", ""
        return answer(model, Sample(Path(image), Path(scan)), Path(camera) if camera else intrinsics)

    def of_example(name: str) -> tuple[str, str]:
        return answer(model, parts[name], intrinsics, examples)

    with gr.Blocks(title="clip3dad demo", analytics_enabled=False) as blocks:
        gr.Markdown(f"## {model.metadata.model}: {model.metadata.class_name or 'part'}\n{_ABOUT}")
        with gr.Row():
            named = partial(gr.File, height=160)
            files = [named(label="image"), named(label="3D file"), named(label="intrinsics (.json), if needed")]
            judged = gr.Button("Judge", variant="primary")
        example = gr.Dropdown(list(parts), label="example")
        shown = [gr.Markdown(), gr.HTML()]
        judged.click(of_files, files, shown)
        example.change(of_example, example, shown)
        blocks.load(of_example, example, shown)
    return blocks


def answer(model: Runtime, sample: Sample, intrinsics: Path | None, top: Path | None = None) -> tuple[str, str]:
    """Judge a part.

    Args:
        model: See `open_model`.
        sample: Its files.
        intrinsics: JSON of the camera; None to look for it.
        top: Folder up to which it is looked for; default: that of the image.

    Returns:
        The verdict, as Markdown; and the anomaly map and the part to turn, as HTML.
    """
    verdict = judge(model, sample, top or sample.image.parent, intrinsics)
    if verdict.score is None:
        return f"**cannot be judged**: {verdict.error}", ""
    with tempfile.TemporaryDirectory() as folder:
        results = Results(Path(folder), sample.image.parent, model.metadata.model)
        results.add(verdict)
        text = write_report(Path(folder)).read_text(encoding="utf-8").replace("</style>", _PART_ALONE, 1)
    label = f"**{results.labels[0]}**, " if results.labels[0] else "no threshold, "
    frame = f'<iframe srcdoc="{html.escape(text)}" style="width: 100%; height: 520px; border: 0"></iframe>'
    return f"{label}score {verdict.score:.3f}", frame
