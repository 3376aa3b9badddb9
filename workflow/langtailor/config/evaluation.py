"""Settings of the evaluation, and the registry of the kinds of tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, SerializationInfo, model_validator
from pydantic_core import CoreSchema, core_schema

from langtailor.config.base import Distinct, Name, Section, problem
from langtailor.config.task_groups import TASK_GROUPS, grouped_tasks


@dataclass(frozen=True)
class TaskNeeds:
    """What an evaluation task reads, and whether it shares the machine.

    Attributes:
        languages: languages whose corpus it reads.
        files: the user's own files that it reads.
        prompts: what it puts before texts: names of the model's prompts, or prompts written out.
        vectors: whether it reads the teacher's stored vectors of those languages.
        alone: whether it measures the machine, so that nothing else may run there.
        teacher: whether a later model is compared on the teacher's vectors of the task's own texts, which the teacher's
            evaluation leaves.
    """

    languages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    vectors: bool = False
    alone: bool = False
    teacher: bool = False


class Task(Section, ABC):
    """Settings of an evaluation task. Each kind is a subclass with a literal ``kind``, registered by :func:`task_kind`.

    Attributes:
        less_is_better: metrics of which the better model has the lower figure.
    """

    less_is_better: ClassVar[tuple[str, ...]] = ()

    kind: str

    @abstractmethod
    def needs(self, languages: Sequence[str]) -> TaskNeeds:
        """What the task reads.

        Args:
            languages: the languages of the corpus, sorted.

        Raises:
            PydanticCustomError: a setting does not fit the languages
                (:func:`~langtailor.config.base.problem`).
        """

    def texts_only(self) -> Task | None:
        """A task with the same texts and nothing but what decides them; nothing where there are no texts of its own.

        A training leaves these texts out, and how they are scored makes no difference to it.
        """
        return None

    def only(self, *settings: str, **others: Any) -> Self:
        """The task with some of its settings and others in place of its own; the rest have their defaults."""
        kept = {name: getattr(self, name) for name in ("kind", *settings)}
        return self.model_validate({**kept, **others})

    @classmethod
    def module(cls) -> str:
        """The module of the kind, by its name below the package."""
        return cls.__module__.partition(".")[2]


TaskT = TypeVar("TaskT", bound=type[Task])
_KINDS: dict[str, type[Task]] = {}


def task_kind(task: TaskT) -> TaskT:
    """Register a kind of task; a decorator of its settings class.

    Raises:
        ValueError: another class has this kind.
    """
    kind = _kind(task)
    if kind in _KINDS:
        raise ValueError(f"two kinds of evaluation tasks are called {kind!r}")
    _KINDS[kind] = task
    return task


def _kind(task: type[Task]) -> str:
    (kind,) = get_args(task.model_fields["kind"].annotation)
    return str(kind)


def task_kinds() -> dict[str, type[Task]]:
    """The registered kinds of tasks, by name, sorted."""
    return dict(sorted(_KINDS.items()))


def parse_task(data: Any) -> Task:
    """A task of a registered kind from its plain data; inverse of ``model_dump``."""
    if isinstance(data, Task):
        return data
    if not isinstance(data, Mapping):
        raise problem("", f"found {data!r}; write keys and values, among them the `kind`: {', '.join(task_kinds())}")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        found = "it is missing" if kind is None else f"found {kind!r}"
        raise problem("kind", f"{found}; the kinds of tasks are {', '.join(task_kinds())}")
    return _KINDS[kind].model_validate(data)


class _OfAnyKind:
    """Tells pydantic that a value is a task of any registered kind, by looking its kind up."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def dump(task: Task, info: SerializationInfo) -> dict[str, Any]:
            return task.model_dump(mode=info.mode)

        return core_schema.no_info_plain_validator_function(
            parse_task, serialization=core_schema.plain_serializer_function_ser_schema(dump, info_arg=True)
        )

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object"}  # langtailor.config.schema enters the kinds


#: Plain data, as no kind is registered yet when this module is imported.
_DEFAULT_TASKS: Any = {kind: {"kind": kind} for kind in ("agreement", "fertility")}


class EvaluationSettings(Section):
    """The tasks on which teacher, clone and student are compared."""

    groups: Distinct[Literal["turkish", "turkish-retrieval"]] = ()
    """Predefined groups of tasks that are added to `tasks`. `turkish`: the text tasks of the package `mteb` that have
    Turkish (needs that package); `turkish-retrieval`: the retrieval tasks among them."""
    tasks: Annotated[dict[Name, Annotated[Task, _OfAnyKind]], Field(validate_default=True)] = _DEFAULT_TASKS
    """Tasks by name."""
    bootstrap: Annotated[int, Field(ge=0)] = 1_000
    """Bootstrap resamples for each 95 % confidence interval."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "manifest" in self.tasks:
            raise problem(
                "tasks.manifest",
                "a task cannot have this name: `manifest.json` lists the scores of a model; take another one",
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _with_groups(cls, data: Any) -> Any:
        """Add the tasks of the groups; a task of the same name that the user describes takes precedence."""
        groups = data.get("groups") if isinstance(data, Mapping) else None
        if not isinstance(groups, list | tuple):
            return data
        named = [group for group in TASK_GROUPS if group in groups]
        added = {name: task for group in named for name, task in grouped_tasks(group).items()}
        described = data.get("tasks", cls.model_fields["tasks"].default)
        return {**data, "tasks": {**added, **described}} if isinstance(described, Mapping) else data
