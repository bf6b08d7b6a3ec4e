"""DeblurGAN as a method: its recipes.

paper, released
    Kupyn et al. 2018, as the paper says and as the code does; `network` lists the differences.
reduced, reduced-cpu, smoke
    For minutes on a GPU, for an hour or two on two CPU cores, and to see that all of it learns.
"""

from dataclasses import dataclass
from typing import Literal

from baselines.method import Imported, Method, NetworkKind
from baselines.recipe import Augmentation, Optimisation, PatchConfig, Recipe
from gopro_tools.errors import InputError

GradientNorm = Literal["image", "pixel"]
PenaltyAlpha = Literal["image", "batch"]
ContentLayer = Literal["conv3_3", "relu3_3", "relu3_1"]
VggInput = Literal["imagenet", "signed"]

KIND = NetworkKind(
    name="deblurgan",
    network=Imported("baselines.deblurgan.network:Generator"),
    published=Imported("baselines.deblurgan.network:load_deblurgan"),
    published_layout="DeblurGAN's generator (model.1.weight, model.10.conv_block.1.weight, …)",
)


@dataclass(frozen=True, kw_only=True)
class DeblurGanRecipe(Recipe):
    """How to train DeblurGAN (Kupyn et al. 2018); the defaults are the paper's."""

    gradient_norm: GradientNorm = "image"
    """Norm in the gradient penalty: over all values of an image, or over a pixel's channels."""
    penalty_alpha: PenaltyAlpha = "image"
    """One random weight between sharp and restored for each image, or one for the batch."""
    critic_batches: Literal["fresh", "reused"] = "fresh"
    """Whether each critic step draws its own batch, or all reuse the generator step's."""
    n_critic_steps: int = 5
    """Critic steps for each generator step."""
    penalty_weight: float = 10.0
    """Weight of the gradient penalty (WGAN-GP's)."""
    content_weight: float = 100.0
    """Weight of the content loss beside the adversarial one (the paper's lambda)."""
    vgg_layer: ContentLayer = "relu3_3"
    """Features of VGG19 that the content loss compares: conv3_3 before or after its ReLU, or
    conv3_1 after its ReLU, an earlier layer than the paper's."""
    vgg_input: VggInput = "imagenet"
    """What VGG19 sees: ImageNet-normalised images, or plain [-1, 1]. Weights with a first layer of
    their own (`vgg.normalised_vgg19`) see [0, 1]."""
    output_rounding: Literal["nearest", "truncate"] = "nearest"
    """How restored values become 8 bits."""
    dropout: float = 0.5
    """Share of the features set to zero after the first convolution of a residual block."""
    dropout_at_test: bool = True
    """Keep dropout on when restoring; the result is then random."""
    n_features: int = 64
    """Channels at full size, of generator and critic."""
    n_blocks: int = 9
    """Residual blocks of the generator."""
    content_loss: Literal["vgg", "l1"] = "vgg"
    """``l1`` compares pixels and needs no weights of VGG19. It is not the paper's loss."""
    adversarial_weight: float = 1.0
    """Weight of the critic's loss; 0 trains without a critic."""
    first_weights: Literal["default", "identity"] = "default"
    """``identity``: the untrained network returns the blurred image (`start_without_correction`),
    for short trainings; the code starts with normal weights of deviation 0.02."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout={self.dropout}: a share in [0, 1) was expected.")
        if self.n_critic_steps < 1:
            raise InputError(f"n_critic_steps={self.n_critic_steps}: at least 1 was expected.")


_PAPER = DeblurGanRecipe(
    method="deblurgan",
    preset="paper",
    scale="full",
    patches=PatchConfig(
        patch_px=256,
        batch=1,
        draw="image",
        resize_hw=(360, 640),
        augmentation=Augmentation(hflip_p=0.5),
    ),
    optimisation=Optimisation(
        learning_rate=1e-4, n_epochs=300, n_epochs_decay=150, adam_betas=(0.5, 0.999)
    ),
)

# With the paper's weight of the critic, a hundredth of the content loss's, a short training
# sharpened what hardly moved: it lost 1.9 dB on blurs below 4 pixels.
_SMOKE = _PAPER.changed(
    preset="smoke",
    scale="smoke",
    patch_px=64,
    batch=4,
    resize_hw=None,
    learning_rate=5e-4,
    n_epochs=30,
    n_epochs_decay=30,
    steps_per_epoch=100,
    n_critic_steps=1,
    dropout=0.0,
    n_features=16,
    n_blocks=3,
    content_loss="l1",
    adversarial_weight=0.1,
    first_weights="identity",
)

DEBLURGAN = Method(
    name="deblurgan",
    title="DeblurGAN",
    published_name="DeblurGAN",
    kind=KIND,
    presets={
        "paper": _PAPER,
        "released": _PAPER.changed(
            preset="released",
            gradient_norm="pixel",
            penalty_alpha="batch",
            critic_batches="reused",
            vgg_layer="conv3_3",
            vgg_input="signed",
            output_rounding="truncate",
        ),
        # Patches as high, beside the frame, as the paper's 256 of 360 pixels: the instance norm of
        # smaller ones sees too little of what it meets in whole images. Pixels are compared: a
        # narrow network that compared features of VGG19's conv3_1, with the paper's weights of both
        # losses, lost 2.5 dB on validation images and left a checkerboard.
        "reduced": _SMOKE.changed(
            preset="reduced",
            scale="reduced",
            n_features=64,
            n_blocks=9,
            patch_px=128,
            batch=16,
            learning_rate=2e-4,
            n_epochs=50,
            n_epochs_decay=50,
            steps_per_epoch=160,
        ),
        "reduced-cpu": _SMOKE.changed(
            preset="reduced-cpu",
            scale="reduced",
            n_blocks=9,
            patch_px=128,
            n_epochs=90,
            n_epochs_decay=90,
            steps_per_epoch=200,
        ),
        "smoke": _SMOKE,
    },
    learner=Imported("baselines.deblurgan.learner:DeblurGanLearner"),
)
