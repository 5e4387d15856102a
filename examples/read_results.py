"""Reading results with pandas, cell by cell: `python examples/read_results.py RESULTS [MORE...]`.

Each RESULTS is a results JSON or the folder of a run. Accuracies go from 0 to 1, times are in
seconds, memory in MiB, epochs count from 1.
"""

# %% What there is
import sys

from raytune_ocr.results.analysis import score_name
from raytune_ocr.tune import best, compare, learning_curves, load_results

runs = sys.argv[1:]
source = runs[0]

# %% Trials: [trials x figures and hyper-parameters], best first
trials = load_results(source)
print(f"trials {trials.shape}: accuracies 0 to 1, training_time in s")
score = score_name(trials)  # best_val_char_accuracy, or best_val_accuracy of classifiers
print(trials[["experiment_name", "status", score, "training_time"]])

# %% The winner: a Series, one value for each column of the trials
winner = best(source)
print(f"winner: {winner['experiment_name']} at {winner[score]:.4f}")
if "test_char_accuracy" in winner:  # read once, after the winner was chosen
    print(f"on the test split: {winner['test_char_accuracy']:.4f}")

# %% Learning curves: [trials x epochs, metrics]; when was each first right in 90 %?
curves = learning_curves(source)
print(f"curves {curves.shape}: a row a trial and epoch, seconds of that epoch, memory_mb in MiB")
accuracy = score.removeprefix("best_")
good = curves[curves[accuracy] >= 0.9]
print(good.groupby("experiment_name")["epoch"].min().rename("first epoch at 90 %"))

# %% The same as a table of epochs x trials, ready to plot
wide = curves.pivot(index="epoch", columns="experiment_name", values=accuracy)
print(wide.tail(3))

# %% Runs side by side: [runs x 10]; training_time in s, summed over the trials
print(compare(runs).T)
