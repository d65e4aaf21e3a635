"""The command line: what gradtx can tell of an optimizer, without a program around it.

    gradtx list adam
    gradtx explain 'adamw(1e-3)'
    gradtx cite 'chain(clip_by_global_norm(1.0), adamw(1e-3))'
    gradtx memory 'adamw(1e-3)' --params 7e9 --dtype bfloat16 --master float32 --devices 64 --zero 1
    gradtx plot-schedule 'cosine_decay_schedule(1e-3, 1000)' --steps 1000 --output schedule.png
    gradtx race 'sgd(0.1, momentum=0.9)' 'adam(0.1)' --surface rosenbrock --rate 0.001 --rate 0.01

Needs click, which the extra `cli` brings.
"""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import click
import jax

import gradtx
from gradtx import gallery
from gradtx.reports.docstrings import summary
from gradtx.reports.tables import aligned
from gradtx.values import registry
from gradtx.values.expression import read_value
from gradtx.values.value import Value
from gradtx.values.wording import shown

__all__ = ["cli"]


class _Expression(click.ParamType):
    """A call of what gradtx exports."""

    name = "expression"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Value:
        try:
            return read_value(value)
        except (TypeError, ValueError) as error:
            raise click.BadParameter(str(error), ctx, param) from None


class _Count(click.ParamType):
    """A whole number, which may be written as 7e9.

    Args:
        most: the largest.
    """

    name = "number"

    def __init__(self, most: float) -> None:
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        with contextlib.suppress(ValueError):
            number = float(value)
            if 1 <= number <= self.most and number.is_integer():
                return int(number)
        raise click.BadParameter(f"{shown(value)} is not a whole number from 1 to {self.most:g}.", ctx, param)


class _Finite(click.ParamType):
    """A number that is not infinite."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        with contextlib.suppress(ValueError):
            number = float(value)
            if math.isfinite(number):
                return number
        raise click.BadParameter(f"{shown(value)} is not a finite number.", ctx, param)


class _Picture(click.Path):
    """A file to write a picture to: looked at before the work is done."""

    def __init__(self, *endings: str) -> None:
        super().__init__(dir_okay=False, writable=True)
        self.endings = endings

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = pathlib.Path(value)
        try:
            folder = path.parent.is_dir() and os.access(path.parent, os.W_OK)
        except ValueError:  # a NUL in it
            folder = False
        if "\0" in str(value) or not folder:
            raise click.BadParameter(f"{shown(value)}: there is no folder to write it to.", ctx, param)
        if path.suffix.lower() not in self.endings:
            raise click.BadParameter(
                f"{shown(value)}: expected a name that ends in {', '.join(self.endings)}.", ctx, param
            )
        return super().convert(value, param, ctx)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the library refuses is the user's input: its message, without a traceback."""
    try:
        yield
    except (TypeError, ValueError, ImportError, ArithmeticError, MemoryError, OSError) as error:
        raise click.UsageError(str(error) or "there is not enough memory for that.") from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(gradtx.__version__, prog_name="gradtx")
def cli() -> None:
    """Ask gradtx about an optimizer: an expression such as 'adamw(1e-3)'."""
    if "JAX_PLATFORMS" not in os.environ:  # a question needs no accelerator, and must not take its memory
        jax.config.update("jax_platforms", "cpu")


KINDS = ("optimizers", "pieces", "schedules")


@cli.command("list")
@click.argument("word", default="")
@click.option("--kind", type=click.Choice(KINDS), help="Only these.")
def list_(word: str, kind: str | None) -> None:
    """What there is: names that contain WORD, each with a sentence."""
    found = {name: cls for name, cls in _exported().items() if word in name and kind in (None, _kind(cls))}
    if not found:
        raise click.ClickException(f"nothing here has {word!r} in its name.")
    width = max(map(len, found))
    for each in KINDS:
        mine = {name: cls for name, cls in found.items() if _kind(cls) == each}
        if mine:
            click.echo(click.style(each, bold=True))
        for name, cls in mine.items():
            click.echo(f"  {name:{width}}  {summary(cls)}")


@cli.command()
@click.argument("expression", type=_Expression())
@click.option("--latex", "form", flag_value="latex", help="As LaTeX.")
@click.option("--markdown", "form", flag_value="markdown", help="As Markdown.")
def explain(expression: Value, form: str | None) -> None:
    """The composition as a tree, with formulas, state and bytes."""
    with _told():
        click.echo(getattr(gradtx.explain(expression), form or "text"))


