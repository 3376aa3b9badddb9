"""Training the clone on the teacher's stored vectors.

``tokens`` stores the student's token ids; ``data`` and ``stream`` say what a step sees; ``objectives`` is the loss,
``gradients`` its exact gradient on a batch, ``schedule`` and ``optimizer`` how it is applied; ``validation``, ``sts_pairs``
and ``metrics`` measure; ``checkpoints`` lets a killed run resume; ``run`` is the training loop, ``outcome`` what it reports,
``train`` the stage.
"""
