# SPDX-License-Identifier: Apache-2.0
"""Training of a small CLIP on procedural image-text pairs."""
