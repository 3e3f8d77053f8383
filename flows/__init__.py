"""The main job as flows: recipes, plans, steps, reports and the command line."""
