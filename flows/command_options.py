"""Options that many commands share."""

import os
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

_COMMENT = re.compile(r"--(\s|[^=]*\n)")

store_option = click.option(
    "--store",
    "root",
    envvar="TAMIS_STORE",
    default="./tamis-store",
    show_default=True,
    help="Directory or URL (s3://bucket/prefix) of the store; also TAMIS_STORE.",
)

set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a recipe's key, such as training.epochs=5."
)


def led_by_one(command: Callable[..., None]) -> Callable[..., None]:
    """The command as it is; under torchrun, on rank 0 alone, with all ranks in each training that it comes to."""

    @wraps(command)
    def led(root: str, **options: Any) -> None:
        if "WORLD_SIZE" not in os.environ:
            command(root=root, **options)
            return
        from flows.ranks import SpokenError, in_ranks

        def lead() -> None:
            if options.get("processes", 1) > 1:
                raise click.UsageError("leave out --processes under torchrun, whose processes train together")
            command(root=root, **options)

        try:
            in_ranks(root, lead)
        except SpokenError:
            raise click.exceptions.Exit(1) from None

    return led


class QueryCommand(click.Command):
    """A command whose argument is SQL: a text that begins with a comment (`-- ...`) is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; a space in front makes a comment plain."""
        queries = [f" {one}" if _COMMENT.match(one) else one for one in args]
        return super().parse_args(ctx, queries)
