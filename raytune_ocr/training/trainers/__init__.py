"""Trainers on top of the loop: of readers, of classifiers, of a task's own parts."""
