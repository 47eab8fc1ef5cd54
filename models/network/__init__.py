"""Torch modules only: the transforms, the hyperprior and the published network they descend from."""
