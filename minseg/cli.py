"""The commands: what they take, and one short function for each. What they do stands in the rooms below.

Heavy imports (Numba, Matplotlib) come inside the functions, so that ``minseg --help`` answers at once.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from minseg import __version__
from minseg.errors import ArgumentError, GradcheckError, MinsegError

WRONG, FAILED, INTERRUPTED = 2, 1, 130
"""Exit codes: bad input; a check that failed; Ctrl-C."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; every error on purpose ends in one line on stderr and a non-zero exit code."""
    args = parser().parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read the output (head, say) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MinsegError, OSError) as error:
        if args.debug:
            raise
        print(f"minseg: error: {error}", file=sys.stderr)
        return FAILED if isinstance(error, GradcheckError) else WRONG
    except KeyboardInterrupt:
        print("minseg: interrupted", file=sys.stderr)
        return INTERRUPTED


# ------------------------------------------------------------------------------------------------------------ arguments


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    top = argparse.ArgumentParser(
        prog="minseg", description="Image segmentation by convolutional networks, from scratch."
    )
    top.add_argument("--version", action="version", version=f"minseg {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_gradcheck(commands)
    _add_equations(commands)
    _add_tutorials(commands)
    _add_models(commands)
    _add_compare(commands)
    _add_explain(commands)
    _add_robustness(commands)
    _add_compress(commands)
    _add_bench(commands)
    _add_gpu_record(commands)
    _add_emulate(commands)
    _add_doctor(commands)
    return top


def _command(commands, name: str, run, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command.set_defaults(run=run)
    return command


def _add_train(commands) -> None:
    command = _command(
        commands, "train", train, "train a network, score it on held-out images and draw its predictions"
    )
    option = command.add_argument
    option("--data", help="nuclei (default), earth, shapes, streets, cells, faces, voc:DIR, folder:DIR or binary:DIR")
    option("--classes", help="class names in the order of the labels: a,b,c or a file with one a line")
    option("--model", help="network (default unet); minseg models lists them")
    option("--widths", type=_integers, metavar="A,B,C", help="channels of each level of the U-Net, as in 8,16,32")
    option("--backend", help="numpy, numba, cupy, emulator or auto (default)")
    option(
        "--precise",
        action="store_true",
        default=None,
        help="round like the definition: convolutions without Winograd's transforms",
    )
    option(
        "--loss", help="ce (cross-entropy), focal, dice, jaccard, bce, mse, or a sum such as ce+dice or ce+0.5*jaccard"
    )
    option(
        "--class-weights",
        metavar="KIND",
        help="inverse, median or sqrt-median: weigh rare classes more, in ce and focal",
    )
    option("--optimizer", help="adam, adamw, rmsprop, sgd (with momentum), nesterov, keras-sgd or gd")
    option("--lr", type=float, help="learning rate at the start")
    option(
        "--weight-decay",
        type=float,
        metavar="STRENGTH",
        help="pull of the weights towards 0 (default: the optimizer's)",
    )
    option("--clip", type=float, metavar="NORM", help="the norm that the gradients may have together")
    option("--schedule", help="constant, step, polynomial or cosine")
    option("--warm-up", type=int, metavar="STEPS", help="steps in which the learning rate rises first")
    option("--steps", type=int, help="steps to train")
    option("--batch-size", type=int, help="images a step")
    option("--crop", type=int, metavar="PIXELS", help="side of the square windows to train on")
    option(
        "--augment", help="none, light (flips and quarter turns; default) or strong (any angle, zoom, bending, colours)"
    )
    option("--validate-every", type=int, metavar="STEPS", help="steps between validations and checkpoints")
    option(
        "--early-stopping", type=int, metavar="PATIENCE", help="stop when so many validations in a row were no better"
    )
    option("--seed", type=int, help="for initial weights, batches and augmentation")
    option("--out", type=Path, metavar="DIR", help="folder to write to (default runs/DATA, or runs/DATA-2 and so on)")
    option("--resume", nargs="?", const=True, metavar="DIR", help="go on with the run in DIR, or with the latest one")
    option("--threads", type=int, help="threads of the kernels (default: all cores)")


def _add_evaluate(commands) -> None:
    command = _command(commands, "evaluate", evaluate, "score a trained run on held-out images")
    command.add_argument("folder", type=Path, metavar="RUN", help="folder that minseg train wrote")
    command.add_argument("--data", help="other data than the run was trained on, with the same classes")
    command.add_argument(
        "--boundary",
        type=float,
        nargs="?",
        const=2.0,
        metavar="PIXELS",
        help="also the F1 score of the outlines, within this many pixels (default 2)",
    )
    _add_crf(command)
    command.add_argument("--backend", help="numpy, numba, cupy, emulator or auto; by default the run's")
    command.add_argument("--threads", type=int, help="threads of the kernels")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_predict(commands) -> None:
    command = _command(commands, "predict", predict, "segment images of any size: a mask and an overlay for each")
    command.add_argument("folder", type=Path, metavar="RUN", help="folder that minseg train wrote")
    command.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    command.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default RUN/predictions)")
    _add_crf(command)
    command.add_argument("--backend", help="numpy, numba, cupy, emulator or auto; by default the run's")
    command.add_argument("--threads", type=int, help="threads of the kernels")


def _add_crf(command) -> None:
    command.add_argument(
        "--crf",
        type=int,
        nargs="?",
        const=8,
        metavar="RADIUS",
        help="let a fully connected CRF sharpen the edges, each pixel with those this far around it (default 8)",
    )


def _add_gradcheck(commands) -> None:
    command = _command(commands, "gradcheck", gradcheck, "compare the gradient of every operation with differences")
    command.add_argument(
        "operation", nargs="?", metavar="OP", help="only this operation, or those that match, as in 'conv*'"
    )
    command.add_argument("--backend", help="only this backend (default: all that work here but the emulator)")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_equations(commands) -> None:
    command = _command(commands, "equations", equations, "show the equations, and check that the code computes them")
    command.add_argument(
        "id", nargs="?", metavar="ID", help="one equation in full, or those that match, as in 'conv.*'"
    )
    command.add_argument("--check", action="store_true", help="evaluate them as printed and compare with every backend")
    command.add_argument("--html", type=Path, metavar="DIR", help="write pages that lead from each formula to its code")
    command.add_argument("--markdown", type=Path, metavar="FILE", help="write EQUATIONS.md")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_tutorials(commands) -> None:
    command = _command(commands, "tutorials", tutorials, "list the notebooks, build them or check them")
    command.add_argument("numbers", nargs="*", metavar="NN", help="only these: 01 02 (default: all)")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--build", action="store_true", help="execute each source and write the notebook beside it")
    what.add_argument("--check", action="store_true", help="execute each source and compare with the notebook")
    command.add_argument("--fast", action="store_true", help="with --check: train a tenth of the steps (MINSEG_FAST=1)")


def _add_models(commands) -> None:
    command = _command(commands, "models", models, "list the networks: parameters, multiply-adds, receptive field")
    command.add_argument("names", nargs="*", metavar="NAME", help="only these networks")
    command.add_argument(
        "--size", type=_integers, default=(128,), metavar="H,W", help="image to count for (default 128)"
    )
    command.add_argument("--in-channels", type=int, default=3, metavar="C", help="channels of the image (default 3)")
    command.add_argument("--classes", type=int, default=21, metavar="K", help="classes (default 21)")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_compare(commands) -> None:
    command = _command(commands, "compare", compare, "train every network by one recipe and tabulate cost and IoU")
    command.add_argument("--data", type=_names, default=("nuclei", "earth"), metavar="A,B", help="(nuclei,earth)")
    command.add_argument("--models", type=_names, default=(), metavar="A,B", help="only these networks (default all)")
    command.add_argument("--steps", type=int, help="steps to train each (default: what fits into a quarter of an hour)")
    command.add_argument("--seed", type=int, default=0, help="for initial weights, batches and augmentation")
    command.add_argument(
        "--out",
        type=Path,
        default=Path("runs/compare"),
        metavar="DIR",
        help="folder to write to and to find finished networks in (default runs/compare)",
    )
    command.add_argument("--threads", type=int, help="threads of the kernels")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_explain(commands) -> None:
    command = _command(
        commands, "explain", explain, "draw where a run looks: saliency, Grad-CAM, receptive field, graph"
    )
    command.add_argument("folder", type=Path, metavar="RUN", help="folder that minseg train wrote")
    command.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    command.add_argument(
        "--class", dest="target", metavar="NAME", help="class (default: the most frequent, not the first)"
    )
    command.add_argument("--pixel", type=_integers, metavar="ROW,COLUMN", help="explain this pixel only")
    command.add_argument("--layer", metavar="NAME", help="layer for Grad-CAM (default: the last of the coarsest)")
    command.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default RUN/explained)")
    command.add_argument("--backend", help="numpy, numba, cupy, emulator or auto; by default the run's")
    command.add_argument("--threads", type=int, help="threads of the kernels")


