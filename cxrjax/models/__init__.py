"""Networks: layers, weights read strictly, transfer (trunk and head), augmentation."""
