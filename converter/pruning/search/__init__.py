"""How much to remove where: sensitivities, costs and plans."""