def _add_robustness(commands) -> None:
    command = _command(commands, "robustness", robustness, "score a run on noisy, blurred and faint images")
    command.add_argument("folder", type=Path, metavar="RUN", help="folder that minseg train wrote")
    command.add_argument("--data", help="other data than the run was trained on, with the same classes")
    command.add_argument("--seed", type=int, default=0, help="of the noise")
    command.add_argument("--backend", help="numpy, numba, cupy, emulator or auto; by default the run's")
    command.add_argument("--threads", type=int, help="threads of the kernels")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_compress(commands) -> None:
    command = _command(commands, "compress", compress, "score a run with weights left out, and in eight bits")
    command.add_argument("folder", type=Path, metavar="RUN", help="folder that minseg train wrote")
    command.add_argument(
        "--shares", type=_numbers, default=(0.5, 0.7, 0.9), metavar="A,B", help="of weights to leave out (0.5,0.7,0.9)"
    )
    command.add_argument("--fine-tune", type=int, default=0, metavar="STEPS", help="train on after pruning (default 0)")
    command.add_argument("--backend", help="numpy, numba, cupy, emulator or auto; by default the run's")
    command.add_argument("--threads", type=int, help="threads of the kernels")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_bench(commands) -> None:
    command = _command(commands, "bench", bench, "time a U-Net and its operations, in turn with PyTorch if wanted")
    command.add_argument("--peer", choices=["torch"], help="compare with PyTorch, in turn within one process")
    command.add_argument("--threads", type=int, default=2, help="threads on both sides (default 2)")
    command.add_argument("--rounds", type=int, default=9, help="rounds in which all take turns (default 9)")
    command.add_argument("--only", metavar="TEXT", help="only what has this text in its name")
    command.add_argument("--sweep", action="store_true", help="also operations at sizes that double")
    command.add_argument("--memory", action="store_true", help="also the peak memory of training steps")
    command.add_argument("--full", action="store_true", help="all of these, every kernel and every variant of it")
    command.add_argument(
        "--plot", type=Path, metavar="FILE", help="instead: draw the cost against image size, batch and threads"
    )
    command.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table for README")
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_gpu_record(commands) -> None:
    text = "run the tests and benchmarks of the CUDA kernels on the GPU here, and write a dated record"
    command = _command(commands, "gpu-record", gpu_record, text)
    option = command.add_argument
    option("--backend", choices=["cupy", "emulator"], default="cupy", help="emulator: to try the command without a GPU")
    option("--no-tests", dest="tests", action="store_false", help="without the tests")
    option("--no-benchmarks", dest="benchmarks", action="store_false", help="without the benchmarks")
    option("--rounds", type=int, default=9, help="rounds in which all take turns (default 9)")
    option("--out", type=Path, metavar="DIR", help="where to write (default: the project's kernels/cuda/records)")
    option("--commit", metavar="HASH", help="of these files, where git cannot tell")


