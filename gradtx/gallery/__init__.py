"""Optimizers on functions of two variables: their paths as numbers, as pictures and as an animation.

    paths = gallery.trajectories(gallery.saddle, gallery.CLASSICS, steps=100, rates=(0.01, 0.1))
    gallery.steps_to_escape(paths, below=-1.0)
    gallery.draw(paths).savefig("saddle.png")
    gallery.animate(paths, "saddle.gif")

Such pictures made adaptive methods popular. What they show depends on the learning rate, so draw several.
The pictures need matplotlib, which the extra `plot` brings: pip install 'gradtx[plot]'. The numbers don't.
"""

from gradtx.gallery.paths import CLASSICS, Trajectories, steps_to_escape, trajectories
from gradtx.gallery.pictures import animate, draw
from gradtx.gallery.surfaces import Surface, beale, ravine, rosenbrock, saddle

__all__ = [
    "CLASSICS",
    "Surface",
    "Trajectories",
    "animate",
    "beale",
    "draw",
    "ravine",
    "rosenbrock",
    "saddle",
    "steps_to_escape",
    "trajectories",
]
