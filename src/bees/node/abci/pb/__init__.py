"""Generated from `../proto` by `python -m bees.node.abci.generate`: do not edit."""
