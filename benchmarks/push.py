"""How many bytes does it take to push one more model of a family to a server?

    python benchmarks/push.py [--heads 8] [--breaks 5]

One MobileNetV2 backbone with heads of 100 classes is exported and packaged, once for each head, and
the bundles are pushed one after the other to a server that starts empty. Counted is every byte that
crosses the link, in both directions, HTTP included. The last bundle is then changed in its head and
pushed again while the link breaks ``--breaks`` times, to see what broken links cost. Ends with 1
where the last head takes more than 1.02 times its bytes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from dedupe_models import CLASSES, mobile_nets  # noqa: E402

TOKEN = "a-token-of-this-benchmark"
HEAD_BYTES = (1280 * CLASSES + CLASSES) * 4
MOST = 1.02


def main() -> int:
    """Print a row for each push; 1 where the last one moved too much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=8, help="how many are there before the last")
    parser.add_argument("--breaks", type=int, default=5)
    args = parser.parse_args()
    from broken_links import link_to

    from runtimes.bundle import write_bundle
    from runtimes.serving.options import ServeOptions
    from runtimes.serving.push.client import push
    from runtimes.serving.run import running

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = mobile_nets(folder, args.heads + 2)
        bundles = [folder / f"{model.stem}.kilnx" for model in models]
        for model, bundle in zip(models, bundles, strict=True):
            write_bundle(bundle, model=model, name=model.stem).close()
        (folder / "repository").mkdir()
        options = ServeOptions(
            repository=folder / "repository", port=0, control_token=TOKEN, accept_pushes=True
        )
        moved = []
        with running(options) as where, link_to(int(where.url.rpartition(":")[2])) as link:
            for number, bundle in enumerate(bundles):
                before = link.crossed
                if number == len(bundles) - 1:
                    gap = HEAD_BYTES // (args.breaks + 1)
                    link.breaks_after = [link.sent + gap * n for n in range(1, args.breaks + 1)]
                report = push(bundle, f"127.0.0.1:{link.port}", token=TOKEN)
                moved.append(link.crossed - before)
                label = bundle.stem if number < len(bundles) - 1 else f"{args.breaks} breaks"
                print(
                    f"{label:10} {report.bundle_bytes:12,} bytes, {moved[-1]:12,} moved, "
                    f"{moved[-1] / HEAD_BYTES:8.4f} of a head, {report.sent_parts:4} parts of "
                    f"{report.parts}"
                )
    return int(moved[-2] > MOST * HEAD_BYTES)


if __name__ == "__main__":
    sys.exit(main())
