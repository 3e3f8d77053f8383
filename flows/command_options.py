"""Options that many commands share."""

import click

store_option = click.option(
    "--store",
    "root",
    envvar="TAMIS_STORE",
    default="./tamis-store",
    show_default=True,
    help="Directory of the store; also TAMIS_STORE.",
)
