"""Run the experiments behind docs/results.md, and write each row as it ends.

    python -m benchmarks.results learners --data $TAMIS_DATA --store results-store [--only NAME ...] [--processes 2]
    python -m benchmarks.results curation --data $TAMIS_DATA --store results-store [--only NAME ...] [--processes 2]

Every training, score and evaluation is an artifact of the store: what was finished before is not done again,
and what was interrupted carries on from its checkpoint. With one process all is done in this one.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.results.curation_experiments import CURATION
from benchmarks.results.document import with_section
from benchmarks.results.experiments import GPU, LEARNERS, TRIED
from benchmarks.results.sections import Section, dataset_steps, ids, works
from flows.config import Recipe
from flows.side_by_side import Work, run_side_by_side
from flows.step import Step, is_done, run_step, show_nothing
from storage.store import Store

TABLES: Mapping[str, Sequence[Section]] = {"learners": LEARNERS, "gpu": GPU, "tried": TRIED, "curation": CURATION}
ELSEWHERE = {"curation": {"smote": "benchmarks.results.smote_table", "betr": "benchmarks.results.betr_table"}}
"""Tables made by modules of their own, whose `main` takes `--data`, `--document` and `--kept`; they come last."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets' Parquet files")
    parser.add_argument("--store", required=True, help="where artifacts are kept")
    parser.add_argument("--only", nargs="+", help="names of experiments; else all")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--document", type=Path, default=Path("docs/results.md"))
    chosen = parser.parse_args(arguments)
    elsewhere = ELSEWHERE.get(chosen.table, {})
    names = [*(one.name for one in TABLES[chosen.table]), *elsewhere]
    for name in chosen.only or []:
        if name not in names:
            parser.error(f"--only must be of {', '.join(names)}, got {name!r}")
    wanted = chosen.only or names
    if not chosen.data.is_dir():
        parser.error(f"--data must be a folder with the data sets, and there is none at {chosen.data}")
    folder = Path(f"{chosen.store}-data")
    try:
        sections = [(one, one.recipes(chosen.data, folder)) for one in TABLES[chosen.table] if one.name in wanted]
    except FileNotFoundError as error:
        parser.error(f"--data lacks a file: {error}")
    run(Store.create(chosen.store), sections, chosen.processes, chosen.document)
    for name, module in elsewhere.items():
        if name in wanted:
            say(f"{name}: as {module} does it")
            places = {"--data": chosen.data, "--document": chosen.document, "--kept": folder / "rows"}
            try:
                import_module(module).main([str(word) for pair in places.items() for word in pair])
            except FileNotFoundError as error:
                parser.error(f"--data lacks a file: {error}")


def run(store: Store, sections: Sequence[tuple[Section, Sequence[Recipe]]], processes: int, document: Path) -> None:
    """Make the data sets, then everything else, and write a table whenever one of its rows may have ended."""
    for section, recipes in sections:
        for recipe in recipes:
            for step in dataset_steps(store, recipe):
                run_step(store, step, recipe.to_json(), show_nothing)
                say(f"{section.name}: {step.title}")
    parts = [ids(store, recipes) for _, recipes in sections]
    write(store, sections, document)
    for step in made(store, works(store, sections), processes):
        say(f"{step.title}, {store.record(step.id).seconds:.0f} s")
        both = zip(sections, parts, strict=True)
        write(store, [one for one, part in both if step.id in part and one[0].shows(step.module)], document)


def made(store: Store, found: Sequence[Work], processes: int) -> Iterator[Step]:
    """Each step that was made, when it has ended; what is there is skipped."""
    if processes > 1:
        yield from run_side_by_side(store, found, processes, show_nothing)
        return
    for work in found:
        if not is_done(store, work.step):
            run_step(store, work.step, work.recipe, show_nothing)
            yield work.step


def write(store: Store, sections: Sequence[tuple[Section, Sequence[Recipe]]], document: Path) -> None:
    """Put the rows of what has ended into the document; prose outside the sections is kept."""
    text = document.read_text(encoding="utf-8")
    for section, recipes in sections:
        rows = section.rows(store, recipes)
        if rows:
            note = section.note(store, recipes)
            text = with_section(text, section.name, section.title, rows, recipes[0], target=section.target, note=note)
    document.write_text(text, encoding="utf-8")


def say(line: str) -> None:
    """A line with the time."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


if __name__ == "__main__":
    main()
