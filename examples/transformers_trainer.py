"""LANet in transformers' Trainer: ``python examples/transformers_trainer.py``."""

from __future__ import annotations

import torch
from bags import WIDTH, Bags
from transformers import EvalPrediction, Trainer, TrainingArguments

from ladnet_fast import LANet
from ladnet_fast.losses import WithLoss
from ladnet_fast.metrics import FrameAUC


def figures(predicted: EvalPrediction) -> dict[str, float]:
    """Return the AUC of the valid snippets of all bags."""
    scores = predicted.predictions[0]
    _, truth, lengths = predicted.label_ids
    auc = FrameAUC()
    for own, its_truth, length in zip(scores, truth, lengths, strict=True):
        auc.update(torch.as_tensor(own[:length]), torch.as_tensor(its_truth[:length]))
    return {"auc": float(auc.compute())}


class Detector(WithLoss):
    """Takes whole rows of `Bags`: what the loss does not need is for `figures` alone."""

    def forward(self, x, lengths, labels=None, truth=None):
        """Return loss, scores and features."""
        return super().forward(x, lengths, labels=labels)


def main(folder: str = "runs/trainer", epochs: int = 8) -> float:
    """Train, evaluate, save the network, load it; return the AUC."""
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=epochs,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=8,
        learning_rate=5e-3,
        label_names=["labels", "truth", "lengths"],
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    torch.manual_seed(0)
    detector = Detector(LANet(feature_dim=WIDTH, hidden_dim=16, mlp_dims=(32, 16)))
    trainer = Trainer(
        model=detector,
        args=arguments,
        train_dataset=Bags(64, seed=0),
        eval_dataset=Bags(16, seed=1),
        compute_metrics=figures,
    )
    trainer.train()
    auc = trainer.evaluate()["eval_auc"]
    detector.net.save_pretrained(f"{folder}/net", card={"figures": {"frame AUC": round(auc, 3)}})
    LANet.from_pretrained(f"{folder}/net")
    return auc


if __name__ == "__main__":
    print(f"frame AUC {main():.3f}")
