"""scikit-learn: a support vector machine on handwritten digits, one epoch a fold."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC


def prepare():
    return load_digits(return_X_y=True)


def train(parameters, context):
    images, digits = context.data
    scores = list(context.load() or [])
    folds = StratifiedKFold(context.epochs, shuffle=True, random_state=context.seed)
    for fitted, held_out in list(folds.split(images, digits))[len(scores) :]:
        model = SVC(C=parameters["c"], gamma=parameters["gamma"])
        model.fit(images[fitted], digits[fitted])
        scores.append(float(model.score(images[held_out], digits[held_out])))
        context.save(scores)
        context.report(cv_accuracy=np.mean(scores), fold_accuracy=scores[-1])
