# What happens before the first job and after the last.

import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import Quietness, RerunTrigger

from langtailor.errors import LangtailorError
from langtailor.planning.own_files import check_own_files
from langtailor.planning.summary import summary
from langtailor.progress import be_verbose
from langtailor.storage.checksums import restore_times


def refuse_missing_files():
    """End the plan where a file that the configuration names is missing, and not hours later.

    Not where this workflow is part of another, which may make the file, and not in a job's own process, whose machine may lack
    it.
    """
    if not workflow.is_main_process:
        return
    main = Path(workflow.main_snakefile).resolve()
    if not isinstance(RULES, os.PathLike) or main.parent not in list(Path(RULES).resolve().parents)[:3]:
        return
    try:
        check_own_files(SETTINGS, ROOT)
    except LangtailorError as error:
        raise WorkflowError(str(error)) from None


def refuse_odd_names():
    """End the plan where a name cannot be told from a pattern: of a file that exists Snakemake would not say why it is kept."""
    if workflow.is_main_process:
        for lang in LANGUAGES:
            language_files(lang)


def keep_times():
    """Let what was rebuilt as it was keep its time, so that nothing made from it runs again.

    Not where Snakemake holds times against those of the scripts: there an old time would have it run each time.
    """
    if workflow.is_main_process and RerunTrigger.CODE not in workflow.rerun_triggers:
        restore_times(ROOT)


#: What Snakemake says of its scheduling between any two jobs.
SCHEDULING = re.compile(r"Select jobs to execute\.\.\.|Execute \d+ jobs\.\.\.")


def announce_jobs():
    """Announce a job by its rule's docstring. A dry run and --verbose also show its files and the reason."""
    output = workflow.output_settings
    if output.verbose:
        be_verbose()
    if output.verbose or output.dryrun:
        return
    logger.addFilter(lambda record: not SCHEDULING.match(record.getMessage()))
    if output.quiet is not None:  # there is a profile
        output.quiet.update({Quietness.PROGRESS, Quietness.REASON})
    for each in workflow.rules:
        each.message = each.message or each.docstring


def print_summary():
    """Print at the end where report and models are, and the main figures."""
    if workflow.is_main_process and (ROOT / "report.html").is_file():
        print(*summary(ROOT, {name: SETTINGS.compared(name) for name in VARIANTS}, TASKS), sep="\n", file=sys.stderr)
