"""Plans of recipes, each made once: a table asks for its recipes' ids whenever one of its rows has ended."""

import json
from dataclasses import dataclass, field
from functools import lru_cache

from flows.config import Recipe
from flows.plan import Plan, plan_run
from storage.store import Store


def planned(store: Store, recipe: Recipe) -> Plan:
    """The plan of a recipe, whose ids do not depend on what has been done of it."""
    text = json.dumps(recipe.to_json(), sort_keys=True)
    return _planned(_Asked(location=store.location, text=text, store=store, recipe=recipe))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    location: str
    text: str
    store: Store = field(compare=False)
    recipe: Recipe = field(compare=False)


@lru_cache(maxsize=1024)
def _planned(asked: _Asked) -> Plan:
    return plan_run(asked.recipe, asked.store)
