"""Options that many commands share."""

import re

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


class QueryCommand(click.Command):
    """A command whose argument is SQL: a text that begins with a comment (`-- ...`) is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; a space in front makes a comment plain."""
        queries = [f" {one}" if _COMMENT.match(one) else one for one in args]
        return super().parse_args(ctx, queries)
