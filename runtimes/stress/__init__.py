"""Samples as the world gives them: perturbed.

``rungs_for(data)`` gives the rungs of each kind that suits the inputs, and ``rung.on(batch)`` the
batch under one of them; ``data.changed(rung.on)`` is a dataset of such batches. Which of the rungs
a model bears, ``runtimes.parity.ladder.measure_ladder`` finds out.
"""
