"""The trained models: weights, a card beside each, and the registry that finds them."""