def _add_emulate(commands) -> None:
    command = _command(
        commands, "emulate", emulate, "run a CUDA kernel on the CPU, watched for data races and stray accesses"
    )
    option = command.add_argument
    option("file", type=Path, metavar="FILE.cu")
    option("kernel", nargs="?", metavar="KERNEL", help="without it, the kernels of the file are listed")
    option(
        "--args",
        dest="arguments",
        nargs="+",
        default=[],
        metavar="VALUE",
        help="in the kernel's order, or named: x=arange:10 y=zeros:4,4 w=random:9:float32 out=empty:10 data.npy n=10",
    )
    option("--grid", type=_integers, default=(1,), metavar="X,Y,Z", help="blocks (default 1)")
    option("--block", type=_integers, default=(64,), metavar="X,Y,Z", help="threads of a block (default 64)")
    option("--shared-mem", type=int, default=0, metavar="BYTES", help="dynamic shared memory of a block")
    option("--mode", choices=["checked", "fast"], default="checked", help="fast trusts the kernel (default checked)")
    option(
        "--order",
        choices=["all", "ascending", "descending", "shuffled", "interleaved"],
        default="all",
        help="in which order threads take their turns; all (default) tries each and compares the results",
    )
    option("--seed", type=int, default=0, help="for random arrays and shuffled threads")
    option("-D", "--define", action="append", default=[], metavar="NAME=VALUE", help="a macro, as in -D REAL=float")
    option("-I", "--include", action="append", default=[], type=Path, metavar="DIR", help="a folder with headers")
    option("--json", action="store_true", help="print JSON")


