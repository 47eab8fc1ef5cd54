"""Torch modules alone: our transforms and hyperprior, and the published network behind them."""
