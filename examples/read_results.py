"""Reading results with pandas, cell by cell: `python examples/read_results.py RESULTS`."""

# %% What there is: a results JSON, or the folder of a run
import sys

from raytune_ocr.tune import best, compare, learning_curves, load_results

source = sys.argv[1]

# %% A row a trial, best first; accuracies from 0 to 1, times in seconds
trials = load_results(source)
print(trials[["experiment_name", "status", "best_val_char_accuracy", "training_time"]])

# %% The best trial, one row
winner = best(source)
print(f"winner: {winner['experiment_name']} at {winner['best_val_char_accuracy']:.4f}")

# %% A row a trial and epoch: when did each first read 90 % of the characters?
curves = learning_curves(source)
good = curves[curves["val_char_accuracy"] >= 0.9]
print(good.groupby("experiment_name")["epoch"].min().rename("first epoch at 90 %"))

# %% Runs side by side
print(compare(sys.argv[1:]).T)
