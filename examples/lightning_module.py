"""LANet in Lightning: ``python examples/lightning_module.py``."""

from __future__ import annotations

import lightning
import torch
from bags import WIDTH, Bags
from torch import Tensor
from torch.utils.data import DataLoader

from ladnet_fast import DDLLoss, LANet
from ladnet_fast.metrics import FrameAUC


class Detector(lightning.LightningModule):
    """LANet with its loss, and the AUC of validation frames."""

    def __init__(self, width: int = WIDTH, lr: float = 1e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = LANet(feature_dim=width, hidden_dim=16, mlp_dims=(32, 16))
        self.criterion = DDLLoss()
        self.auc = FrameAUC()

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Return the loss of a batch and log its terms."""
        scores, features = self.net(batch["x"], batch["lengths"])
        terms = self.criterion(scores, features, batch["labels"], batch["lengths"])
        self.log_dict({f"train/{name}": value for name, value in terms._asdict().items()})
        return terms.total

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Collect the scores of whole bags."""
        scores, _ = self.net(batch["x"], batch["lengths"])
        for own, truth, length in zip(scores, batch["truth"], batch["lengths"], strict=True):
            self.auc.update(own[:length], truth[:length])

    def on_validation_epoch_end(self) -> None:
        """Log the AUC of all frames together."""
        self.log("val/auc", self.auc.compute().float(), prog_bar=True)
        self.auc.reset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser of the paper's related code."""
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


def main(folder: str = "runs/lightning", epochs: int = 8) -> float:
    """Train, write a checkpoint, load it; return the AUC."""
    lightning.seed_everything(0, verbose=False)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    validation = DataLoader(Bags(16, seed=1), batch_size=8)
    detector = Detector(lr=5e-3)
    trainer.fit(detector, DataLoader(Bags(64, seed=0), batch_size=16, shuffle=True), validation)
    trainer.save_checkpoint(f"{folder}/last.ckpt")
    again = Detector.load_from_checkpoint(f"{folder}/last.ckpt", weights_only=True)
    again.net.save_pretrained(f"{folder}/net")  # now LANet.from_pretrained and ladnet-fast read it
    return float(trainer.callback_metrics["val/auc"])


if __name__ == "__main__":
    print(f"frame AUC {main():.3f}")
