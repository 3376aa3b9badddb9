# The package, the configuration, and the names that wildcards stand for.

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from snakemake.exceptions import WorkflowError

#: Where this file is: a folder, or a place in a remote repository.
RULES = workflow.current_basedir


def source(path):
    """Local path of one of the workflow's files, named relative to this one; of a remote one a copy is at hand."""
    file = RULES.join(path)
    return Path(file if isinstance(file, os.PathLike) else workflow.source_path(path))


# The package is beside the rules. For a remote workflow it is installed, and `job` is brought to its scripts.
if isinstance(RULES, os.PathLike):
    sys.path.insert(0, str(Path(RULES).parents[1]))
elif find_spec("langtailor"):
    source("../../scripts/job.py")
else:
    raise WorkflowError(f"{RULES}: needs the package langtailor of the same commit; `pip install` the repository")

from langtailor.config.corpus import VocabularySource
from langtailor.config.export import export_formats
from langtailor.config.loading import refuse_unwritable
from langtailor.errors import ConfigError
from langtailor.planning.configuration import load_settings

# A file given with --configfile replaces the demo's; the two are not merged. A folder's own configuration comes first.
if not workflow.overwrite_configfiles:
    DEFAULT = Path("config/config.yaml")

    configfile: str(DEFAULT if DEFAULT.is_file() else source("../../../config/config.yaml"))


try:
    SETTINGS = load_settings(config, workflow.configfiles, workflow.config_settings.config)
    refuse_unwritable(SETTINGS.root)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

LANGUAGES = sorted(SETTINGS.corpus.languages)
#: Languages without text, for which words of the teacher's vocabulary are used.
WORDS_ALONE = [lang for lang in LANGUAGES if isinstance(SETTINGS.source(lang), VocabularySource)]
VARIANTS = sorted(SETTINGS.variants)
#: For each variant with new tokens, one that is only cut, to show what the new tokens do.
CUT_VARIANTS = list(SETTINGS.cut_variants)
#: For variants that share vocabulary, tokenizer and clone, the variant under whose name these are stored.
CLONED_VARIANTS = SETTINGS.cloned_variants
TASKS = sorted(SETTINGS.evaluation.tasks)
#: Tasks with texts of their own, which are not trained on, without what their texts do not depend on.
HELD_OUT = [task for each in SETTINGS.evaluation.tasks.values() if (task := each.texts_only())]
#: Languages with queries and documents, where a variant is trained for retrieval.
QUERY_LANGUAGES = SETTINGS.query_languages
#: What retrieval has in each language.
SIDES = ("queries", "documents")

NEEDS = [SETTINGS.task_needs(task) for task in TASKS]
#: Languages whose corpus some task reads.
EVALUATED_LANGUAGES = sorted({lang for needs in NEEDS for lang in needs.languages})
#: Languages whose stored vectors some task reads.
COMPARED_LANGUAGES = {lang for needs in NEEDS if needs.vectors for lang in needs.languages}


pathvars:
    results=str(SETTINGS.root),
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",


wildcard_constraints:
    lang="|".join(LANGUAGES),
    variant="|".join(map(re.escape, VARIANTS + CUT_VARIANTS)),
    format="|".join(map(re.escape, export_formats())),
    job=r"\d+",
    model="base|clone|reduced|distilled|student",
    side="|".join(SIDES),


# Snakemake reads it with `--sdm apptainer` alone.
if SETTINGS.container:

    container: SETTINGS.container


#: The run's folder as rules see it: a workflow that uses this one as a module may put a prefix before it.
ROOT = Path(workflow.pathvars.apply(workflow.modifier.path_modifier.replace_prefix("<results>")))