def _add_doctor(commands) -> None:
    command = _command(commands, "doctor", doctor, "say what is installed, which backends work and why others do not")
    command.add_argument("--json", action="store_true", help="print JSON")


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers as in 8,16,32, got {text!r}") from None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers as in 0.5,0.9, got {text!r}") from None


# ------------------------------------------------------------------------------------------------------------- commands


def train(args) -> int:
    """``minseg train``"""
    from minseg import runs

    _use_threads(args.threads)
    settings, folder = _settings_and_folder(args)
    trainer, data = runs.prepare(settings, folder)
    if args.resume:
        trainer.resume()
    print(
        f"{runs.network_name(settings)} with {trainer.model.num_parameters()} weights on {data.name}; writing to {folder}"
    )
    signal.signal(signal.SIGINT, _finish_step_then_stop(trainer))
    try:
        finished = trainer.fit()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not finished:
        print(f"stopped after step {trainer.step} of {trainer.steps}; go on with: minseg train --resume {folder}")
        return INTERRUPTED
    outcome = runs.finish(trainer, data, settings)
    if trainer.step < trainer.steps:
        print(
            f"stopped early, after step {trainer.step} of {trainer.steps}: {trainer.patience} validations in a row were no better"
        )
    print(f"\n{outcome.table()}\n")
    print(
        f"scores of step {outcome.step}, the best of {trainer.step} on these images; {outcome.seconds:.0f} s of training"
    )
    print("\n".join(f"wrote {path}" for path in [folder / "model.safetensors", *outcome.pictures]))
    return 0


def _settings_and_folder(args):
    """What was asked for; with ``--resume`` on top of what the run was made from, whatever was not asked for."""
    from dataclasses import fields, replace

    from minseg import runs

    given = {field.name: getattr(args, field.name) for field in fields(runs.Settings)}
    given = {key: value for key, value in given.items() if value is not None}
    data = given.get("data", "nuclei")
    base = args.out or Path("runs") / data.partition(":")[0]
    if not args.resume:
        settings = runs.settings_for(**{**given, "data": data})
        if args.out and (args.out / "config.json").exists():
            raise ArgumentError(
                f"{args.out} holds a run already; name another --out, or go on with --resume {args.out}"
            )
        return settings, args.out or runs.new_folder(base)
    folder = runs.latest_folder(base) if args.resume is True else Path(args.resume)
    stored, _ = runs.read_config(folder)
    settings = replace(stored, **given)
    runs.check(settings)
    return settings, folder


def _finish_step_then_stop(trainer):
    """A handler for Ctrl-C: the first ends the training after its step, a second one ends the program."""

    def handle(signum, frame) -> None:
        trainer.stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    return handle


def evaluate(args) -> int:
    """``minseg evaluate``"""
    from minseg import runs
    from minseg.files import jsonable
    from minseg.metrics import BoundaryF1

    run = _open_run(args)
    data = runs.open_data_of(run, args.data)
    outlines = None if args.boundary is None else BoundaryF1(data.num_classes, args.boundary)
    if args.crf is None:
        confusion = runs.evaluate(run.model, data, run.preprocess, outlines)
    else:
        confusion = runs.evaluate_crf(run.model, data, run.preprocess, args.crf, outlines)
    if args.json:
        scores = confusion.to_dict(data.class_names)
        scores |= {} if outlines is None else {"boundary": outlines.to_dict(data.class_names)}
        print(json.dumps(jsonable(scores), indent=2, ensure_ascii=False))
    else:
        print(f"{args.folder} on the held-out part of {data.name}, {len(data.val)} image{'s'[: len(data.val) > 1]}\n")
        print(confusion.table(data.class_names))
        if outlines is not None:
            print(f"\n{outlines.table(data.class_names)}")
    return 0


