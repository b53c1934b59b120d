"""The atmospheric scattering model as pure functions; knows nothing of networks."""
