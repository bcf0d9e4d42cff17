"""NIH ChestX-ray14 as a TensorFlow Datasets builder, with Apache Beam."""
