"""Settings of the training."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, create_model, model_validator

from langtailor.config.base import Distinct, Name, Section, Share, problem
from langtailor.config.sentence_pairs import StsPairs
from langtailor.objectives.term import Term, objective_terms

#: Settings of a training that say how it is saved and shown, not what it computes.
NON_SEMANTIC_SETTINGS = ("checkpoint_minutes", "tensorboard", "report_to")


def _weights_and_parameters() -> dict[str, Any]:
    """The fields that the terms of the loss add: each term's weight, followed by the term's parameters."""
    fields: dict[str, Any] = {}
    for term in objective_terms():
        fields[term.name] = (float, Field(term.default_weight, ge=0, description=term.__doc__))
        fields |= {name: (field.annotation, field) for name, field in term.model_fields.items()}
    return fields


class ObjectiveSettings(create_model("TermSettings", __base__=Section, **_weights_and_parameters())):  # type: ignore[misc]
    """Weights of the terms of the loss; the loss is their sum. A weight of 0 leaves a term out."""

    #: Whether there are candidates to rank.
    ranks_candidates: ClassVar[bool] = False

    matryoshka: Distinct[Annotated[int, Field(ge=1)]] = ()
    """Further dimensions at which all terms are also computed, on the truncated vectors scaled to length 1; the loss is
    the mean over the dimensions."""
    matryoshka_similarities: Literal["truncated", "full"] = "truncated"
    """What the relational term of a truncated student is compared with: the similarities of the truncated teacher
    vectors or those of the full ones."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.weighted_terms():
            usable = (term for term in objective_terms() if self.ranks_candidates or not term.ranks_candidates)
            names = ", ".join(term.name for term in usable)
            raise problem("", f"every weight is 0; give at least one of {names} a weight")
        return self

    def weighted_terms(self) -> list[tuple[Term, float]]:
        """The terms that have a weight, with their parameters, and the weights."""
        return [
            (term(**{name: getattr(self, name) for name in term.model_fields}), weight)
            for term in objective_terms()
            if (weight := getattr(self, term.name))
        ]

    @property
    def compares_hidden_states(self) -> bool:
        """Whether a term with a weight needs the hidden states of the clone with all layers."""
        return any(term.compares_hidden_states for term, _ in self.weighted_terms())

    def modules(self) -> list[str]:
        """The modules of the terms that have a weight, by their names below the package."""
        return [type(term).__module__.partition(".")[2] for term, _ in self.weighted_terms()]


class DistillationSettings(Section):
    """How the student is trained on the stored vectors."""

    #: Its place in the configuration, for messages.
    section: ClassVar[str] = "distillation"
    #: What says how many texts it is validated on, likewise.
    validation_key: ClassVar[str] = "corpus.quotas.validation"
    objective: ObjectiveSettings = ObjectiveSettings()
    """The terms of the loss."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the train split."""
    language_weights: dict[Name, Annotated[float, Field(ge=0)]] = {}
    """How often each passage of a language is seen per epoch; the default for a language is 1, and 0 leaves it out."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    """Passages per optimiser step, over all devices."""
    micro_batch_tokens: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of tokens, padding included, in one micro-batch; a batch is sorted by length and split into
    micro-batches. `null` uses what fits into a GPU's free memory, measured in a pass over the longest passages, and
    16,384 on a CPU. Halved when the device runs out of memory. The gradient is that of the whole batch, however it is
    split."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Peak learning rate of the backbone. The default was the best on multilingual-e5-small
    (docs/tailoring-a-multilingual-model.md); the paper uses 5e-5 for EmbeddingGemma."""
    embedding_learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the token embeddings; `null` uses `learning_rate`."""
    decay: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: Share = 0.01
    """Share of the steps over which the learning rate rises, at the start and whenever more of the model becomes
    trainable; at least two steps if it is above 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW weight decay; not applied to biases, norms and the token embeddings, most of whose rows get no gradient in
    most steps."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this global norm."""
    new_rows_only: Share = 0.0
    """Share of the steps, from the first, that train only the grafted embedding rows."""
    embeddings_only: Share = 0.0
    """Share of the steps, after those, that train only the embedding table."""
    dropout: bool = False
    """Train with the dropout of the model's own configuration. The stored vectors were made without dropout, and
    without it the student starts at the teacher's vectors."""
    subword_dropout: Share = 0.0
    """Share of the tokens of a training text that are replaced, by a new draw in each step, by the pieces that their
    text would have without them. So the student learns to read words whose tokens were cut. Validation texts are read
    in the same way, by one draw."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` computes under autocast if the device has arithmetic for it; weights and optimiser stay in float32."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Tokens to which a training text is truncated; `null` uses the model's own limit."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: uses less memory and about a third more time."""
    validate_every: Annotated[int, Field(ge=1)] = 100
    """Steps between two validations."""
    validation_passages: Annotated[int, Field(ge=1)] | None = 1_000
    """Passages of each language in a validation, from the start of its validation split; `null` uses all of them."""
    validation_sts: StsPairs | None = None
    """An STS dev set (sentence pairs with human scores): each validation also measures Spearman's correlation on it,
    times 100."""
    keep: Literal["loss", "cosine", "sts", "last"] = "loss"
    """Which weights become the student: those with the lowest validation loss (`loss`), with the highest mean cosine to
    the teacher (`cosine`), with the highest correlation on `validation_sts` (`sts`), or the last ones (`last`)."""
    interpolation: Share | Distinct[Share] = 1.0
    """How much of the training the student keeps: 0 gives the clone's weights, 1 the trained ones (WiSE-FT, Wortsman et
    al. 2022, arXiv 2109.01903). Less than 1 keeps more of what the training text does not show. Of a list, such as
    `[0.5, 0.75, 1.0]`, the share that is best in what `keep` names on the validation split."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Training stops after this many validations without improvement in what `keep` names; `null` never stops early."""
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 5.0
    """Minutes between two checkpoints; an interrupted run resumes from the last. 0 writes one after each step."""
    tensorboard: bool = False
    """Also write the metrics for TensorBoard, next to the checkpoints (needs the package `tensorboard`)."""
    report_to: Distinct[Literal["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "trackio", "wandb"]] = ()
    """Trackers that receive the settings of the training and, while it runs, its metrics. Each needs its package, and
    reads address and account from its own environment variables."""

    @property
    def shares(self) -> tuple[float, ...]:
        """The values of ``interpolation`` to choose from; often one."""
        return self.interpolation if isinstance(self.interpolation, tuple) else (self.interpolation,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for term, _ in self.objective.weighted_terms():
            if term.ranks_candidates and not self.objective.ranks_candidates:
                raise problem(
                    f"objective.{term.name}", "it ranks candidates, which only `retrieval` has; give it a weight there"
                )
        if self.keep == "last" and self.patience is not None:
            raise problem("patience", "it counts validations without improvement; with `keep: last` it must be null")
        if not self.shares:
            raise problem("interpolation", "the list is empty; give at least one share")
        if self.keep == "last" and len(self.shares) > 1:
            raise problem("interpolation", "validation chooses from a list; with `keep: last` it must be one number")
        if self.keep == "sts" and self.validation_sts is None:
            raise problem("keep", "`keep: sts` needs `validation_sts`, which names the sentence pairs")
        if self.new_rows_only + self.embeddings_only > 1:
            total = self.new_rows_only + self.embeddings_only
            raise problem("embeddings_only", f"new_rows_only and embeddings_only add up to {total:g}; at most 1")
        return self
