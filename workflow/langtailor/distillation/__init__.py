"""Training the clone on the teacher's stored vectors.

``tokens`` stores the student's token ids; ``data`` and ``batches`` say what a step sees; ``objectives`` is the loss,
``gradients`` its exact gradient on a batch, ``schedule`` and ``optimizer`` what is done with it; ``validation`` and
``metrics`` watch; ``checkpoints`` lets a killed run go on; ``train`` puts them together.
"""