def predict(args) -> int:
    """``minseg predict``"""
    from minseg import runs

    run = _open_run(args)
    for mask, overlay in runs.predict_files(run, args.images, args.out or args.folder / "predictions", args.crf):
        print(f"wrote {mask} and {overlay}")
    return 0


def _open_run(args):
    from minseg import runs
    from minseg.backend import use_backend
    from minseg.kernels.precision import precise

    _use_threads(args.threads)
    settings, _ = runs.read_config(args.folder)
    use_backend(args.backend or settings.backend)
    precise(settings.precise)
    return runs.open_run(args.folder)


def gradcheck(args) -> int:
    """``minseg gradcheck``"""
    from minseg.testing import gradients

    return gradients.main(args)


def equations(args) -> int:
    """``minseg equations``"""
    from minseg.testing import equations_report

    return equations_report.main(args)


def tutorials(args) -> int:
    """``minseg tutorials``"""
    from minseg.testing.tutorials import command

    return command.main(args)


def models(args) -> int:
    """``minseg models``"""
    from dataclasses import asdict

    from minseg.models import summary

    if len(args.size) > 2:
        raise ArgumentError(f"--size takes one side or height and width, as in 128 or 240,180, got {args.size}")
    size = (args.size[0], args.size[-1])
    found = [summary.summarize(name, args.in_channels, args.classes, size) for name in summary.check_names(args.names)]
    if args.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
        return 0
    print(summary.table(found))
    print(
        f"for images of {args.in_channels} channels and {size[0]}x{size[1]} pixels, {args.classes} classes; "
        "sees: pixels in a row that the logits in the middle depend on"
    )
    return 0


def compare(args) -> int:
    """``minseg compare``"""
    from minseg import comparison

    _use_threads(args.threads)
    found, written = comparison.compare(args.data, args.models, args.out, args.steps, args.seed, quiet=args.json)
    if args.json:
        print(json.dumps(comparison.to_dict(found), indent=2, ensure_ascii=False))
    else:
        print("\n".join([comparison.table(found), "", *(f"wrote {path}" for path in written)]))
    return 0


def explain(args) -> int:
    """``minseg explain``"""
    from minseg import studies

    run = _open_run(args)
    for path in studies.explain_files(
        run, args.images, args.out or args.folder / "explained", args.target, args.pixel, args.layer
    ):
        print(f"wrote {path}")
    return 0


def robustness(args) -> int:
    """``minseg robustness``"""
    from minseg import studies
    from minseg.robustness import table

    run = _open_run(args)
    curves, found, written = studies.robustness(run, args.data, args.seed, quiet=args.json)
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print("\n".join([table(curves), "", *(f"wrote {path}" for path in written)]))
    return 0


def compress(args) -> int:
    """``minseg compress``"""
    from minseg import studies

    run = _open_run(args)
    rows, found, written = studies.compress(run, args.shares, args.fine_tune, quiet=args.json)
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print("\n".join([studies.compression_table(rows), "", *(f"wrote {path}" for path in written)]))
    return 0


def bench(args) -> int:
    """``minseg bench``"""
    from minseg.testing import bench

    return bench.main(args)


def gpu_record(args) -> int:
    """``minseg gpu-record``"""
    from minseg.testing import gpu_record

    return gpu_record.main(args)


def emulate(args) -> int:
    """``minseg emulate``"""
    from minseg.testing import emulate

    return emulate.main(args)


def doctor(args) -> int:
    """``minseg doctor``"""
    from minseg.testing import doctor

    report = doctor.examine()
    print(json.dumps(report, indent=2) if args.json else doctor.table(report))
    return 0 if report["healthy"] else FAILED


def _use_threads(count: int | None) -> None:
    if count is None:
        return
    import numba

    most = numba.config.NUMBA_NUM_THREADS
    if not 1 <= count <= most:
        raise ArgumentError(f"--threads must be 1 to {most} on this machine, got {count}")
    numba.set_num_threads(count)


if __name__ == "__main__":
    sys.exit(main())
