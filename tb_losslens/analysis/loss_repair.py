"""What is said of each way to give a criterion what it is not made for, and the pair that belongs together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Repair:
    """The words of a finding of `loss_misuse`."""

    title: str
    text: str
    advice: str
    fix: str
    confirm: str


_LOGITS = "logits = model(x)     # no softmax or sigmoid as the last layer\nloss = nn.CrossEntropyLoss()(logits, y)"

REPAIRS = {
    "softmax_before_cross_entropy": Repair(
        "Softmax before the cross-entropy",
        "The cross-entropy is given probabilities and takes their softmax once more. The loss cannot come near 0, and "
        "the gradient "
        "fades as the output gets sure.",
        "Give the criterion the logits: leave out the softmax at the end of the model, and take it only where "
        "probabilities are read.",
        _LOGITS,
        "Print `model(x).sum(1)` of one batch: it must not be 1 in each row.",
    ),
    "sigmoid_before_cross_entropy": Repair(
        "Outputs within 0..1 before the cross-entropy",
        "The cross-entropy is given outputs within 0..1, as a sigmoid makes them, and takes their softmax. No class can "
        "become "
        "sure, and the loss cannot come near 0.",
        "Give the criterion the logits: leave out the sigmoid at the end of the model. Where several classes can be true "
        "at once, "
        "take `BCEWithLogitsLoss` on the logits instead.",
        _LOGITS,
        "Print `model(x).min()` and `.max()` of one batch: logits have no bounds.",
    ),
    "nll_of_logits": Repair(
        "NLLLoss of what is no log probability",
        "The negative log-likelihood is given raw outputs, so the loss falls without end as these grow, and nothing "
        "makes the other "
        "classes less probable.",
        "Take `CrossEntropyLoss` on the raw outputs, or put `log_softmax` before `NLLLoss`.",
        "loss = nn.CrossEntropyLoss()(model(x), y)\n# or: nn.NLLLoss()(model(x).log_softmax(dim=1), y)",
        "Print `model(x).exp().sum(1)` of one batch: before `NLLLoss` it must be 1 in each row.",
    ),
    "nll_of_probabilities": Repair(
        "NLLLoss of probabilities",
        "The negative log-likelihood is given probabilities and not their logarithms: the loss lies between \u22121 and "
        "0, and its "
        "gradient is small just where the output is wrong.",
        "Put `log_softmax` in the place of `softmax`, or take `CrossEntropyLoss` on the raw outputs.",
        "loss = nn.NLLLoss()(logits.log_softmax(dim=1), y)\n# or: nn.CrossEntropyLoss()(logits, y)",
        "Print `model(x).exp().sum(1)` of one batch: before `NLLLoss` it must be 1 in each row.",
    ),
    "sigmoid_twice": Repair(
        "BCEWithLogitsLoss of outputs within 0..1",
        "The binary cross-entropy takes the sigmoid of outputs that are within 0..1 already: none of its probabilities "
        "can be less "
        "than 0.5 or more than 0.73.",
        "Leave out the sigmoid (or softmax) at the end of the model, or take `BCELoss` on its probabilities. For one class of "
        "several, take `CrossEntropyLoss` on the logits.",
        "loss = nn.BCEWithLogitsLoss()(logits, y.float())     # logits: no sigmoid as the last layer",
        "Print `model(x).min()` and `.max()` of one batch: logits have no bounds.",
    ),
    "class_numbers": Repair(
        "Regression on class numbers",
        "One output is fitted to the number of the class. That makes neighbouring numbers similar, which names of classes are "
        "not, and the best answer in doubt between 0 and 8 is 4.",
        "Where the numbers are names: one output for each class and `CrossEntropyLoss`. Where they are amounts or "
        "grades, this is right.",
        "head = nn.Linear(features, classes)\nloss = nn.CrossEntropyLoss()(head(z), y)",
        "Number the classes in another order: if the loss changes, they were no amounts.",
    ),
    "broadcast": Repair(
        "Every output is compared with every target",
        "Output and target have other shapes, as (n, 1) and (n,): each output is compared with the targets of all "
        "samples of the "
        "batch, and the best output is their mean.",
        "Bring both to one shape before the loss.",
        "output = model(x).squeeze(1)\nassert output.shape == y.shape, (output.shape, y.shape)\nloss = "
        "criterion(output, y)",
        "Print `model(x).shape` and `y.shape`: they must be equal.",
    ),
}  # fmt: skip
