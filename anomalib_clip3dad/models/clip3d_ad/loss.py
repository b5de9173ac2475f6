# SPDX-License-Identifier: Apache-2.0
"""The two losses: image-text contrast, and segmentation."""

import torch
from torch import Tensor
from torch.nn import functional


def bidirectional_contrastive_loss(
    image_normal: Tensor,
    image_anomalous: Tensor,
    text_normal: Tensor,
    text_anomalous: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """Pull each image to the text of its own state, and each text to the image of its own state.

    CLIP3D-AD, Eq. 11-13: (L_i2t + L_t2i) / 2, averaged over the pairs.

    Args:
        image_normal: I+, (B, C) or (1, C), of any length.
        image_anomalous: I-, the synthetic anomalies on the same parts.
        text_normal: T+, (B, C) or (1, C).
        text_anomalous: T-.
        temperature: Divides the cosine similarities; the paper has none.

    Returns:
        Scalar, 0 at best.

    Example:
        >>> normal, anomalous = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> round(bidirectional_contrastive_loss(normal, anomalous, normal, anomalous).item(), 4)  # 2 log(1 + 1/e)
        0.6265
    """

    def similarity(image: Tensor, text: Tensor) -> Tensor:
        return functional.cosine_similarity(image, text, dim=-1) / temperature

    right = similarity(image_normal, text_normal), similarity(image_anomalous, text_anomalous)
    wrong = similarity(image_normal, text_anomalous), similarity(image_anomalous, text_normal)
    # -log e^a / (e^a + e^b) = softplus(b - a). For an image, the other text is wrong (Eq. 11); for a text, the other
    # image is (Eq. 12), so the two wrong similarities change places.
    image_to_text = functional.softplus(wrong[0] - right[0]) + functional.softplus(wrong[1] - right[1])
    text_to_image = functional.softplus(wrong[1] - right[0]) + functional.softplus(wrong[0] - right[1])
    return ((image_to_text + text_to_image) / 2).mean()


def segmentation_loss(anomaly_map: Tensor, mask: Tensor, balanced: bool = False) -> Tensor:
    """Binary cross-entropy between S_map and the mask (CLIP3D-AD, Eq. 14), mean over all pixels.

    Args:
        anomaly_map: (B, H, W), probabilities in [0, 1].
        mask: (B, H, W), true or 1 where the anomaly is; empty for normal images.
        balanced: Give all anomalous pixels together the weight of all normal ones (not in the paper). Otherwise the
            normal ones, some 99 %, first lower the whole map.

    Returns:
        Scalar.

    Example:
        >>> silent, mask = torch.full((1, 1, 100), 0.1), (torch.arange(100) == 0).view(1, 1, 100)
        >>> [round(segmentation_loss(silent, mask, balanced).item(), 3) for balanced in (False, True)]
        [0.127, 1.204]
    """
    # The map is a softmax enlarged bilinearly, so there are no logits to use; autocast refuses probabilities.
    with torch.autocast(anomaly_map.device.type, enabled=False):
        target = mask.float()
        loss = functional.binary_cross_entropy(anomaly_map.float(), target, reduction="none")
    if not balanced:
        return loss.mean()
    anomalous, normal = (((loss * of).sum() / of.sum().clamp(min=1)) for of in (target, 1 - target))
    return (anomalous + normal) / 2