@cli.command()
@click.argument("expression", type=_Expression())
def cite(expression: Value) -> None:
    """BibTeX of every source in the composition."""
    click.echo(gradtx.cite(expression))


@cli.command()
@click.argument("expression", type=_Expression())
@click.option("--params", type=_Count(1e15), required=True, help="How many parameters: 7e9.")
@click.option("--dtype", help="Of the parameters; float32 if not given.")
@click.option("--grad-dtype", help="Of the gradients; the parameters' if not given.")
@click.option("--master", help="The dtype of a master copy; none if not given.")
@click.option(
    "--devices", type=click.IntRange(1), default=1, show_default=True, help="How many share the work."
)
@click.option("--zero", type=click.IntRange(0, 3), default=0, show_default=True, help="ZeRO's stage.")
def memory(
    expression: Any,
    params: int,
    dtype: str | None,
    grad_dtype: str | None,
    master: str | None,
    devices: int,
    zero: int,
) -> None:
    """The memory of training: parameters, gradients, master copy and each state."""
    with _told():
        report = gradtx.memory_report(
            expression,
            params,
            param_dtype=dtype,
            grad_dtype=grad_dtype,
            master_dtype=master,
            devices=devices,
            zero=zero,
        )
        click.echo(str(report))


@cli.command("plot-schedule")
@click.argument("expressions", type=_Expression(), nargs=-1, required=True)
@click.option("--steps", type=_Count(1e7), default=1000, show_default=True, help="How many, from 0.")
@click.option("--output", type=_Picture(".png", ".svg", ".pdf"), default="schedule.png", show_default=True)
def plot_schedule(expressions: tuple[Any, ...], steps: int, output: str) -> None:
    """A picture of one schedule or several, as PNG, SVG or PDF by the name's ending."""
    with _told():
        figure = gradtx.plot.schedules(*expressions, steps=steps).get_figure(root=True)
        assert figure is not None  # it is new, and so are its axes
        figure.savefig(output)
    click.echo(output)


_SURFACES = {name: each for name, each in vars(gallery).items() if isinstance(each, gallery.Surface)}


@cli.command()
@click.argument("expressions", type=_Expression(), nargs=-1)
@click.option("--surface", type=click.Choice(sorted(_SURFACES)), default="saddle", show_default=True)
@click.option("--steps", type=_Count(1e6), default=1000, show_default=True, help="How many updates, at most.")
@click.option(
    "--rate",
    "rates",
    type=_Finite(),
    multiple=True,
    help="A learning rate for all; may be given several times.",
)
@click.option(
    "--below",
    type=_Finite(),
    help="The value to reach. [default: -1 on the saddle, 0.01 where there is a minimum, which is 0]",
)
@click.option(
    "--output", type=_Picture(".png", ".svg", ".pdf", ".gif"), help="A picture, or a .gif that moves."
)
def race(
    expressions: tuple[Any, ...],
    surface: str,
    steps: int,
    rates: tuple[float, ...],
    below: float | None,
    output: str | None,
) -> None:
    """How many steps optimizers take to get below a value, on a surface of two variables.

    Without expressions those race that most pictures compare: SGD, momentum, NAG, Adagrad, RMSprop and
    Adam, at learning rates of 0.01 and 0.1 if none is given.
    """
    ground = _SURFACES[surface]
    if below is None:
        below = -1.0 if ground.minimum is None else 0.01
    with _told():
        paths = gallery.trajectories(
            ground, expressions or gallery.CLASSICS, steps, rates or (None if expressions else (0.01, 0.1))
        )
        counts = gallery.steps_to_escape(paths, below)
        if output is not None and output.endswith(".gif"):
            gallery.animate(paths, output)
        elif output is not None:
            gallery.draw(paths).savefig(output)
    columns = [f"λ = {rate:g}" for rate in paths.rates] if paths.rates else ["steps"]
    rows = [[name, *("never" if n is None else str(n) for n in each)] for name, each in counts.items()]
    click.echo(f"{ground.title}: steps until below {below:g}, of {steps}")
    click.echo("\n".join(aligned([["", *columns], *rows])))
    if output is not None:
        click.echo(output)


def _exported() -> dict[str, type[Value]]:
    found = registry.public(gradtx.GradientTransformation) | registry.public(gradtx.Schedule)
    return dict(sorted(found.items()))


def _kind(cls: type[Value]) -> str:
    if issubclass(cls, gradtx.Schedule):
        return "schedules"
    trains = cls.__module__.startswith("gradtx.optimizers.") and "learning_rate" in cls.__dataclass_fields__
    return "optimizers" if trains else "pieces"
